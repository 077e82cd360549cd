"""The first answer: what crashed, where and why, read from the dump with drgn's own helpers.

Each fact stands alone: one that cannot be read leaves a sentence, and the others go on. What the
first ones do not need is imported by those that do: until they are told somebody waits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from drgn.helpers.linux.cpumask import (
    for_each_cpu,
    for_each_online_cpu,
    for_each_possible_cpu,
)
from drgn.helpers.linux.sched import get_task_state

from cas.engines.drgn.child.backtrace import frames, panic_task
from cas.engines.drgn.child.notes import build_id
from cas.engines.drgn.child.target import Partial, Target
from cas.model.answer import KMODS
from cas.units import utc

YEAR_1990, YEAR_2100 = 631_152_000, 4_102_444_800
"""In seconds after 1970. Linux is of 1991; a machine without a clock begins in 1970."""
LONGEST_UPTIME_S = 30 * 365 * 86_400
LARGEST_MEMORY_BYTES = 1 << 52
"""Physical addresses of all architectures end here."""


class Fact(NamedTuple):
    """One thing to find out."""

    what: str
    """How to call it in a sentence."""
    read: Callable[[Target], Any]
    """Its value in JSON's types, or a :class:`Partial` with such."""


def _dmesg(target: Target) -> str:
    from drgn.helpers.linux.printk import get_dmesg

    return _utf8_text(get_dmesg(target.prog))


def _taint(target: Target) -> str:
    from drgn.helpers.linux.panic import tainted

    return tainted(target.prog).replace(" ", "")


def _nodename(target: Target) -> str:
    name = _utf8_text(target.prog["init_uts_ns"].name.nodename.string_())
    if not name.isprintable():
        raise ValueError("it has characters that are no text")
    return name


def _uptime_s(target: Target) -> float:
    from drgn.helpers.linux.timekeeping import uptime

    seconds = round(uptime(target.prog), 3)
    if not 0 <= seconds <= LONGEST_UPTIME_S:
        raise ValueError(f"{seconds / 86_400:,.0f} days are not to be believed")
    return seconds


def _crash_time(target: Target) -> int:
    from drgn.helpers.linux.timekeeping import ktime_get_real_seconds

    seconds = int(ktime_get_real_seconds(target.prog).value_())
    if not YEAR_1990 <= seconds < YEAR_2100:
        try:
            date = utc(datetime.fromtimestamp(seconds, UTC))
        except (ValueError, OverflowError, OSError):
            date = f"{seconds:,} s after 1970"
        raise ValueError(f"{date} is not to be believed")
    return seconds


def _cpus_online(target: Target) -> int:
    # A panic takes the other CPUs offline without making them inactive.
    prog = target.prog
    online = set(for_each_online_cpu(prog))
    if "__cpu_active_mask" in prog:
        online |= set(for_each_cpu(prog["__cpu_active_mask"].address_of_()))
    possible = set(for_each_possible_cpu(prog))
    if not online or not online <= possible:
        raise ValueError(f"{len(online)} are not to be believed, {len(possible)} are possible")
    return len(online)


def _memory_bytes(target: Target) -> int:
    from drgn.helpers.linux.mm import totalram_pages

    size_bytes = int(totalram_pages(target.prog)) * int(target.prog["PAGE_SIZE"])
    if not 0 < size_bytes <= LARGEST_MEMORY_BYTES:
        raise ValueError(f"{size_bytes:,} bytes are not to be believed")
    return size_bytes


def _facts_of_kmods(target: Target) -> Partial:
    from drgn.helpers.linux.module import module_taints

    kmods = [
        {
            "name": kmod.name,
            "size_bytes": kmod.size_bytes,
            "taint": module_taints(kmod.object),
            "address": kmod.regions[0][0] if kmod.regions else None,
            "has_debuginfo": target.has_debuginfo(kmod.name),
            "build_id": build_id(kmod.object),
        }
        for kmod in target.kmods
    ]
    return Partial(kmods, target.kmods_end)


def _facts_of_panic_task(target: Target) -> dict[str, Any]:
    task, cpu = panic_task(target.prog)
    return {
        "pid": task.pid.value_(),
        "comm": _utf8_text(task.comm.string_()),
        "cpu": cpu,
        "state": get_task_state(task),
        "address": task.value_(),
    }


def _utf8_text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


FACTS: Mapping[str, Fact] = {
    "dmesg": Fact("the kernel log", _dmesg),
    "panic_task": Fact("the panic task", _facts_of_panic_task),
    "backtrace": Fact("the backtrace of the panic task", frames),
    "nodename": Fact("the node's name", _nodename),
    "taint": Fact("the taint flags", _taint),
    "uptime_s": Fact("the uptime", _uptime_s),
    "crash_time": Fact("the clock", _crash_time),
    "cpus_online": Fact("the number of CPUs", _cpus_online),
    "memory_bytes": Fact("the size of the memory", _memory_bytes),
    "kmods": Fact(KMODS, _facts_of_kmods),
}
"""What reads each fact of a :class:`cas.model.answer.FirstAnswer`.

Those that the verdict is made of come first: somebody waits for it. The list of kernel modules
comes last: each of them lies elsewhere, and a dump on a server is asked for one after the other.
"""

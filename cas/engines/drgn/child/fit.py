"""Whether a vmlinux fits the dump that it was opened with.

Memory is read through the vmlinux where the kernel says who it is, and compared with what is known
without it: a build-id in a dump's headers may be another kernel's, and an address be wrong by what
KASLR moved the kernel.

Source: init/version.c (linux_banner, init_uts_ns); kernel/sched/core.c, sched_init() and
init_idle() (runqueues).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice

from drgn import FaultError, Module, ObjectAbsentError, ObjectNotFoundError, Program
from drgn.helpers.linux.cpumask import for_each_possible_cpu
from drgn.helpers.linux.percpu import per_cpu

from cas.frozen import dataclass

MOVED_BY = "KERNELOFFSET"
"""What VMCOREINFO calls the distance by which KASLR moved the kernel, in hexadecimal digits."""
BANNER_BYTES = 1024
SHOWN = 160
"""Characters of what is in memory; it may be anything."""
TEXT = "SYMBOL(_stext)"
IDENTITY = ("OSRELEASE", "BUILD-ID")
"""Lines of VMCOREINFO that say whose it is."""
INFO_BYTES = 1 << 16
PART_BYTES = 1 << 12
"""No architecture has smaller pages."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the crashed kernel without a vmlinux."""

    banner: str | None = None
    """The dump's ``linux_banner``, else that of the vmlinux's own file."""
    release: str | None = None


def contradictions(prog: Program, known: Known) -> list[str]:
    """What of a dump, read through its vmlinux, is not what it must be; a phrase each, with both.

    What cannot be read contradicts nothing. Processors are looked at only if the rest is right.
    """

    def banner() -> bytes:
        address = prog["linux_banner"].address_
        if address is None:
            raise ObjectNotFoundError("linux_banner has no address", name="linux_banner")
        text: bytes = prog.read_c_string(address, max_size=BANNER_BYTES)
        return text

    def release() -> bytes:
        text: bytes = prog["init_uts_ns"].name.release.string_()
        return text

    wrong: list[str] = []
    told = _vmcoreinfo_of(prog).get(TEXT)
    with suppress(LookupError, ValueError):
        found = prog.symbol("_stext").address
        if told is not None and int(told, 16) != found:
            wrong.append(
                f"_stext is at {found:#x} by the vmlinux, at {int(told, 16):#x} by the dump"
            )
    if known.banner:
        wrong += _compared("linux_banner", known.banner.rstrip(), banner)
    if known.release:
        wrong += _compared("init_uts_ns.name.release", known.release, release)
    return wrong or list(_per_cpu_contradictions(prog))


def unseen_places(prog: Program) -> list[FaultError]:
    """Which of the `PLACES` cannot be read; what this kernel has not is none."""
    faults: list[FaultError] = []
    for look in PLACES:
        try:
            look(prog)
        except FaultError as fault:
            faults.append(fault)
        except (AttributeError, LookupError, ObjectAbsentError, TypeError, ValueError):
            pass
    return faults


def _look_at_run_queue(prog: Program) -> None:
    for cpu in islice(for_each_possible_cpu(prog), 1):
        per_cpu(prog["runqueues"], cpu).read_()


PLACES: tuple[Callable[[Program], object], ...] = (
    lambda prog: prog["linux_banner"][0].read_(),
    lambda prog: prog["init_task"].tasks.next.next.read_(),
    lambda prog: prog["modules"].next.next.read_(),
    _look_at_run_queue,
)
"""The kernel's own data where it is mapped in different ways: in its image, in the direct map, in
the vmalloc area, and the first processor's."""


def distance(prog: Program, vmlinux: Module) -> int | None:
    """How far the kernel was moved from where it was linked, in bytes, by the dump's own symbol.

    :return: ``None`` when the dump does not tell
    """
    told, bias = _vmcoreinfo_of(prog).get(TEXT), vmlinux.debug_file_bias
    if told is None or bias is None:
        return None
    try:
        linked: int = prog.symbol("_stext").address - bias
        return int(told, 16) - linked
    except (LookupError, ValueError):
        return None


def with_distance(prog: Program, moved: int) -> str:
    """The dump's VMCOREINFO, saying that KASLR moved the kernel so far."""
    lines = {**_vmcoreinfo_of(prog), MOVED_BY: f"{moved:x}"}
    return "".join(f"{key}={value}\n" for key, value in lines.items())


def is_of_another(prog: Program, vmcoreinfo: str) -> bool:
    """Whether the dump's own VMCOREINFO is of another kernel, or another boot, than this text."""
    told, known = _vmcoreinfo_of(prog), _vmcoreinfo_lines(vmcoreinfo.encode())
    return any(told.get(key) != known.get(key) for key in (*IDENTITY, MOVED_BY, TEXT))


def other_identity(prog: Program) -> list[str]:
    """Where the VMCOREINFO in memory says other things than the one in the dump's headers."""
    try:
        text = long_string(prog, prog["vmcoreinfo_data"].value_())
    except (FaultError, LookupError, ValueError, TypeError):
        return []
    told, there = _vmcoreinfo_of(prog), _vmcoreinfo_lines(text)
    return [
        f"VMCOREINFO in memory says {key}={_shortened(there[key])},"
        f" in the dump's headers {told[key]}"
        for key in IDENTITY
        if key in told and key in there and told[key] != there[key]
    ]


def long_string(prog: Program, address: int) -> bytes:
    """Bytes up to a NUL, which drgn would look for by reading them one by one.

    :raises FaultError: a part of it cannot be read
    """
    text = b""
    while b"\0" not in text and len(text) < INFO_BYTES:
        at = address + len(text)
        text += prog.read(at, PART_BYTES - at % PART_BYTES)
    return text.partition(b"\0")[0][:INFO_BYTES]


def _compared(name: str, expected: str, read: Callable[[], bytes]) -> Iterator[str]:
    try:
        found = read().decode("utf-8", "replace").rstrip()
    except (FaultError, LookupError):  # it is not in the dump; this kernel has none
        return
    # the log, which the banner may be known from, cuts long lines
    if not found or not (expected.startswith(found) or found.startswith(expected)):
        yield f"{name} is {_shortened(found)!r} in memory, and should be {expected!r}"


def _per_cpu_contradictions(prog: Program) -> Iterator[str]:
    """The run queue of the first processor knows its number, and its idle task by its name."""
    try:
        cpu = next(iter(for_each_possible_cpu(prog)), None)
        if cpu is None:
            yield "no processor is possible by __cpu_possible_mask"
            return
        queue = per_cpu(prog["runqueues"], cpu)
        if hasattr(queue, "cpu") and (number := queue.cpu.value_()) != cpu:
            yield f"the run queue of processor {cpu} says that it is of processor {number}"
        idle = queue.idle
        if idle.value_() and not (name := idle.comm.string_()).startswith(b"swapper"):
            text = _shortened(name.decode("utf-8", "replace"))
            yield f"the idle task of processor {cpu} is called {text!r}, and should be swapper"
    except (FaultError, LookupError, AttributeError):
        return


def _vmcoreinfo_of(prog: Program) -> dict[str, str]:
    """The VMCOREINFO that drgn goes by."""
    try:
        return _vmcoreinfo_lines(prog["VMCOREINFO"].string_())
    except (FaultError, LookupError):
        return {}


def _vmcoreinfo_lines(text: bytes) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.decode("utf-8", "replace").split("\n"))
    return {key: value for key, equals, value in pairs if equals}


def _shortened(text: str) -> str:
    return re.sub(r"[^\x20-\x7e]", "?", text)[:SHOWN]

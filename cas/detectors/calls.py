"""Calls from CPU to CPU that were not answered."""

from __future__ import annotations

import re
from collections.abc import Iterator

from drgn import Object
from drgn.helpers.linux.llist import llist_for_each
from drgn.helpers.linux.percpu import per_cpu

from cas.choices import Weight
from cas.detectors.case import Broken, Case, bounded, has_member
from cas.detectors.locks import EXPLAINED
from cas.detectors.needs import Needs
from cas.detectors.processors import processors
from cas.model.evidence import Evidence

NEEDS = Needs(
    kinds=tuple(EXPLAINED), symbols=("call_single_queue",), types=("struct __call_single_data",)
)
"""In another crash a call may have been on its way for some microseconds."""
WAITS = re.compile(
    r"(?:smp_call_function_(?:many_cond|many|single)|csd_lock_wait|__csd_lock_wait"
    r"|on_each_cpu_cond_mask)(?:\.\w+)*"
)
"""kernel/smp.c"""
DEPTH = 4
MAX_CALLS = 100
LOCKED = 1
"""CSD_FLAG_LOCK: not answered yet."""
TYPES, SYNC = 0xF0, 0x10
"""CSD_TYPE_…, include/linux/smp_types.h; above are wake-ups and work that nobody waits for, in this
queue since Linux 5.8 (4b44a21dd640)."""


def detect(case: Case) -> Iterator[Evidence]:
    """The CPUs that owe an answer, where another one waits for it."""
    every = list(processors(case))
    waiting = [
        each for each in every if any(WAITS.fullmatch(f.function) for f in each.frames[:DEPTH])
    ]
    if not waiting:
        return
    lines = {each.cpu: each.line for each in every}
    for cpu in case.cpus:
        asked = list(_unanswered_calls(case, cpu))
        others = [each for each in waiting if each.cpu != cpu]
        if asked and others:
            names = ", ".join(dict.fromkeys(asked))
            hangs = any(each.is_panicked for each in others)
            yield Evidence(
                f"CPU {cpu} has not answered a call to run {names}; "
                f"{others[0].name} waits in {others[0].functions[0]}",
                f"call_single_queue of CPU {cpu}",
                "bt -a",
                Weight.CAUSE if hangs else Weight.CONTEXT,
                tuple(lines[each] for each in (cpu, *(o.cpu for o in others))),
            )


def _unanswered_calls(case: Case, cpu: int) -> Iterator[str]:
    """The functions that a CPU was asked to run, and has not."""
    try:
        queue = per_cpu(case.prog["call_single_queue"], cpu)
        for node in bounded(llist_for_each(queue.first), MAX_CALLS):
            # the node comes first in all layouts
            call = Object(case.prog, "struct __call_single_data *", node.value_())
            # include/linux/smp_types.h, which older kernels do not have
            bits = call.node.u_flags if has_member(call, "node") else call.flags
            flags = int(bits.value_())
            if flags & LOCKED and flags & TYPES <= SYNC:
                address = int(call.func.value_())
                yield (case.symbol(address) or f"{address:#x}").removesuffix("+0x0")
    except Broken:
        return

"""Who asked for the crash by sysrq."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from cas.choices import Kind, Weight
from cas.detectors.case import Broken, Case
from cas.detectors.needs import Needs
from cas.model.evidence import Evidence

NEEDS = Needs(kinds=(Kind.SYSRQ,))
HANDLERS = ("__handle_sysrq", "handle_sysrq")
"""drivers/tty/sysrq.c: what all ways lead to."""
FILE = "write_sysrq_trigger"
"""What writes to /proc/sysrq-trigger run."""
MAX_PARENTS = 5


def detect(case: Case) -> Iterator[Evidence]:
    """The task that wrote to /proc/sysrq-trigger, with its parents; else how the key came."""
    task = case.panic_task
    if task is None:
        return
    seen = case.kernel_task(task)
    functions = [frame.function.partition(".")[0] for frame in case.backtrace(task)]
    last = max((n for n, each in enumerate(functions) if each in HANDLERS), default=None)
    if last is None or last + 1 == len(functions):
        return
    caller = functions[last + 1]
    source = f"{caller} in the backtrace of {seen.name}"
    if caller != FILE:
        sentence = f"the crash was asked for by a key of sysrq, which came through {caller}"
        yield Evidence(sentence, source, f"bt {seen.pid}", Weight.CAUSE)
        return
    # who started it, as far as those are still there
    parents, child = list[str](), seen
    with suppress(*Broken):
        while child.pid > 1 and len(parents) < MAX_PARENTS:
            parent = case.task_at(child.task.real_parent.value_())
            if parent is None:
                break
            parents.append(f"{child.name} is a child of {parent.name}")
            child = parent
    sentence = f"{seen.name} asked for the crash: it wrote to /proc/sysrq-trigger"
    yield Evidence(sentence, source, f"bt {seen.pid}", Weight.CAUSE, tuple(parents))

"""The tasks of the trace: in which order, which of them, and which have the same stack."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from drgn import Object, StackFrame
from drgn.helpers.linux.cpumask import for_each_possible_cpu
from drgn.helpers.linux.pid import find_task, for_each_task
from drgn.helpers.linux.sched import cpu_curr, get_task_state, task_cpu, task_state_to_char

from cas.choices import GlideRole
from cas.engines.drgn.child.backtrace import (
    NotPanicked,
    exception_frame,
    frame_register,
    kernel_frames,
    panic_task,
    unwind,
)
from cas.engines.drgn.child.glide.drawing import Unreadable
from cas.engines.drgn.child.target import Target
from cas.text import plain_fault

MAX_TASKS = 100_000
"""A damaged list has no end."""


@dataclass(slots=True)
class Traced:
    """A task, and others that stand at the same place."""

    task: Object
    """``struct task_struct *``."""
    role: GlideRole
    frames: list[StackFrame] = field(default_factory=list)
    alike: list[Object] = field(default_factory=list)
    """Tasks of the same role with the same stack."""
    problem: str | None = None
    """Why the stack is not there, or not to be trusted."""

    def record(self) -> dict[str, Any]:
        """What to say of it before its frames."""
        return {
            **_facts_of_task(self.task),
            "role": self.role,
            "alike": [_facts_of_task(each) for each in self.alike],
            "problem": self.problem,
        }


def wanted_tasks(target: Target, wanted: str) -> Iterator[tuple[Object, GlideRole]]:
    """The tasks that are asked for, in their order, each once.

    :param wanted: ``panic``, ``cpus``, ``blocked``, ``all``, or process ids between commas
    """
    seen: set[int] = set()
    for task, role in itertools.islice(_ordered_tasks(target, wanted), MAX_TASKS):
        if task.value_() and task.value_() not in seen:
            seen.add(task.value_())
            yield task, role


def _ordered_tasks(target: Target, wanted: str) -> Iterator[tuple[Object, GlideRole]]:
    if wanted[:1].isdigit():
        yield from _named_tasks(target, wanted)
        return
    if wanted != "blocked":
        yield from _panicked(target)
    if wanted == "panic":
        return
    if wanted != "blocked":
        for cpu in for_each_possible_cpu(target.prog):
            try:
                yield cpu_curr(target.prog, cpu), GlideRole.CPU
            except Unreadable:
                continue
    if wanted == "cpus":
        return
    rest, problem = _listed_tasks(target)
    blocked = [task for task in rest if _is_blocked(task)]
    yield from ((task, GlideRole.BLOCKED) for task in blocked)
    if wanted == "all":
        yield from ((task, GlideRole.OTHER) for task in rest)
    if problem is not None:
        raise problem


def _listed_tasks(target: Target) -> tuple[list[Object], Exception | None]:
    """The tasks that the kernel lists, as far as they can be found, and why no further."""
    found: list[Object] = []
    try:
        for task in itertools.islice(for_each_task(target.prog), MAX_TASKS):
            found.append(task)
    except Unreadable as error:
        return found, error
    return found, None


def _panicked(target: Target) -> Iterator[tuple[Object, GlideRole]]:
    try:
        yield panic_task(target.prog)[0], GlideRole.PANIC
    except (NotPanicked, *Unreadable):
        return


def _named_tasks(target: Target, wanted: str) -> Iterator[tuple[Object, GlideRole]]:
    on_cpu = {
        task.value_(): role
        for task, role in itertools.chain(_panicked(target), _ordered_tasks(target, "cpus"))
    }
    for word in wanted.split(","):
        task = find_task(target.prog, int(word))
        if task.value_():
            rest = GlideRole.BLOCKED if _is_blocked(task) else GlideRole.OTHER
            yield task, on_cpu.get(task.value_(), rest)


def _is_blocked(task: Object) -> bool:
    try:
        return task_state_to_char(task) == "D"
    except Unreadable:
        return False


def group(target: Target, tasks: Iterator[tuple[Object, GlideRole]], found: list[Traced]) -> None:
    """The stacks of tasks; those that are the same are one, at the place of the first.

    :param found: gets them one by one, so that what fails later costs none that is there
    """
    groups: dict[tuple[object, ...], Traced] = {}
    for task, role in tasks:
        traced = Traced(task, role)
        try:
            traced.frames, traced.problem = stack_of(target, task, role)
        except Unreadable as error:
            traced.problem = plain_fault(" ".join(str(error).split()))
        key = (role, *((frame.name, frame_register(frame, "pc")) for frame in traced.frames))
        if traced.frames and key in groups and role is not GlideRole.PANIC:
            groups[key].alike.append(task)
            continue
        groups[key] = traced
        found.append(traced)


def stack_of(target: Target, task: Object, role: GlideRole) -> tuple[list[StackFrame], str | None]:
    """The frames of a task within the kernel, and what is doubtful about them."""
    problem = None
    try:
        frames = kernel_frames(target, unwind(target, task))
    except Unreadable as error:
        if role not in (GlideRole.PANIC, GlideRole.CPU):
            raise
        frames, problem = [], f"its registers cannot be used: {plain_fault(str(error))}"
    if frames or role not in (GlideRole.PANIC, GlideRole.CPU):
        return frames, problem
    registers = exception_frame(target, task)
    if registers is None:
        return [], problem
    problem = f"{problem}; the stack begins at the exception that is saved on it"
    return kernel_frames(target, unwind(target, registers)), problem


def _facts_of_task(task: Object) -> dict[str, Any]:
    facts: dict[str, Any] = {"address": f"{task.value_():#x}"}
    readers: dict[str, Callable[[Object], Any]] = {
        "pid": lambda task: task.pid.value_(),
        "comm": lambda task: task.comm.string_().decode("utf-8", "replace"),
        "cpu": task_cpu,
        "state": get_task_state,
    }
    for name, read in readers.items():
        try:
            facts[name] = read(task)
        except Unreadable:
            facts[name] = None
    return facts

"""The deep trace: records, one after the other, as they are found."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import field
from typing import Any

from drgn import StackFrame

from cas.choices import GlideRole
from cas.engines.drgn.child.glide.api import Trace
from cas.engines.drgn.child.glide.drawing import Drawer, Unreadable
from cas.engines.drgn.child.glide.frames import (
    drawn_variable,
    frame_record,
    variable,
    variables_of,
)
from cas.engines.drgn.child.glide.modules import Modules, Source
from cas.engines.drgn.child.glide.named import named_modules
from cas.engines.drgn.child.glide.names import Symbols
from cas.engines.drgn.child.glide.structures import Structures
from cas.engines.drgn.child.glide.tasks import Traced, group, wanted_tasks
from cas.engines.drgn.child.limits import Late, time_limit
from cas.engines.drgn.child.target import Target
from cas.frozen import dataclass
from cas.text import plain_fault

Record = dict[str, Any]

VALUES = 200_000
"""Values of a whole trace; behind them the variables are left out."""

RESERVE_S = 5.0
"""Seconds of the whole that are left to what modules tell at the end."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the trace is to be of."""

    tasks: str = "all"
    """``panic``, ``cpus``, ``blocked``, ``all``, or process ids between commas."""
    panic_depth: int = 2
    """Pointers to structures that are followed in the panic task."""
    depth: int = 0
    """In the others."""
    timeout_s: float = 60.0
    sources: tuple[Source, ...] = ()
    """Files of modules."""
    asked: tuple[str, ...] = ()
    """Names of modules that the crash's property ``glide`` asks for."""


@dataclass(slots=True)
class Glide:
    """One trace of a dump."""

    target: Target
    wanted: Wanted
    symbols: Symbols = field(init=False)
    knowledge: Structures = field(init=False)
    drawer: Drawer = field(init=False)
    modules: Modules = field(init=False)
    _deadline: float = 0.0
    _counts: dict[str, int] = field(default_factory=lambda: {"tasks": 0, "stacks": 0, "frames": 0})
    _cut: str | None = None
    """Why the trace ends before its end."""

    def __post_init__(self) -> None:
        """Get ready."""
        self.symbols = Symbols(self.target)
        self.knowledge = Structures(self.symbols, self.target.prog)
        self.drawer = Drawer(self.target, self.symbols, self.knowledge)
        parts = self.target, self.symbols, self.drawer, self.knowledge
        self.modules = Modules(lambda: Trace(*parts))
        self.knowledge.of_modules = self.modules.say_of_structure

    def records(self) -> Iterator[Record]:
        """The trace; the first record has kind ``start``, the last one ``end``."""
        begun = time.monotonic()
        self._deadline = begun + max(self.wanted.timeout_s - RESERVE_S, RESERVE_S)
        self.target.describe_all()
        kmods = frozenset(kmod.name for kmod in self.target.kmods)
        named = dict.fromkeys(self.wanted.asked, "the property glide")
        if self.wanted.sources:
            named |= {
                name: f"the kernel module {kmod}" for kmod, name in named_modules(self.target)
            }
        self.modules.load(self.wanted.sources, kmods, named)
        yield {
            "kind": "start",
            "osrelease": self._osrelease(),
            "modules": [one.source.name for one in self.modules.loaded],
        }
        yield from self._remarks()
        yield from self._sections("start")
        yield from self._stacks()
        yield from self._sections("end")
        yield {
            "kind": "end",
            **self._counts,
            "values": self.drawer.values,
            "duration_s": round(time.monotonic() - begun, 3),
            "cut": self._cut,
        }

    def _osrelease(self) -> str | None:
        try:
            raw: bytes = self.target.prog["init_uts_ns"].name.release.string_()
            return raw.decode("utf-8", "replace")
        except Unreadable:
            return None

    def _sections(self, hook: str) -> Iterator[Record]:
        for section in self.modules.sections(hook):
            yield {"kind": "section", **section}
        yield from self._remarks()

    def _remarks(self) -> Iterator[Record]:
        for problem in self.modules.take_problems():
            yield _remark(problem)

    def _stacks(self) -> Iterator[Record]:
        found: list[Traced] = []
        try:
            with time_limit(max(0.1, (self._deadline - time.monotonic()) / 2)):
                group(self.target, wanted_tasks(self.target, self.wanted.tasks), found)
        except Late:
            yield _remark("not all tasks could be found in half of the time")
        except Unreadable as error:
            said = plain_fault(" ".join(str(error).split()))
            yield _remark(f"not all tasks can be found: {said}")
        yield from self._missing(found)
        for traced in found:
            if self._is_over():
                return
            yield from self._task(traced)
            yield from self._remarks()

    def _missing(self, found: list[Traced]) -> Iterator[Record]:
        """What was asked for by its process id, and is not there."""
        if not self.wanted.tasks[:1].isdigit():
            return
        there = {traced.record()["pid"] for traced in found}
        there |= {one["pid"] for traced in found for one in traced.record()["alike"]}
        for word in self.wanted.tasks.split(","):
            if int(word) not in there:
                yield _remark(f"there is no task of process id {int(word)}")

    def _is_over(self) -> bool:
        if time.monotonic() > self._deadline:
            self._cut = self._cut or f"the {self.wanted.timeout_s:g} s for it were over"
        return self._cut is not None

    def _task(self, traced: Traced) -> Iterator[Record]:
        self._counts["tasks"] += 1 + len(traced.alike)
        self._counts["stacks"] += 1
        is_suppressed, notes = self.modules.call("task", traced.task)
        if is_suppressed:
            return
        told = traced.record()
        self.knowledge.cpu = told["cpu"] or 0
        yield {"kind": "task", **told, "notes": notes}
        of_task = "" if traced.role is GlideRole.PANIC else f"pid {told['pid']} "
        is_panic = traced.role is GlideRole.PANIC
        depth = self.wanted.panic_depth if is_panic else self.wanted.depth
        for number, frame in enumerate(traced.frames):
            if self._is_over():
                return
            record = self._frame(frame, number, traced, depth, of_task)
            if record is not None:
                yield record

    def _frame(
        self, frame: StackFrame, number: int, traced: Traced, depth: int, of_task: str
    ) -> Record | None:
        is_suppressed, notes = self.modules.call("frame", traced.task, frame)
        if is_suppressed:
            return None
        self._counts["frames"] += 1
        told = frame_record(self.target, self.symbols, traced.frames, number, traced.role)
        variables = []
        for name in variables_of(frame):
            if self.drawer.values > VALUES:
                self._cut = f"it has {VALUES:,} values"
                break
            found = variable(frame, name)
            is_left_out, said = self.modules.call("variable", frame, name, found)
            notes += said
            if not is_left_out:
                path = f"{of_task}#{number}.{name}"
                variables.append(drawn_variable(self.drawer, found, name, depth, path).record())
        return {"kind": "frame", **told, "variables": variables, "notes": notes}


def _remark(text: str) -> Record:
    return {"kind": "remark", "text": text}

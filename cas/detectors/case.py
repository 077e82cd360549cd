"""The case that detectors look at: one dump in drgn, with bounds on everything that it may give."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Protocol, TypeVar

from drgn import (
    FaultError,
    Object,
    PlatformFlags,
    Program,
    StackFrame,
    Type,
    TypeKind,
)
from drgn.helpers.linux.cpumask import for_each_cpu, for_each_online_cpu, for_each_possible_cpu
from drgn.helpers.linux.pid import find_task, for_each_task
from drgn.helpers.linux.printk import get_dmesg
from drgn.helpers.linux.sched import cpu_curr, cpu_rq, task_cpu, task_state_to_char

from cas.klog.lines import Line, Log
from cas.model.code import Frame
from cas.text import one_line

MAX_TASKS = 3000
"""Tasks that one detector looks at."""
SHARE_FOR_TASKS = 0.6
"""Share of a detector's time after which it gets no more tasks: the rest is for what it says."""
MAX_FRAMES = 100
TEXT_LIMIT = 80
"""Characters of a text out of the dump."""
COMM_LIMIT = 16
"""TASK_COMM_LEN, include/linux/sched.h."""
MAX_PID = 1 << 22
"""PID_MAX_LIMIT, include/linux/threads.h; what a namespace allows is less, since Linux 6.14
(7863dcc72d0f)."""

USUAL_HZ = (100, 250, 300, 1000)
"""kernel/Kconfig.hz"""

Broken = (FaultError, LookupError, ValueError, OverflowError)
"""What drgn raises where memory, a symbol or a member is not there, or a value makes no sense."""

AnyItem = TypeVar("AnyItem")


class Kmod(Protocol):
    """A loaded kernel module."""

    @property
    def name(self) -> str:
        """As the kernel spells it."""


class Opened(Protocol):
    """The dump as drgn has opened it, :class:`cas.engines.drgn.child.target.Target`."""

    prog: Program

    def kmod_at(self, address: int) -> Kmod | None:
        """The kernel module whose code or data is at an address."""


class KernelTask(NamedTuple):
    """A task, and what of it nearly every detector asks."""

    task: Object
    """``struct task_struct *``."""
    pid: int
    comm: str
    """Printable."""
    state: str
    """The kernel's letter: ``R``, ``S``, ``D``, …; ``?`` where it cannot be read. drgn looks at
    ``__state``, at ``state`` before Linux 5.14 (2f064a59a11f)."""

    @property
    def name(self) -> str:
        """How to call it in a sentence."""
        return f"{self.comm} (pid {self.pid})"


@dataclass(slots=True)
class Clock:
    """How much of its time a detector has used, in seconds of the processor."""

    limit_s: float
    begun_s: float = field(default_factory=time.process_time)

    def is_used(self, share: float = 1.0) -> bool:
        """Whether that share of the time is over."""
        # while a timer of the processor's time runs, Linux counts it by the tick (1 to 10 ms)
        return time.process_time() - self.begun_s >= self.limit_s * share


class Case:
    """One dump, for all detectors; what one has read the others need not read again."""

    def __init__(
        self,
        opened: Opened,
        unwind: Callable[[Object], list[StackFrame]],
        frame: Callable[[StackFrame], Frame],
        facts: Mapping[str, Any],
    ) -> None:
        """Take the dump; nothing is read yet.

        :param unwind: gives the frames of a ``struct task_struct *``, across kernel modules
        :param frame: gives what there is to say of one
        :param facts: ``arch``, ``kind``, ``uptime_s``, ``kmods``, ``panic_cpu``, ``dmesg``
        """
        self.prog = opened.prog
        self.arch: str = facts.get("arch") or ""
        """``uname -m`` spelling."""
        self.kind: str = facts.get("kind") or ""
        """What kind of crash it is, a value of :class:`cas.choices.Kind`."""
        self.uptime_s: float | None = facts.get("uptime_s")
        self.kmods: frozenset[str] = frozenset(facts.get("kmods") or ())
        """Names of the loaded kernel modules."""
        self.panic_cpu: int | None = facts.get("panic_cpu")
        self.clock = Clock(float("inf"))
        """The clock of the detector that runs."""
        self.remarks: list[str] = []
        """What the detector that runs has to say of how far it looked."""
        self.kept: dict[str, Any] = {}
        """What detectors have worked out for one another."""
        self._opened = opened
        self._unwind = unwind
        self._frame = frame
        self._stacks: dict[int, list[StackFrame]] = {}
        self._frames: dict[int, tuple[Frame, ...]] = {}
        self._run_queues: dict[int, Object] = {}
        self._seen: list[KernelTask] = []
        self._rest: Iterator[Object] | None = None

    @cached_property
    def panic_task(self) -> Object | None:
        """``struct task_struct *``; ``None`` where no CPU panicked."""
        if self.panic_cpu is None:
            return None
        try:
            return cpu_curr(self.prog, self.panic_cpu)
        except Broken:
            return None

    @cached_property
    def log(self) -> Log:
        """The kernel log's lines with their times, oldest first; empty where it cannot be read."""
        try:
            return Log(get_dmesg(self.prog).decode("utf-8", "replace"))
        except Broken:
            return Log("")

    def begin(self, limit_s: float) -> None:
        """Let a detector begin, with so much time."""
        self.clock = Clock(limit_s)
        self.remarks = []

    def remark(self, text: str) -> None:
        """Say of how far the detector looked, or what it could not read."""
        if text not in self.remarks:
            self.remarks.append(text)

    def tasks(self, states: str = "", limit: int = MAX_TASKS) -> Iterator[KernelTask]:
        """The tasks, idle ones left out, as many as there is time for; says so if that is not all.

        :param states: letters of the states to give; empty: of all
        :param limit: how many tasks are looked at
        """
        number = 0
        for number in itertools.count():
            if number >= limit or self.clock.is_used(SHARE_FOR_TASKS):
                break
            seen = self._task_by_number(number)
            if seen is None:
                return
            if not states or seen.state in states:
                yield seen
        if self._task_by_number(number) is not None:
            self.remark(looked_at(number, self.number_of_tasks))

    @cached_property
    def number_of_tasks(self) -> int | None:
        """As the kernel counts them, threads included; ``None``: it does not tell."""
        number = self.number("nr_threads")
        return number if number is not None and 0 < number <= MAX_PID else None

    def _task_by_number(self, number: int) -> KernelTask | None:
        """A task by its place in the list; ``None`` behind the last."""
        if self._rest is None:
            self._rest = for_each_task(self.prog)
        while number >= len(self._seen):
            try:
                task = next(self._rest, None)
            except Broken as error:
                self.remark(f"the list of tasks breaks off: {one_line(str(error))}")
                task = None
            if task is None:
                self._rest = iter(())
                return None
            self._seen.append(self.kernel_task(task))
        return self._seen[number]

    def kernel_task(self, task: Object) -> KernelTask:
        """A task's number, name and state, as far as they can be read."""
        try:
            return KernelTask(task, task.pid.value_(), self.comm(task), task_state_to_char(task))
        except Broken:
            return KernelTask(task, -1, "?", "?")

    def comm(self, task: Object) -> str:
        """A task's name."""
        return self.text(task.comm, COMM_LIMIT)

    def task_at(self, address: int) -> KernelTask | None:
        """The task at an address, if the kernel finds that one by its number: none that was freed.

        :param address: as a lock's owner has it, without flags
        """
        try:
            task = Object(self.prog, "struct task_struct *", address)
            pid = task.pid.value_()
            if not 0 < pid <= MAX_PID or find_task(self.prog, pid).value_() != address:
                return None
        except Broken:
            return None
        return self.kernel_task(task)

    def stack(self, task: Object) -> list[StackFrame]:
        """A task's frames in drgn, innermost first, without user space; empty where it has none."""
        key = task.value_()
        if key not in self._stacks:
            try:
                self._stacks[key] = self._unwind(task)
            except Broken:
                self._stacks[key] = []
        return self._stacks[key]

    def backtrace(self, task: Object) -> tuple[Frame, ...]:
        """A task's frames with file and line, innermost first; empty where it has none."""
        key = task.value_()
        if key not in self._frames:
            shown = self.stack(task)[:MAX_FRAMES]
            self._frames[key] = tuple(self._frame(each) for each in shown)
        return self._frames[key]

    def symbol(self, address: int) -> str | None:
        """What is at an address by name, ``held_a+0x0``; ``None``: nothing that has one."""
        try:
            symbol = self.prog.symbol(address)
        except LookupError:
            return None
        kmod = self._opened.kmod_at(address)
        owner = f" [{self.text(kmod.name)}]" if kmod else ""
        return f"{self.text(symbol.name)}+{address - symbol.address:#x}{owner}"

    def run_queue(self, cpu: int) -> Object:
        """A CPU's ``struct rq *``."""
        if cpu not in self._run_queues:
            self._run_queues[cpu] = cpu_rq(self.prog, cpu)
        return self._run_queues[cpu]

    def cpu_of(self, task: Object) -> int:
        """The CPU that a task runs on, or ran on last.

        The number moved to the task in Linux 4.9 (c65eacbe290b), and back to its ``thread_info`` in
        Linux 5.16 (bcf9033e5449); drgn knows both.
        """
        return int(task_cpu(task))

    @cached_property
    def cpus(self) -> tuple[int, ...]:
        """The CPUs that were running; a panic takes them offline without making them inactive."""
        found = set(for_each_online_cpu(self.prog))
        if "__cpu_active_mask" in self.prog:
            found |= set(for_each_cpu(self.prog["__cpu_active_mask"].address_of_()))
        return tuple(sorted(found & set(for_each_possible_cpu(self.prog))))

    @cached_property
    def clock_ns(self) -> int:
        """The latest time of any CPU's run queue."""
        return max(int(self.run_queue(cpu).clock.value_()) for cpu in self.cpus)

    @cached_property
    def hz(self) -> int | None:
        """Jiffies in a second; ``None``: that cannot be told."""
        tick_ns = self.number("tick_nsec")
        if tick_ns:
            return round(1e9 / tick_ns) if 10**5 <= tick_ns <= 10**8 else None
        jiffies = self.number("jiffies")
        if jiffies is None or not self.uptime_s:
            return None
        # jiffies begin five minutes before they overflow 32 bits, include/linux/jiffies.h
        since = {hz: (jiffies + 300 * hz & 0xFFFFFFFF) / hz for hz in USUAL_HZ}
        near = [hz for hz in USUAL_HZ if abs(since[hz] - self.uptime_s) < 0.1 * self.uptime_s]
        return near[0] if len(near) == 1 else None

    def first_type(self, names: Iterable[str]) -> Type:
        """The first of these types that the kernel has.

        :raises LookupError: it has none
        """
        for name in names:
            with suppress(LookupError):
                return self.prog.type(name)
        raise LookupError(f"the kernel has none of {', '.join(names)}")

    def number(self, name: str) -> int | None:
        """The value of a variable of the kernel; ``None`` where it has none of that name."""
        try:
            return int(self.prog[name].value_())
        except (*Broken, TypeError):
            return None

    def text(self, value: Object | bytes | str, limit: int = TEXT_LIMIT) -> str:
        """Text out of the dump on one printable line, cut at a limit.

        :param value: a string, or an object: an array of char, or a pointer to char
        """
        if isinstance(value, Object):
            try:
                value = bounded_string(value, limit)
            except Broken:
                return "?"
        if isinstance(value, bytes):
            value = value.decode("utf-8", "surrogateescape")
        return one_line(value[:limit])


def bounded_string(value: Object, limit: int) -> bytes:
    """The bytes of a string in the dump before its NUL, at most so many.

    :raises FaultError: it is not in the dump
    """
    kind = value.type_.unaliased()
    if kind.kind == TypeKind.ARRAY:
        size, address = min(kind.length or limit, limit), value.address_
    else:
        size, address = limit, value.value_()
    if address is None:
        return bytes(value.string_())[:limit]
    for width in (size, 16, 1):  # the string may end right before memory that is not there
        try:
            data: bytes = value.prog_.read(address, min(width, size))
        except FaultError:
            if width == 1:
                raise
        else:
            return data.partition(b"\0")[0]
    return b""


def looked_at(number: int, total: int | None) -> str:
    """How far a list of tasks was looked at."""
    if total is None or total <= number:
        return f"looked at {number:,} of more tasks"
    return f"looked at {number:,} of {total:,} tasks"


def stamped_line(line: Line) -> str:
    """A line of the kernel log with its time."""
    return line.text if line.uptime_s is None else f"[{line.uptime_s:.1f} s] {line.text}"


def has_member(value: Object, name: str) -> bool:
    """Whether a structure, or what a pointer points to, has a member: layouts differ by release."""
    try:
        value.member_(name)
    except (LookupError, TypeError):  # no such member, or no structure at all
        return False
    except FaultError:
        return True
    return True


def bounded(items: Iterable[AnyItem], limit: int) -> Iterator[AnyItem]:
    """At most so many of them: a list in a damaged dump may have no end."""
    return itertools.islice(items, limit)


def word_size(prog: Program) -> int:
    """Bytes of a pointer."""
    is_64 = prog.platform is None or PlatformFlags.IS_64_BIT in prog.platform.flags
    return 8 if is_64 else 4


def word_mask(prog: Program) -> int:
    """All bits of a pointer: what is signed in the dump made unsigned."""
    return (1 << 8 * word_size(prog)) - 1

"""The lists of those who wait for a lock: which lock a task's own structure is linked to.

A task that waits for a lock has put a structure on its own stack and linked it into the lock's
list. So the stack is searched for a structure that names the task and whose neighbours in the list
point back at it; the one member of that ring that is no waiter's is the lock's. That works without
any variable's location, whatever the compiler made of the code, and what it finds is proved.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import field
from functools import lru_cache

from drgn import Object, PlatformFlags, Program, offsetof

from cas.detectors.case import Broken, Case, KernelTask, word_size
from cas.frozen import dataclass

MAX_WAITERS = 2000
"""Waiters of one lock that are followed to find it."""
MAX_STACK_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of lock: how those who wait for it are linked to it."""

    name: str
    functions: re.Pattern[str]
    """Those that wait for it, and what calls nothing but them."""
    waiter: str
    """The structure on the waiter's stack."""
    task: str
    """Its member that names the task."""
    link: str
    lock: str
    head: str
    """The lock's member that begins the list."""


def _functions(names: str) -> re.Pattern[str]:
    return re.compile(rf"(?:{names})(?:\.(?:isra|constprop|part|cold|llvm)[.\d]*)*")


KINDS = (
    Kind(
        "mutex",
        _functions(
            r"_*(?:ww_)?mutex_lock(?:_common|(?:_killable|_interruptible|_io)?(?:_nested)?"
            r"(?:_slowpath)?)"
        ),
        "struct mutex_waiter",
        "task",
        "list",
        "struct mutex",
        "wait_list",
    ),
    Kind(
        "rwsem",
        _functions(
            r"_*rwsem_down_(?:read|write)_(?:slowpath|failed)(?:_common|_killable)?"
            r"|call_rwsem_down_\w+|_*down_(?:read|write)(?:_common|_killable|_interruptible)?"
            r"(?:_nested)?"
        ),
        "struct rwsem_waiter",
        "task",
        "list",
        "struct rw_semaphore",
        "wait_list",
    ),
    Kind(
        "semaphore",
        _functions(r"_*down(?:_common|_interruptible|_killable|_timeout)?"),
        "struct semaphore_waiter",
        "task",
        "list",
        "struct semaphore",
        "wait_list",
    ),
    Kind(
        "completion",
        _functions(
            r"_*(?:do_)?wait_for_common(?:_io)?"
            r"|wait_for_completion(?:_(?:io|timeout|killable|interruptible|state))*"
        ),
        "struct swait_queue",
        "task",
        "task_list",
        "struct completion",
        "wait.task_list",
    ),
)
"""Kinds of locks in include/linux and kernel/locking; the first whose function is on the stack."""

WAIT_QUEUE = Kind(
    "wait queue",
    re.compile(r"(?!)"),
    "struct wait_queue_entry",
    "private",
    "entry",
    "struct wait_queue_head",
    "head",
)
"""include/linux/wait.h; not all who stand there are on a stack. The structure has this name since
Linux 4.13 (ac6424b981bc), its list since Linux 4.13 (2055da97389a)."""
OLD_COMPLETION = Kind(
    "completion",
    KINDS[-1].functions,
    "struct wait_queue_entry",
    "private",
    "entry",
    "struct completion",
    "wait.head",
)
"""Before Linux 5.7 (a5c6234e1028) a completion had a wait queue of the usual kind."""


@dataclass(slots=True)
class Rings:
    """The lists of a dump; each is followed once."""

    case: Case
    _heads: dict[int, int] = field(default_factory=dict)
    """Head of the list by its members."""

    def lock_of(self, seen: KernelTask, kind: Kind) -> int | None:
        """Address of the lock in whose list the task's own structure is linked."""
        shape = _shape_of(self.case.prog, kind)
        if shape is None:
            return None
        low, words = stack_words(self.case, seen.task)
        task, width = seen.task.value_(), word_size(self.case.prog)
        for number, word in enumerate(words):
            if word != task:
                continue
            node = low + number * width - shape.task + shape.link
            head = self._head_of_ring(node, shape)
            if head is not None:
                return head - shape.head
        return None

    def _head_of_ring(self, node: int, shape: Shape) -> int | None:
        """The member of a ring that is no waiter; ``None``: it is no ring, or has not just one."""
        if node in self._heads:
            return self._heads[node]
        prog, heads, members = self.case.prog, list[int](), list[int]()
        width = word_size(prog)
        at = node
        for _ in range(MAX_WAITERS):
            try:
                following = int(prog.read_word(at))
                if prog.read_word(following + width) != at:
                    return None
            except Broken:
                return None
            if at == node or shape.is_waiter(self.case, at - shape.link):
                members.append(at)
            else:
                heads.append(at)
            at = following
            if at == node:
                break
        if at != node or len(heads) != 1:
            return None
        self._heads.update(dict.fromkeys(members, heads[0]))
        return heads[0]


@dataclass(frozen=True, slots=True)
class Shape:
    """Where the members of a kind's structures are, in bytes."""

    task: int
    link: int
    head: int
    function: int | None
    """Where the function is that wakes a waiter, if they have one."""

    def is_waiter(self, case: Case, address: int) -> bool:
        """Whether a member of the ring is a waiter's structure, and not the lock's."""
        try:
            if self.function is not None:
                return is_code(case, case.prog.read_word(address + self.function))
            seen = case.task_at(case.prog.read_word(address + self.task))
            return seen is not None and is_on_stack(case, seen.task, address)
        except Broken:
            return False


def candidates(kind: Kind | None) -> Iterator[Kind]:
    """The kinds that a task may be linked to whose functions are of this one."""
    if kind is None:
        yield WAIT_QUEUE
        return
    yield kind
    if kind.name == OLD_COMPLETION.name:
        yield OLD_COMPLETION


def is_code(case: Case, address: int) -> bool:
    """Whether a function of the kernel begins at an address."""
    try:
        return bool(case.prog.symbol(address).address == address)
    except LookupError:
        return False


def stack_words(case: Case, task: Object) -> tuple[int, tuple[int, ...]]:
    """The used part of a task's stack: its lowest address, and the words from there on.

    :raises LookupError: where it begins is not known
    """
    trace = case.stack(task)
    if not trace:
        raise LookupError("the task has no stack")
    prog, pointer = case.prog, int(trace[0].sp)
    low = task.stack.value_()
    high = low + min(int(prog["THREAD_SIZE"]), MAX_STACK_BYTES)
    if not low <= pointer < high:
        raise LookupError("the stack pointer is outside of the stack")
    width = word_size(prog)
    pointer -= pointer % width
    data = prog.read(pointer, high - pointer)
    is_little = prog.platform is None or PlatformFlags.IS_LITTLE_ENDIAN in prog.platform.flags
    words = f"{'<' if is_little else '>'}{len(data) // width}{'Q' if width == 8 else 'I'}"
    return pointer, struct.unpack(words, data)


@lru_cache(maxsize=16)
def _shape_of(prog: Program, kind: Kind) -> Shape | None:
    """Where the members are in this kernel; ``None``: it has other ones."""
    try:
        waiter, lock = prog.type(kind.waiter), prog.type(kind.lock)
        return Shape(
            offsetof(waiter, kind.task),
            offsetof(waiter, kind.link),
            offsetof(lock, kind.head),
            offsetof(waiter, "func") if kind.task == "private" else None,
        )
    except LookupError:
        return None


def is_on_stack(case: Case, task: Object, address: int) -> bool:
    """Whether an address lies on a task's stack."""
    low = int(task.stack.value_())
    return bool(low <= address < low + int(case.prog["THREAD_SIZE"]))

"""Which frame of a stack is the code at fault.

From the top of a stack go, in this order:

1. what reports and dies (``panic``, ``die``, KASAN's own code, the entry of the exception): down to
   the function that the kernel itself blames, where it names one, else to what was interrupted;
2. what is everybody's: locks, allocators, copies, lists. A fault in them was made by who called
   them. The walk ends at the entry of an interrupt and where a thread or a system call begins:
   what was interrupted is innocent. If nothing else stands before that, the first one is it.

What is passed over is kept, with the reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from cas.choices import Kind
from cas.findings.functions import Functions, What
from cas.frozen import dataclass
from cas.klog.kinds import EXCEPTIONS, UNNAMED
from cas.model.code import Frame

_MACHINERY = frozenset({What.DIE, What.REPORT, What.WATCH, What.NORETURN})
_ENTRIES = frozenset({What.ENTRY, What.INTERRUPT})
_HELPERS = frozenset({What.LOCK, What.MEMORY, What.LIST, What.DEVICE, What.REPORT, What.NORETURN})
_BOUNDS = _ENTRIES | {What.CARRIER, What.SOFTIRQ, What.IDLE}
_WATCHED = frozenset({Kind.SOFT_LOCKUP, Kind.HARD_LOCKUP, Kind.RCU_STALL}) | UNNAMED
_ALSO = {
    **dict.fromkeys((Kind.HUNG_TASK, Kind.WARNING, Kind.STACK_OVERFLOW), frozenset({What.WAIT})),
    # arm64 begins the trace of a task on another processor where it was switched to last
    Kind.RCU_STALL: frozenset({What.WAIT}),
    Kind.PANIC: frozenset({What.EXIT, What.WAIT}),
}
"""What is everybody's code besides, in some kinds of crashes."""
_STOPPED = EXCEPTIONS | {Kind.MEMORY_ERROR}
_REPORTS = frozenset({Kind.WARNING, Kind.MEMORY_ERROR})
_RECURSION = 3
"""Times that a function is on a stack that overflowed, from which on it is a recursion."""
_AFTER_NORETURN = "return address at its first byte"


@dataclass(frozen=True, slots=True)
class Passed:
    """A frame that is not at fault."""

    frame: Frame
    why: str
    """What the function is."""


@dataclass(frozen=True, slots=True)
class Culprit:
    """The part of a stack that begins with the code at fault."""

    frames: tuple[Frame, ...] = ()
    """Innermost first; empty when there is nothing but machinery."""
    passed: tuple[Passed, ...] = ()
    """What stands above it, innermost first."""
    inner: Frame | None = None
    """Where the processor was, if that is another function: everybody's code, called by it."""
    entered: Frame | None = None
    """What called the outermost round of a recursion."""
    is_everybodys: bool = False
    """There is nothing but everybody's code: who called it is at fault."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack and what is known of it."""

    frames: Sequence[Frame]
    named: Frame | None = None
    """The code that the kernel blames."""
    interrupted: Collection[int] = ()
    """Positions of frames that are the program counter of what was interrupted."""
    is_caller: bool = False
    """The innermost frame called where no code is: then it is at fault, whatever it is."""


def plain_name(function: str) -> str:
    """A function's name as in its source: without ``.cold``, ``.isra.0``, ``.part.1`` and so on."""
    return function.lstrip(".").partition(".")[0]


def culprit_of(stack: Stack, kind: Kind, functions: Functions) -> Culprit:
    """Find the code at fault on a stack.

    :param functions: what is known of kernel functions
    """
    walk = _Walk(stack, kind, functions)
    start = walk.named()
    if start is None and stack.named is not None:
        # the unwinder missed it, or it is inlined: it stands right below the machinery
        below = walk.beyond(walk.start(), _MACHINERY | _ENTRIES)
        stack = Stack((stack.named, *stack.frames[below:]), stack.named)
        walk, start = _Walk(stack, kind, functions), 0
    first = walk.beyond(walk.start() if start is None else start, _MACHINERY | _ENTRIES)
    if kind is Kind.STACK_OVERFLOW and (again := walk.recursion(first)):
        index, entered = again
        return Culprit(tuple(stack.frames[index:]), walk.passed(index), None, entered)
    found = walk.culprit(first)
    if found is None and first == len(walk.what) and start is not None:
        # the kernel blames machinery, and nothing else is known
        return Culprit(tuple(stack.frames[start:]), walk.passed(start), is_everybodys=True)
    if found is None and start is not None and first < len(walk.what) and kind in _STOPPED:
        # the processor was stopped in what carries others: that is where it was, and no more
        return Culprit(tuple(stack.frames[first:]), walk.passed(first), is_everybodys=True)
    if found is None:
        return Culprit(passed=walk.passed(first))
    at = walk.physical(first)
    inner = stack.frames[at] if at < found and walk.is_telling(at) else None
    is_everybodys = bool(walk.what[found] & walk.helpers) and not stack.is_caller
    return Culprit(tuple(stack.frames[found:]), walk.passed(found), inner, None, is_everybodys)


class _Walk:
    def __init__(self, stack: Stack, kind: Kind, functions: Functions) -> None:
        self.frames, self.stack, self.kind = stack.frames, stack, kind
        self.names = [plain_name(frame.function) for frame in stack.frames]
        self.what = [functions.what(name) for name in self.names]
        self.helpers = _HELPERS | _ALSO.get(kind, frozenset())

    def start(self) -> int:
        """Where the report ends and the code begins that it is about."""
        told = len(self.what)
        if self.kind in _REPORTS:
            # the kernel may be dying below where the report's trace leaves its machinery
            own = (n for n, what in enumerate(self.what) if not what and not self.frames[n].inlined)
            told = next(own, told)
        dying = [index for index, what in enumerate(self.what[:told]) if What.DIE in what]
        start = dying[-1] + 1 if dying else 0
        if dying and self.kind in EXCEPTIONS:
            return self._below_entry(start)
        if self.kind is Kind.HUNG_TASK:
            # below the outermost frame of the scheduler: what is guessed above is of older calls
            bounds = (n for n, what in enumerate(self.what) if what & _BOUNDS)
            until = next(bounds, len(self.what))
            waits = (n for n in reversed(range(until)) if What.WAIT in self.what[n])
            return max(start, next((n for n in waits if "schedule" in self.names[n]), -1) + 1)
        is_machinery = start < len(self.what) and bool(self.what[start] & _MACHINERY)
        if self.kind in _WATCHED and (dying or is_machinery):
            return self._below_entry(start)
        return start

    def named(self) -> int | None:
        """The frame of the code that the kernel blames, or of the first that is inlined there."""
        if self.stack.named is None:
            return None
        named, name = self.stack.named, plain_name(self.stack.named.function)
        at = [n for n, f in enumerate(self.frames) if self.names[n] == name and not f.inlined]
        if not at:
            return None
        index = next((n for n in at if self.frames[n].offset == named.offset), at[0])
        while index > 0 and self.frames[index - 1].inlined:
            index -= 1
        return index

    def _below_entry(self, start: int) -> int:
        for index in range(start, len(self.what)):
            if self.what[index] & _ENTRIES:
                return index + 1
            if index in self.stack.interrupted:
                return index
        return start

    def beyond(self, start: int, kinds: frozenset[What]) -> int:
        """The first frame that is none of some kinds."""
        index = start
        while index < len(self.what) and (self.what[index] & kinds or self._is_neighbour(index)):
            index += 1
        return index

    def culprit(self, first: int) -> int | None:
        """The first frame from there on that is not everybody's."""
        if self.stack.is_caller and first < len(self.what):
            return first
        for index in range(first, len(self.what)):
            what = self.what[index]
            if what & _BOUNDS:
                break
            if not what & self.helpers and not self._is_neighbour(index):
                return index
        if first == len(self.what):
            return None
        if self.what[first] & (_BOUNDS | {What.EXIT}) and not self.stack.is_caller:
            return None
        # nothing but everybody's code: the first that is more than a lock tells most
        for index in range(first, len(self.what)):
            if self.what[index] & _BOUNDS:
                break
            if What.LOCK not in self.what[index] and not self._is_neighbour(index):
                return index
        return first

    def physical(self, index: int) -> int:
        """The frame that a function is inlined in, which alone a kernel log knows by name."""
        own = (n for n in range(index, len(self.frames)) if not self.frames[n].inlined)
        return next(own, index)

    def is_telling(self, index: int) -> bool:
        """Whether a reader learns something from where the processor was."""
        return not self.what[index] & (_MACHINERY | {What.WAIT})

    def recursion(self, first: int) -> tuple[int, Frame | None] | None:
        """Where a recursion is entered, again and again, and who called it at first."""
        counts = Counter(self.names[first:])
        rounds = [n for n in range(first, len(self.names)) if counts[self.names[n]] >= _RECURSION]
        own = [n for n in rounds if not self.what[n]]
        if not own:
            return None
        # where the stack ends is chance, and who enters the ring differs: a name of it does not
        index = self.names.index(min(self.names[n] for n in own), first)
        caller = rounds[-1] + 1
        return index, self.frames[caller] if caller < len(self.frames) else None

    def _is_neighbour(self, index: int) -> bool:
        """Whether a return address points behind the call of a function that never returns: the
        first byte of whatever stands there, and the caller is the function before it."""
        if index == 0 or self.frames[index].offset != 0 or index in self.stack.interrupted:
            return False
        return not self.what[index - 1] & _ENTRIES and not self.what[index] & _BOUNDS

    def passed(self, until: int) -> tuple[Passed, ...]:
        """What stands above a frame, with reasons."""
        above = []
        for index, (frame, what) in enumerate(zip(self.frames[:until], self.what, strict=False)):
            why = _AFTER_NORETURN if self._is_neighbour(index) else What.REPORT
            above.append(Passed(frame, min(what, key=list(What).index) if what else why))
        return tuple(above)

"""Which of a log's events killed the kernel: the one rule, for the panic message and the verdict.

1. The first ``Kernel panic`` ends the kernel; what is printed behind it is its trace. A panic with
   a reason of its own (a driver, a file system, no root device, init that exited) is the crash,
   whatever the kernel survived before.
2. A panic that is second-hand says so: ``Fatal exception`` (``die()``, ``oops_end()``) comes from
   the oops right before it; ``hung_task``, ``softlockup``, ``panic_on_warn`` and so on from the
   last report of that kind; what repeats a report's own words from that; ``Attempted to kill
   init`` from an oops in which init itself died. Where no such report is near, the panic is all
   that is known.
3. Without a panic the last oops is the crash (kdump starts before the line is printed), else a
   deliberate crash, else what was reported first, if the kernel did not live on for long.
4. What is reported within a second before the crash, or while the crash is still being printed, is
   one disaster, and the first of it is told: a use-after-free that KASAN reports and the page
   fault that follows it; the oops, and the oops of the dying task. A task that waits, or a
   processor that stands still, makes no oops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cas.choices import Kind
from cas.frozen import dataclass
from cas.klog.events import Event, events_of, last_line, read_report
from cas.klog.kinds import ELSEWHERE, EXCEPTIONS
from cas.klog.lines import Log
from cas.klog.wordings import Weight

_CASCADE_S = 1.0
_NEAR_S = 30.0
"""Seconds from a report to the panic that it made: a slow console, a timer that waits."""
_CASCADE_LINES = 40
"""The same without stamps."""
_WORDS = 8
"""Characters of a panic's reason that are enough to know a report by: ``bad mode``."""
_AS_LONG = 0.9
_TAINTED = "panic_on_taint"
"""``kernel/panic.c``: add_taint(), which a report calls at its end."""
_OUTLIVED_S = 600.0
"""After so long a report is history."""
_LAST_LINES = 1000
"""Lines at the log's end, of which one has a stamp if any has."""
_MADE_BY = {
    Kind.OOPS: EXCEPTIONS | {Kind.MACHINE_CHECK, Kind.SYSRQ},
    # a stack that was written to is noticed when its task is switched, or its function returns
    Kind.STACK_OVERFLOW: frozenset({Kind.STACK_OVERFLOW, Kind.DOUBLE_FAULT, Kind.MEMORY_ERROR}),
    Kind.STACK_PROTECTOR: frozenset({Kind.MEMORY_ERROR}),
    Kind.WARNING: frozenset({Kind.WARNING, Kind.MEMORY_ERROR, Kind.LIST_CORRUPTION}),
    Kind.HUNG_TASK: frozenset({Kind.HUNG_TASK}),
    Kind.SOFT_LOCKUP: frozenset({Kind.SOFT_LOCKUP}),
    Kind.HARD_LOCKUP: frozenset({Kind.HARD_LOCKUP}),
    Kind.RCU_STALL: frozenset({Kind.RCU_STALL}),
    Kind.OUT_OF_MEMORY: frozenset[Kind](),
    Kind.SYSRQ: frozenset({Kind.SYSRQ}),
    Kind.MACHINE_CHECK: frozenset({Kind.MACHINE_CHECK}),
}
"""Which reports explain a panic of a kind."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The crash, and what else the log says."""

    crash: Event
    panic: Event | None = None
    """The line with which the kernel gave up, where it is not the crash itself."""
    earlier: tuple[Event, ...] = ()
    """What the kernel had reported and survived before the crash, oldest first."""
    same: tuple[Event, ...] = ()
    """Reports of the same kind right behind the crash: further hung tasks, further processors."""
    is_cascade: bool = False
    """Trouble of another kind followed at once, and the first is told."""

    @property
    def has_panic(self) -> bool:
        """Whether the kernel itself said that it gives up."""
        return self.panic is not None or self.crash.weight is Weight.PANIC


NOTHING = Choice(Event(Kind.NONE, "", Weight.HINT))


def choose(log: Log) -> Choice:
    """Which event was the crash."""
    events = list(events_of(log))
    end = next((n for n, event in enumerate(events) if event.weight is Weight.PANIC), None)
    if end is None:
        if not events:
            return NOTHING
        oopses = [n for n, event in enumerate(events) if event.weight is Weight.OOPS]
        if oopses:
            return _with_cascade(log, events, oopses[-1], None)
        stamps = (line.uptime_s for line in reversed(log[-_LAST_LINES:]))
        ends_s = next((stamp for stamp in stamps if stamp is not None), None)
        for number, event in enumerate(events):
            until_s = log[last_line(log, event)].uptime_s
            if until_s is None or ends_s is None or ends_s - until_s <= _OUTLIVED_S:
                return _with_cascade(log, events, number, None)
        return replace(NOTHING, earlier=tuple(events))
    panic, before = events[end], events[:end]
    newest_first = range(end - 1, -1, -1)
    at = next((n for n in newest_first if _made_panic(log, before[n], panic)), None)
    if at is None and (panic.kind is Kind.OOPS or _TAINTED in panic.message):
        # what comes of no oops comes of what was reported at once: a schedule in an interrupt,
        # and what taints the kernel so that it panics, but for a module, is a report
        at = next((n for n in newest_first if _begins_disaster(log, before[n], panic)), None)
    if at is None:
        return Choice(panic, earlier=tuple(before))
    return _with_cascade(log, before, at, panic)


def _made_panic(log: Log, event: Event, panic: Event) -> bool:
    """Whether a report made the kernel panic."""
    if not _is_near(log, event, panic, _NEAR_S):
        return False
    said = panic.message.partition("not syncing: ")[2].lower()
    if len(said) >= _WORDS and said in event.line.lower():
        return True
    if panic.kind is not Kind.PANIC:
        return event.kind in _MADE_BY.get(panic.kind, ())
    if event.kind not in EXCEPTIONS or "Attempted to kill init" not in panic.line:
        return False
    task = read_report(log, event).task
    return task is not None and task.pid == 1


def _with_cascade(log: Log, events: Sequence[Event], at: int, panic: Event | None) -> Choice:
    first = at
    if events[at].kind is not Kind.SYSRQ:
        while first and _begins_disaster(log, events[first - 1], events[first]):
            first -= 1
    crash, rest = events[first], list(events[first + 1 :])
    while crash.is_bare and crash.named is None and rest and first < at:
        first += 1
        crash, rest = events[first], list(events[first + 1 :])
    if crash.is_bare and crash.named is None and rest and _is_near(log, crash, rest[0], _CASCADE_S):
        # a headline of its own before the warning that has the trace (fs/dcache.c, mm/slub.c)
        crash = replace(crash, end=rest[0].end, named=rest.pop(0).named)
    alike = [event for event in rest if event.kind is crash.kind]
    if crash.kind is Kind.HUNG_TASK:
        most = max(event.seconds or 0 for event in (crash, *alike))
        # the timer that looks for them is coarse: nearly as long is as long, and the first is told
        longest = next(e for e in (crash, *alike) if (e.seconds or 0) >= most * _AS_LONG)
        same = [event for event in (longest, crash, *alike) if _pid(event) == _pid(longest)]
        alike = [event for event in (crash, *alike) if _pid(event) != _pid(longest)]
        # of the last report of a task the trace may be cut
        crash = next(
            (e for e in same if any(t.frames for t in read_report(log, e).traces)), longest
        )
    is_cascade = any(event.kind is not crash.kind for event in events[first:at])
    is_cascade = is_cascade or events[at].kind is not crash.kind
    return Choice(crash, panic, tuple(events[:first]), tuple(alike), is_cascade)


def _pid(event: Event) -> int | None:
    return event.about.pid if event.about else None


def _begins_disaster(log: Log, event: Event, later: Event) -> bool:
    """Whether what came later is of one disaster with it; a task that waits makes no oops."""
    if event.kind in ELSEWHERE and later.kind not in ELSEWHERE:
        return False
    return _is_near(log, event, later, _CASCADE_S)


def _is_near(log: Log, event: Event, later: Event, seconds: float) -> bool:
    """Whether one follows the other within a time; by lines where the log has no stamps."""
    last = last_line(log, event)
    until = log[last].uptime_s
    if until is None or later.uptime_s is None:
        return (later.index or 0) - last <= _CASCADE_LINES
    return later.uptime_s - until < seconds

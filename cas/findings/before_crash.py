"""What the kernel log says of the time before the crash: the most telling first, and each once.

Nothing here is called the cause: two things in one log need not have to do with one another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import field

from cas.choices import Kind
from cas.findings.crash import frames_of
from cas.findings.culprit import Stack, culprit_of, plain_name
from cas.findings.functions import Functions
from cas.frozen import dataclass
from cas.klog.choice import Choice
from cas.klog.events import EVENTS_LIMIT, Event, clean, read_report
from cas.klog.kinds import EXCEPTIONS
from cas.klog.lines import Log
from cas.klog.troubles import PASSING, Trouble, boot, general, troubles
from cas.model.finding import LogEvent
from cas.units import human_span

GROUPS_LIMIT = 100
"""Groups of lines that are kept."""
TEXT_LIMIT = 300
"""Characters of a line that are kept."""
_STACKS_LIMIT = 40
"""Reports whose stack is read, the newest."""
_SHORTLY_S = 600.0
"""How long before a crash what happens on any machine is worth a word,"""
_STARTED_S = 120.0
"""unless the machine was still starting; but always"""
_AT_ONCE_S = 30.0
"""so long before it."""
_RECENT_S = 3600.0
"""What is older counts less."""
_BESIDE = 30
"""Reports besides those before a crash, that count among the newest which are looked at."""
_SUMMED_UP = 2
"""Kinds of trouble that a sentence names."""
_OF_KIND = {
    **dict.fromkeys(EXCEPTIONS, Trouble.OOPS),
    Kind.LIST_CORRUPTION: Trouble.OVERWRITTEN,
    Kind.MEMORY_ERROR: Trouble.OVERWRITTEN,
    Kind.WARNING: Trouble.WARNING,
    Kind.HUNG_TASK: Trouble.HUNG,
    Kind.SOFT_LOCKUP: Trouble.SOFT_LOCKUP,
    Kind.HARD_LOCKUP: Trouble.HARD_LOCKUP,
    Kind.RCU_STALL: Trouble.RCU_STALL,
    Kind.MACHINE_CHECK: Trouble.MACHINE_CHECK,
    Kind.SYSRQ: Trouble.SYSRQ,
    Kind.OUT_OF_MEMORY: Trouble.OUT_OF_MEMORY,
    Kind.NMI: Trouble.NMI,
}
_WORDS = {
    Trouble.MACHINE_CHECK: ("a machine check", "machine checks"),
    Trouble.BAD_MEMORY: ("an uncorrected memory error", "uncorrected memory errors"),
    Trouble.PCIE: ("a PCIe error", "lines of PCIe errors"),
    Trouble.OOPS: ("an oops", "oopses"),
    Trouble.OVERWRITTEN: ("a bad memory access", "bad memory accesses"),
    Trouble.IO_ERROR: ("an I/O error", "lines of I/O errors"),
    Trouble.FILE_SYSTEM: ("a file system error", "lines of file system errors"),
    Trouble.NOT_RESPONDING: ("a server that did not respond", "lines of servers not responding"),
    Trouble.STORAGE: ("a storage timeout or reset", "lines of storage timeouts and resets"),
    Trouble.HARD_LOCKUP: ("a hard lockup", "hard lockups"),
    Trouble.SOFT_LOCKUP: ("a soft lockup", "reports of soft lockups"),
    Trouble.RCU_STALL: ("an RCU stall", "reports of RCU stalls"),
    Trouble.HUNG: ("a task hung", "tasks hung"),
    Trouble.OUT_OF_MEMORY: ("a task killed for memory", "tasks killed for memory"),
    Trouble.STALL: ("a stall", "lines of stalls"),
    Trouble.DEVICE: ("a device fault", "lines of device faults"),
    Trouble.BUS: ("a bus error", "bus errors"),
    Trouble.THERMAL: ("a processor too hot", "lines of processors too hot"),
}
"""One, and several: what is told in a sentence; other troubles are too weak for that."""
_STANDSTILL = frozenset({Trouble.HUNG, Trouble.HARD_LOCKUP, Trouble.SOFT_LOCKUP, Trouble.RCU_STALL})
"""What dumps are asked for most: a sentence names it first."""
_ORDER = {trouble: place for place, trouble in enumerate(Trouble)}
_TASK = re.compile(r"(?:INFO: )?task (.{1,64}):\d{1,10} ")


@dataclass(frozen=True, slots=True)
class Before:
    """What came before a crash."""

    events: tuple[LogEvent, ...] = ()
    """The most telling first."""
    summary: str | None = None
    """The most telling of the last hour in a phrase: ``14 tasks hung, the first 312 s earlier``."""


@dataclass(slots=True)
class _Group:
    trouble: Trouble
    line: int
    text: str
    where: str | None = None
    count: int = 0
    is_flood: bool = False
    first_s: float | None = None
    last_s: float | None = None
    subjects: set[str] = field(default_factory=set)

    def add(self, uptime_s: float | None, subject: str, *, is_flood: bool) -> None:
        """One more of the kind; they come in the order of the log."""
        self.count += 1
        self.first_s = uptime_s if self.first_s is None else self.first_s
        self.last_s = self.last_s if uptime_s is None else uptime_s
        self.subjects.add(subject)
        self.is_flood = self.is_flood or is_flood


def before(log: Log, choice: Choice, functions: Functions) -> Before:
    """Read what the kernel log says of the time before the crash.

    :param functions: what is known of kernel functions, to tell what a task hung in
    """
    end = len(log) if choice.crash.index is None else choice.crash.index
    if not end:
        return Before()
    crashed_s = choice.crash.uptime_s
    if crashed_s is None:
        # the last that the log says before, at least
        newest = (log[number].uptime_s for number in range(end - 1, max(-1, end - 1000), -1))
        crashed_s = next((stamp for stamp in newest if stamp is not None), None)
    groups = [
        group
        for group in _grouped(log, choice, end, functions)
        if group.trouble not in PASSING or _is_worth_a_word(group, crashed_s)
    ]
    groups.sort(key=lambda group: (_is_old(group, crashed_s), _ORDER[group.trouble], group.line))
    events = tuple(_log_event(group, crashed_s) for group in groups[:GROUPS_LIMIT])
    recent = [each for each in groups if each.trouble in _WORDS and not _is_old(each, crashed_s)]
    kinds = sorted(
        dict.fromkeys(group.trouble for group in recent), key=lambda each: each not in _STANDSTILL
    )
    said = (
        _phrase([each for each in recent if each.trouble is kind], crashed_s)
        for kind in kinds[:_SUMMED_UP]
    )
    return Before(events, "; ".join(said) or None)


def _grouped(log: Log, choice: Choice, end: int, functions: Functions) -> Iterable[_Group]:
    """Lines and reports that are the same again as one, in the order of their first."""
    first = boot(log, end)
    found = dict[tuple[object, ...], _Group]()
    reports = [
        event for event in choice.earlier if event.index is not None and event.index >= first
    ]
    is_flood = len(choice.earlier) >= EVENTS_LIMIT - _BESIDE
    for number, event in enumerate(reports):
        trouble = _OF_KIND.get(event.kind, Trouble.OOPS)
        is_read = len(reports) - number <= _STACKS_LIMIT
        where = _function_of_report(log, event, functions) if is_read else None
        task = event.about
        on = general(task.comm if task and trouble is Trouble.HUNG else event.line)
        group = found.setdefault(
            (trouble, on, where), _Group(trouble, event.index or 0, event.line, where)
        )
        group.add(event.uptime_s, str(task.pid if task else number), is_flood=is_flood)
    known = {event.index for event in reports}
    for told in troubles(log, first, end):
        line = log[told.line]
        if told.line in known or clean(line.text) == choice.crash.message:
            continue
        key = (told.trouble, told.on)
        group = found.setdefault(key, _Group(told.trouble, told.line, line.text))
        group.add(line.uptime_s, str(told.line), is_flood=told.is_flood)
    return found.values()


def _function_of_report(log: Log, event: Event, functions: Functions) -> str | None:
    """The function that a report is about, where the kernel was sure of it."""
    if event.kind is Kind.WARNING:
        return None
    facts = read_report(log, event)
    trace = frames_of(event, facts)
    if trace.is_guess:
        return None
    stack = Stack(trace.stack, event.named or facts.blamed or trace.pc, trace.interrupted)
    frames = culprit_of(stack, event.kind, functions).frames
    return plain_name(frames[0].function) if frames else None


def _is_worth_a_word(group: _Group, crashed_s: float | None) -> bool:
    """Whether what happens on any machine came shortly before the crash, and not with the boot."""
    if crashed_s is None or group.last_s is None:
        return False
    before_s = crashed_s - group.last_s
    return before_s <= _AT_ONCE_S or (before_s <= _SHORTLY_S and group.last_s >= _STARTED_S)


def _is_old(group: _Group, crashed_s: float | None) -> bool:
    return None not in (group.last_s, crashed_s) and _since(group.last_s, crashed_s) > _RECENT_S


def _since(said_s: float | None, crashed_s: float | None) -> float:
    return max(0.0, (crashed_s or 0.0) - (said_s or 0.0))


def _log_event(group: _Group, crashed_s: float | None) -> LogEvent:
    is_timed = crashed_s is not None and group.first_s is not None
    return LogEvent(
        kind=group.trouble,
        text=group.text.strip()[:TEXT_LIMIT],
        count=group.count,
        is_flood=group.is_flood,
        first_s=group.first_s,
        last_s=group.last_s,
        began_before_s=_since(group.first_s, crashed_s) if is_timed else None,
        ended_before_s=_since(group.last_s, crashed_s) if is_timed else None,
        where=group.where,
        line=group.line,
    )


def _phrase(groups: Sequence[_Group], crashed_s: float | None) -> str:
    first = min(groups, key=lambda group: group.line)
    many = len(set[str]().union(*(group.subjects for group in groups)))
    one, several = _WORDS[first.trouble]
    is_flood = any(group.is_flood for group in groups)
    words = [one if many == 1 else f"{many:,}{' or more' * is_flood} {several}"]
    # of a flood the newest lines were looked at: when it began is not known
    said_s = max((each.last_s or 0.0) for each in groups) if is_flood else first.first_s
    if said_s is not None and crashed_s is not None:
        when = f"{human_span(int(_since(said_s, crashed_s)))} earlier"
        which = "the last" if is_flood else "the first"
        words.append(when if many == 1 else f", {which} {when}")
    told = "".join(words) if many > 1 else " ".join(words)
    # who hung in what, of the first
    task = _TASK.match(first.text)
    example = " in ".join(filter(None, (task and task[1], first.where)))
    return f"{told} ({example})" if example else told

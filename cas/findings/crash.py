"""Everything that is known about a crash, from the first answer and from the kernel log."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import field, replace
from datetime import datetime

from cas.choices import Kind
from cas.findings.culprit import Culprit, Passed, Stack, culprit_of, plain_name
from cas.findings.functions import Functions, shipped_functions
from cas.findings.located import with_lines
from cas.frozen import dataclass
from cas.klog.choice import NOTHING, Choice, choose
from cas.klog.events import Event, clean, lines_of, lock_at, read_before, read_report
from cas.klog.kinds import ELSEWHERE, EXCEPTIONS, UNNAMED
from cas.klog.lines import Log
from cas.klog.report import Facts, Trace
from cas.klog.wordings import Weight
from cas.model.answer import FirstAnswer, Kmod, Task
from cas.model.code import Frame, Location
from cas.model.dump import Dump

_LEAKED = re.compile(r"locks? held|held lock freed")
"""What lockdep notices later, where the lock was not taken."""
_BROKEN = 3
_FOUND_LATER = re.compile(
    r"BUG .{1,160}\): (?:(.{0,20}[Rr]edzone |.{0,20}[Pp]adding )|.{0,20})overwritten"
)
"""``mm/slub.c``: check_bytes_and_report(), when somebody allocates or frees the memory next. Who
wrote behind an object is likely who allocated it; to a freed one, who had it before."""


@dataclass(frozen=True, slots=True)
class Crash:
    """One crash; the backtrace and the kernel log put together."""

    choice: Choice
    frames: tuple[Frame, ...] = ()
    """From the code at fault outwards, innermost first; empty when unknown."""
    passed: tuple[Passed, ...] = ()
    """The frames above it that are not at fault, with the reason."""
    inner: Frame | None = None
    """Where the processor was, if that is everybody's code, called by the code at fault."""
    entered: Frame | None = None
    """What called the outermost round of a recursion."""
    is_everybodys: bool = False
    """Nothing but everybody's code is known: its caller is at fault."""
    overwritten: str | None = None
    """Where memory was found overwritten: what the code at fault did with it, ``freed`` or
    ``allocated``; the report does not tell who wrote to it."""
    nowhere: int | None = None
    """The address that the code at fault called, if there is no code."""
    trace: tuple[Frame, ...] = ()
    """The log's whole call trace of it, where the frames are from the log."""
    is_guess: bool = False
    """The kernel was sure of none of the frames."""
    is_mixed: bool = False
    """Another processor printed its own report into this one."""
    source: str | None = None
    """Where the frames are from: ``backtrace`` or ``kernel log``."""
    agrees: bool | None = None
    """Backtrace and kernel log name the same function; ``None``: one of them is missing."""
    logged: Frame | None = None
    """The code at fault as the kernel log names it."""
    blamed: Frame | None = None
    """The code that the kernel itself blames: by name, or as where the processor was stopped."""
    task: Task | None = None
    blocked: Task | None = None
    """The task that waits, where another one noticed."""
    holder: Task | None = None
    """Who holds the lock that it waits for, as the kernel guesses."""
    taint: str | None = None
    kmods: tuple[Kmod, ...] | None = None
    time: datetime | None = None
    uptime_s: float | None = None
    has_log: bool = False
    log: Log = field(default=Log(None), repr=False, compare=False)
    """The kernel log that it was read from."""

    @property
    def event(self) -> Event:
        """The announcement of the crash."""
        return self.choice.crash

    @property
    def kind(self) -> Kind:
        """What kind of crash it was."""
        return self.event.kind

    @property
    def owner(self) -> Frame | None:
        """The function at fault that stands on the stack, perhaps with others inlined in it."""
        return next((frame for frame in self.frames if not frame.inlined), None)

    @property
    def is_guessed(self) -> bool:
        """Whether the function at fault is one that the kernel only guessed at."""
        owner, blamed = self.owner, self.blamed
        if owner is None or not self.is_guess:
            return False
        return blamed is None or plain_name(blamed.function) != plain_name(owner.function)


@dataclass(frozen=True, slots=True)
class _Logged:
    """What the kernel log alone says."""

    choice: Choice
    facts: Facts
    trace: Trace
    culprit: Culprit
    blamed: Frame | None = None
    overwritten: str | None = None


def crash_of(dump: Dump, answer: FirstAnswer | None, functions: Functions | None = None) -> Crash:
    """Put together what the dump and the debugger say.

    :param functions: what is known of kernel functions; ``None``: what is shipped
    """
    known = functions or shipped_functions()
    told = answer or FirstAnswer()
    dmesg = told.dmesg or dump.dmesg
    log = Log(dmesg)
    message = told.panic_message or dump.panic_message
    logged = _crash_in_log(log, message, known, () if answer else dump.locations)
    kind, task = logged.choice.crash.kind, _logged_task(logged)
    culprit, source = _culprit_and_source(told, logged, task, known)
    first = logged.culprit.frames[0] if logged.culprit.frames else None
    blocked = logged.choice.crash.about if kind is Kind.HUNG_TASK else None
    is_other = task and told.panic_task and task.pid != told.panic_task.pid
    if is_other and source == "kernel log" and kind is not Kind.HUNG_TASK:
        named = task  # the debugger's only noticed, or came second
    else:
        named = told.panic_task or task
    kmods = logged.facts.kmods
    if answer is not None and answer.knows_kmods:
        kmods = answer.kmods or kmods or ()
    return Crash(
        choice=logged.choice,
        frames=culprit.frames,
        passed=culprit.passed,
        inner=culprit.inner,
        entered=culprit.entered,
        is_everybodys=culprit.is_everybodys,
        overwritten=logged.overwritten if culprit is logged.culprit else None,
        nowhere=logged.facts.nowhere_address if kind in EXCEPTIONS else None,
        trace=logged.trace.stack if source == "kernel log" else (),
        is_guess=source == "kernel log" and logged.trace.is_guess,
        is_mixed=source == "kernel log" and logged.facts.is_mixed,
        source=source,
        agrees=_agree(told.backtrace, first, logged),
        logged=first,
        blamed=logged.blamed,
        task=named,
        blocked=blocked and replace(blocked, state="D"),
        holder=logged.facts.holder,
        taint=logged.facts.taint if answer is None else answer.taint or logged.facts.taint or "",
        kmods=kmods,
        time=told.crash_time or dump.crash_time,
        uptime_s=logged.choice.crash.uptime_s if told.uptime_s is None else told.uptime_s,
        has_log=bool(dmesg),
        log=log,
    )


def _crash_in_log(
    log: Log, message: str | None, functions: Functions, locations: Sequence[Location]
) -> _Logged:
    """The crash as the log tells it, else as the panic message does."""
    choice = choose(log)
    if choice.crash.kind is Kind.NONE and message:
        said = choose(Log(message)).crash
        event = replace(said, message=said.message or clean(message), index=None)
        return _Logged(replace(NOTHING, crash=event), Facts(), Trace(), Culprit())
    facts = read_report(log, choice.crash)
    if choice.panic is not None:
        facts = _with_panic(facts, read_report(log, choice.panic))
    kind, trace = choice.crash.kind, frames_of(choice.crash, facts)
    if found_later := _FOUND_LATER.match(choice.crash.message):
        # not who found the memory overwritten is told, but who had it
        first = "allocated" if found_later[1] else "freed"
        had = [each for each in facts.traces if each.did]
        of = next((each for each in had if each.did == first), had[-1] if had else Trace())
        of = with_lines(of, locations)
        found = culprit_of(Stack(of.frames), kind, functions)
        return _Logged(choice, facts, replace(of, task=trace.task), found, None, of.did or "had")
    if choice.crash.weight is Weight.PANIC and not (trace.stack or choice.crash.named):
        # the panic's own first lines are lost: the trace right before it is of what made it
        before, trace = read_before(log, choice.crash), Trace()
        own = [each for each in before.traces if not each.is_foreign and each.frames]
        own = [each for each in own if each.pc] or own
        if own and kind not in ELSEWHERE | UNNAMED:
            trace = own[-1]
            facts = replace(facts, task=facts.task or trace.task or before.task)
    at_fault = choice.crash.named or facts.blamed or trace.pc
    trace = with_lines(trace, locations)
    stack = trace.stack
    if _LEAKED.search(choice.crash.message) or not (stack or at_fault):
        at_fault = lock_at(lines_of(log, choice.crash)) or at_fault
    is_caller = facts.nowhere is not None and kind in EXCEPTIONS
    found = culprit_of(Stack(stack, at_fault, trace.interrupted, is_caller), kind, functions)
    return _Logged(choice, facts, trace, found, at_fault)


def _with_panic(facts: Facts, behind: Facts) -> Facts:
    """A report whose trace the kernel printed only when it panicked of it."""
    traces = facts.traces
    if not any(trace.frames for trace in traces if not trace.is_foreign):
        pc = next((trace.pc for trace in traces if not trace.is_foreign), None)
        traces = tuple(replace(trace, pc=trace.pc or pc) for trace in behind.traces) or traces
    return replace(
        facts,
        traces=traces,
        task=facts.task or behind.task,
        taint=behind.taint if facts.taint is None else facts.taint,
        kmods=behind.kmods if facts.kmods is None else facts.kmods,
    )


def frames_of(event: Event, facts: Facts) -> Trace:
    """The call trace of the code that the report is about."""
    own = [trace for trace in facts.traces if not trace.is_foreign]
    # a frame or two without a headline are what is left of a line that was broken
    own.sort(key=lambda trace: not trace.is_headed and len(trace.frames) < _BROKEN)
    if event.kind in (Kind.RCU_STALL, Kind.HARD_LOCKUP):
        # processors that stood still first; others print theirs beside them
        cpus = facts.stalled or (frozenset() if event.cpu is None else frozenset({event.cpu}))
        still = [trace for trace in own if trace.frames and trace.cpu in cpus]
        own = still + [trace for trace in own if trace.cpu is None or not cpus]
    pid = facts.task.pid if facts.task else None
    mine = [trace for trace in own if trace.task and not trace.task.comm and trace.task.pid == pid]
    return next((trace for trace in (*mine, *own) if trace.frames), own[0] if own else Trace())


def _logged_task(logged: _Logged) -> Task | None:
    """Whose crash it is, as the log says."""
    event = logged.choice.crash
    if event.kind is Kind.HUNG_TASK:
        behind = logged.facts.task
        same = behind and event.about and behind.pid == event.about.pid
        return None if same else behind
    about = event.about or logged.trace.task
    return about if about and about.comm else logged.facts.task


def _culprit_and_source(
    told: FirstAnswer, logged: _Logged, task: Task | None, functions: Functions
) -> tuple[Culprit, str | None]:
    """The culprit of the crash that the log tells, on the debugger's stack if that holds it."""
    kind, found = logged.choice.crash.kind, logged.culprit
    is_other = task and told.panic_task and task.pid != told.panic_task.pid
    if found.frames and not (is_other or kind is Kind.HUNG_TASK):
        inner = found.inner or found.frames[0]
        named = next(
            (f for f in (inner, found.frames[0]) if _is_on_stack(told.backtrace, f.function)), None
        )
        if named is not None:
            return culprit_of(Stack(told.backtrace, named), kind, functions), "backtrace"
    if found.frames and not logged.trace.is_guess:
        return found, "kernel log"
    own = Culprit()
    if kind is not Kind.HUNG_TASK:
        own = culprit_of(Stack(told.backtrace), kind, functions)
    if own.frames:
        return own, "backtrace"
    return found, "kernel log" if found.frames else None


def _is_on_stack(backtrace: Sequence[Frame], function: str) -> bool:
    name = plain_name(function)
    return any(plain_name(f.function) == name and not f.inlined for f in backtrace)


def _agree(backtrace: Sequence[Frame], first: Frame | None, logged: _Logged) -> bool | None:
    if not backtrace or not first:
        return None
    if _is_on_stack(backtrace, first.function):
        return True
    # where no code is, a backtrace may end: it does not contradict who called there
    is_nowhere = logged.facts.nowhere is not None
    return None if is_nowhere or logged.choice.crash.kind in ELSEWHERE else False

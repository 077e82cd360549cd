"""How sure the verdict is: of the choice, and of the data that it was made from.

The choice is the crash among a log's events, and the function among its frames. What lowers it are
facts of how kernels report; how often each level is right is measured by ``bench/verdict.py``, and
stands in docs/diagnosis.md. The data are the dump, its kernel log and the kernel found for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cas.choices import Checked, Kind, Level, MatchEvidence
from cas.findings.crash import Crash
from cas.findings.culprit import plain_name
from cas.klog.events import Event
from cas.klog.kinds import ELSEWHERE, EXCEPTIONS, UNNAMED
from cas.model.dump import Dump
from cas.model.finding import Confidence
from cas.model.kernel import Match

Ground = tuple[Level, str]
"""The most that one fact allows, and the fact."""

_WHOLE = {
    Checked.PAGES: "dump whole",
    Checked.SAMPLED: "dump whole as far as sampled",
    Checked.LENGTH: "dump of full length",
}
_BY_CHANCE = {
    Kind.RCU_STALL: "where a stalled CPU was seen is chance",
    Kind.SOFT_LOCKUP: "where a stuck CPU was seen is chance",
    Kind.HARD_LOCKUP: "where a stuck CPU was seen is chance",
    Kind.STACK_OVERFLOW: "where a stack ran out is chance",
}
"""The kernel looks only after seconds, or when it is too late."""
_SPOILS = EXCEPTIONS | {Kind.MEMORY_ERROR}
"""What may make any other trouble later."""
_RECENT_S = 600.0


def confidence_of_choice(crash: Crash) -> Confidence:
    """How sure it is that this was the crash, and this function is at fault."""
    if crash.kind is Kind.NONE:
        return _least([(Level.LOW, "no crash message")])
    grounds: list[Ground] = []
    if crash.choice.is_cascade:
        grounds.append((Level.HIGH, "the first of several reports at once"))
    if any(_may_be_the_cause(event, crash.event) for event in crash.choice.earlier):
        grounds.append((Level.MEDIUM, "the kernel had reported trouble before"))
    grounds += _grounds_of_culprit(crash)
    if crash.agrees:
        grounds.append((Level.HIGH, "backtrace and kernel log agree"))
    elif crash.agrees is False and crash.logged is not None:
        said = plain_name(crash.logged.function)
        why = f"backtrace and kernel log disagree (the log says {said})"
        grounds.append((Level.MEDIUM, why))
    return _least(grounds)


def confidence_of_data(crash: Crash, dump: Dump, match: Match | None) -> Confidence:
    """How sure it is that what was read is right, and all there is."""
    grounds: list[Ground] = []
    if match is None:
        alone = ", read from the kernel log alone" if crash.has_log and not dump.is_log else ""
        grounds.append((Level.LOW, f"no kernel found{alone}"))
    else:
        is_same = match.evidence in (MatchEvidence.BUILD_ID, MatchEvidence.BANNER)
        grounds.append((Level.HIGH if is_same else Level.MEDIUM, f"kernel by {match.evidence}"))
    if dump.is_log:
        grounds.append((Level.MEDIUM, "no dump, only its kernel log"))
    elif dump.missing:
        grounds.append((Level.MEDIUM, f"dump damaged ({dump.missing[0].what})"))
    elif dump.checked is Checked.RANGES:
        grounds.append((Level.MEDIUM, "dump read by ranges, and not fetched"))
    else:
        grounds.append((Level.HIGH, _WHOLE[dump.checked]))
    if not crash.has_log:
        grounds.append((Level.MEDIUM, "no kernel log"))
    elif not crash.choice.has_panic and crash.kind not in EXCEPTIONS | {Kind.NONE}:
        grounds.append((Level.MEDIUM, "no panic message"))
    return _least(grounds)


def confidence_sentence(choice: Confidence, data: Confidence) -> str:
    """Both in one line: a level each, then what it rests on."""
    return f"choice {_level_and_why(choice)}; data {_level_and_why(data)}"


def _level_and_why(confidence: Confidence) -> str:
    return f"{confidence.level}: {', '.join(confidence.why)}"


def _least(grounds: Iterable[Ground]) -> Confidence:
    """As sure as the least sure of its grounds; those that decide are told first."""
    order = sorted(grounds, key=lambda ground: -list(Level).index(ground[0]))
    return Confidence(order[0][0], tuple(why for _, why in order))


def _may_be_the_cause(earlier: Event, crash: Event) -> bool:
    if earlier.kind in ELSEWHERE and crash.kind not in ELSEWHERE:
        return False  # a task that waits makes no oops
    if earlier.kind is crash.kind is Kind.HUNG_TASK:
        # it is told every two minutes, as long as it waits (kernel/hung_task.c)
        return _pid(earlier) != _pid(crash)
    if earlier.kind in _SPOILS or earlier.uptime_s is None or crash.uptime_s is None:
        return True
    return crash.uptime_s - earlier.uptime_s < _RECENT_S


def _pid(event: Event) -> int | None:
    return event.about.pid if event.about else None


def _grounds_of_culprit(crash: Crash) -> Iterator[Ground]:
    kind, owner, blamed = crash.kind, crash.owner, crash.blamed
    if kind in UNNAMED:
        yield Level.HIGH, "the kernel itself says what it was"
        return
    if owner is None:
        yield Level.MEDIUM if kind is Kind.PANIC else Level.LOW, "no function is known"
        return
    if kind in _BY_CHANCE:
        yield Level.LOW, _BY_CHANCE[kind]
    elif kind is Kind.HUNG_TASK:
        yield Level.MEDIUM, "the kernel log tells who waits, not who keeps it waiting"
    elif crash.nowhere is not None:
        yield Level.MEDIUM, "only the stack tells who called where no code is"
    elif kind is Kind.PANIC:
        yield Level.HIGH, "the function that called panic()"
    elif crash.overwritten is not None:
        yield Level.LOW, "who had the overwritten memory is known, not who wrote to it"
    elif crash.is_everybodys:
        yield (
            Level.LOW,
            f"{plain_name(owner.function)} is everybody's code: its caller is not known",
        )
    elif blamed is None:
        yield Level.MEDIUM, "the kernel names no function, its stack does"
    else:
        yield Level.HIGH, f"the kernel names {plain_name(blamed.function)}"
    if crash.is_mixed:
        yield Level.MEDIUM, "two processors printed at once"
    if crash.is_guessed:
        yield Level.MEDIUM, "the kernel only guesses at the stack"

"""What to do next: advice as data, chosen by what is known of a crash.

The sentences stand in ``share/cas/advice/*.toml``, each with the conditions under which it is
given. What stands in braces is a fact: where it is not known, the sentence is not given.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import msgspec

from cas.choices import Kind, Weight
from cas.errors import CasError
from cas.files.shipped import shipped
from cas.files.whole import read_regular
from cas.findings.crash import Crash
from cas.findings.culprit import plain_name
from cas.findings.damage import next_step
from cas.frozen import dataclass
from cas.klog.taint import suspects
from cas.klog.troubles import Trouble
from cas.model.dump import Dump
from cas.model.evidence import Detection
from cas.model.finding import LogEvent
from cas.model.kernel import Match

FOLDER = "advice"
SIZE_LIMIT = 1 << 20
STEPS_LIMIT = 5
RECENT_S = 3600.0
"""What the kernel log tells of longer before the crash is no reason for advice."""
LINE_LIMIT = 160
"""Characters of a line of the kernel log that a sentence quotes."""
_FACT = re.compile(r"\{(\w+)\}")
FACTS = (
    ("kernel", "of which no debuginfo is known"),
    ("damage", "what a damaged dump asks for"),
    ("oopses", "how many stand before the crash"),
    ("report", "the last that the kernel made before, and survived"),
    ("guilty", "kernel modules on the stack that are not the distribution's"),
    ("suspects", "those that are loaded"),
    ("holder", "of the lock that a task waits for, as the kernel log has it"),
    ("function", "at fault, of the kernel itself"),
    ("line", "of the kernel log that a condition `before` found"),
)


class BadAdvice(CasError):
    """A file of advice cannot be used."""

    hint = "install CAS again, from a wheel or with: pip install ."


class _When(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Conditions; of several values of one any will do."""

    kind: tuple[Kind, ...] = ()
    taint: str = ""
    """Letters."""
    before: tuple[Trouble, ...] = ()
    """What the kernel log tells of within the last hour."""
    message: str = ""
    """A regular expression, of the announcement and what stands before it."""
    cause: tuple[str, ...] = ()
    """Detectors whose evidence explains the crash."""
    evidence: str = ""
    """A regular expression, of the sentences of such evidence."""
    has: tuple[str, ...] = ()
    """Facts."""


class Advice(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One sentence."""

    say: str
    run: tuple[str, ...] = ()
    when: _When | tuple[_When, ...] = ()
    unless: _When | tuple[_When, ...] = ()

    @property
    def tables(self) -> tuple[_When, ...]:
        """All its conditions."""
        return (*_tables(self.when), *_tables(self.unless))


class _File(msgspec.Struct, forbid_unknown_fields=True):
    advice: tuple[Advice, ...]


@dataclass(frozen=True, slots=True)
class _Known:
    """What conditions are about."""

    kind: Kind
    message: str
    taint: str
    before: Sequence[LogEvent]
    causes: frozenset[str]
    evidence: str
    facts: Mapping[str, str]
    has_memory: bool
    """There is a dump, in which a debugger's commands show more."""


def next_steps(
    crash: Crash,
    dump: Dump,
    match: Match | None,
    before: Sequence[LogEvent] = (),
    detections: Sequence[Detection] = (),
) -> tuple[str, ...]:
    """What to do, the most useful first.

    :param before: what the kernel log says of the time before the crash
    :param detections: what was found in the dump; empty: not yet, or nothing
    """
    causes = [
        (detection.detector, evidence.sentence)
        for detection in detections
        for evidence in detection.evidence
        if evidence.weight is Weight.CAUSE
    ]
    known = _Known(
        kind=crash.kind,
        message=f"{crash.event.message}\n{crash.event.detail or ''}",
        taint=crash.taint or "",
        before=before,
        causes=frozenset(detector for detector, _ in causes),
        evidence="\n".join(sentence for _, sentence in causes),
        facts={name: text for name, text in _facts_for_sentences(crash, dump, match) if text},
        has_memory=not dump.is_log,
    )
    steps = (_sentence_with_facts(advice, known) for advice in shipped_advice())
    return tuple(dict.fromkeys(filter(None, steps)))[:STEPS_LIMIT]


def steps_of(kind: Kind) -> frozenset[str]:
    """What is advised of a kind of crash of which nothing more is known."""
    alone = _When(kind=(kind,))
    return frozenset(advice.say for advice in shipped_advice() if advice.when == alone)


@cache
def shipped_advice() -> tuple[Advice, ...]:
    """What the project knows, in the order of the files.

    :raises BadAdvice: a file is damaged
    """
    files = sorted(shipped(FOLDER).glob("*.toml"))
    return tuple(advice for file in files for advice in read_advice(file))


def read_advice(file: Path) -> tuple[Advice, ...]:
    """The advice of a file.

    :raises BadAdvice: it cannot be read, or says what nobody understands
    """
    known = {name for name, _ in FACTS}
    try:
        found = msgspec.convert(tomllib.loads(read_regular(file, SIZE_LIMIT).decode()), _File)
        for advice in found.advice:
            wanted = (name for when in advice.tables for name in when.has)
            names = {*_FACT.findall(advice.say), *wanted}
            if wrong := sorted(names - known):
                raise ValueError(f"there is no fact {', '.join(wrong)}: {advice.say}")
            has_line = all(when.before for when in _tables(advice.when) or [_When()])
            if "line" in names and not has_line:
                raise ValueError(f"{{line}} needs the condition before: {advice.say}")
            for when in advice.tables:
                re.compile(when.message)
                re.compile(when.evidence)
    except (OSError, ValueError, re.error) as error:
        raise BadAdvice(f"{file}: {error}") from error
    return found.advice


def _tables(when: _When | tuple[_When, ...]) -> tuple[_When, ...]:
    return (when,) if isinstance(when, _When) else when


def _sentence_with_facts(advice: Advice, known: _Known) -> str | None:
    """The sentence with its facts; ``None``: it does not fit."""
    held = [when for when in _tables(advice.when) if _holds(when, known)]
    if _tables(advice.when) and not held:
        return None
    if any(_holds(when, known) for when in _tables(advice.unless)):
        return None
    facts = known.facts
    if held and held[0].before:
        line = _first(held[0], known.before)
        facts = {**facts, "line": line.text.rstrip(".")[:LINE_LIMIT] if line else ""}
    if not all(facts.get(name) for name in _FACT.findall(advice.say)):
        return None
    said = _FACT.sub(lambda found: facts[found[1]], advice.say)
    if advice.run and known.has_memory:
        return f"{said} (cas debug: {'; '.join(advice.run)})"
    return said


def _holds(when: _When, known: _Known) -> bool:
    conditions: tuple[tuple[object, Callable[[], object]], ...] = (
        (when.kind, lambda: known.kind in when.kind),
        (when.taint, lambda: set(when.taint) & set(known.taint)),
        (when.before, lambda: _first(when, known.before)),
        (when.cause, lambda: set(when.cause) & known.causes),
        (when.has, lambda: set(when.has) & known.facts.keys()),
        (when.evidence, lambda: re.search(when.evidence, known.evidence, re.MULTILINE)),
        (when.message, lambda: re.search(when.message, known.message)),
    )
    return all(holds() for wanted, holds in conditions if wanted)


def _first(when: _When, before: Sequence[LogEvent]) -> LogEvent | None:
    """The most telling line of the last hour that is meant."""
    return next(
        (
            event
            for event in before
            if event.kind in when.before and (event.ended_before_s or 0.0) <= RECENT_S
        ),
        None,
    )


def _facts_for_sentences(
    crash: Crash, dump: Dump, match: Match | None
) -> Iterator[tuple[str, str | None]]:
    """What a sentence may name; a value that is empty is not known."""
    if match is None:
        build_id = f", build-id {dump.build_id}" if dump.build_id else ""
        arch = f" ({dump.arch})" if dump.arch and dump.arch != "unknown" else ""
        yield "kernel", f"{dump.osrelease or 'this kernel'}{arch}{build_id}"
    if dump.missing:
        yield "damage", next_step(dump)
    oopses = sum(event.is_oops for event in crash.choice.earlier)
    if oopses:
        yield "oopses", "1 earlier oops stands" if oopses == 1 else f"{oopses} earlier oopses stand"
    reports = [event for event in crash.choice.earlier if not event.is_oops]
    if reports:
        yield "report", reports[-1].message
    on_stack = {frame.kmod for frame in crash.frames if frame.kmod}
    marked = [kmod.name for kmod in suspects(crash.kmods or ())]
    yield "guilty", ", ".join(name for name in marked if name in on_stack)
    yield "suspects", ", ".join(marked)
    if crash.holder:
        yield "holder", f"{' '.join(crash.holder.comm.split())} (pid {crash.holder.pid})"
    if crash.owner and not crash.owner.kmod:
        yield "function", plain_name(crash.owner.function)

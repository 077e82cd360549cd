"""Which known issues a crash is, and of which that cannot be told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property

from cas.findings import releases
from cas.findings.crash import Crash
from cas.findings.culprit import plain_name
from cas.findings.known import Issue
from cas.findings.searching import Budget, OutOfTime, Pattern
from cas.findings.title import title
from cas.klog.lines import Log
from cas.model.answer import FirstAnswer
from cas.model.dump import Dump
from cas.model.finding import Finding, KnownIssue
from cas.text import count

_QUOTED = 200
"""Characters of a line of the kernel log that are quoted."""
_TOLD = 20
"""Issues that cannot be decided."""


@dataclass(frozen=True)
class Clues:
    """What conditions are about."""

    titles: tuple[str, ...]
    """With the innermost function, and with the one it is inlined in, as a log alone names it."""
    signatures: frozenset[str]
    functions: tuple[str, ...]
    """At fault: the innermost, and the one that it is inlined in."""
    kmods: tuple[str, ...]
    """That they belong to."""
    release: str | None
    banner: str | None
    arch: str
    dmesg: str | None

    @cached_property
    def log(self) -> str:
        """The lines of the kernel log without their time stamps."""
        return "\n".join(line.text for line in Log(self.dmesg))


def clues_of(crash: Crash, finding: Finding, dump: Dump, answer: FirstAnswer | None) -> Clues:
    """What is known of a crash that conditions are about."""
    at_fault = [*crash.frames[:1], *filter(None, [crash.owner])]
    signatures = {each.value for each in finding.signatures} | {finding.signature or ""}
    own = next((n for n, frame in enumerate(crash.frames) if not frame.inlined), 0)
    without_inlined = replace(crash, frames=crash.frames[own:])
    return Clues(
        titles=tuple(dict.fromkeys((finding.title, title(without_inlined)))),
        signatures=frozenset(signatures),
        functions=tuple(dict.fromkeys(plain_name(frame.function) for frame in at_fault)),
        kmods=tuple(dict.fromkeys(frame.kmod for frame in at_fault if frame.kmod)),
        release=dump.osrelease,
        banner=dump.banner,
        arch=dump.arch,
        dmesg=(answer and answer.dmesg) or dump.dmesg,
    )


def recognise(
    issues: Sequence[Issue], clues: Clues, budget: Budget | None = None
) -> tuple[tuple[KnownIssue, ...], tuple[str, ...]]:
    """The known issues that a crash is, and what could not be decided, a sentence each.

    :param budget: time of the processor that patterns may take; ``None``: what is usual
    """
    found, undecided, late, blind = [], [], 0, 0
    budget = budget or Budget()
    for issue in issues:
        trial = _Trial(issue, clues, budget)
        try:
            why = trial.why()
        except OutOfTime as error:
            late += budget.left_s <= 0
            if budget.left_s > 0:
                undecided.append(_undecided(issue, f"{str(error)!r} takes too long to search for"))
            continue
        if why is not None and trial.is_blind:
            blind += 1
        elif why is not None and trial.open is None:
            known = KnownIssue(
                name=issue.name,
                advice=issue.advice,
                link=issue.link,
                fixed_in=issue.fixed_in,
                file=issue.file,
                why=why,
                doubt=_doubt(issue.fixed_in, clues),
            )
            found.append(known)
        elif why is not None:
            undecided.append(_undecided(issue, trial.open or ""))
    more = len(undecided) - _TOLD
    if more > 0:
        undecided = [*undecided[:_TOLD], f"and {count(more, 'more known issue')} of the kind"]
    if late:
        undecided.append(
            f"{count(late, 'known issue')} not looked for to the end: all patterns together "
            "take too long"
        )
    if blind:
        undecided.append(
            f"{count(blind, 'known issue')} not looked for: there is no kernel log to look in"
        )
    return tuple(found), tuple(undecided)


class _Trial:
    """One issue held against one crash."""

    def __init__(self, issue: Issue, clues: Clues, budget: Budget) -> None:
        self.issue, self.clues, self.budget = issue, clues, budget
        self.open: str | None = None
        """Why it cannot be told whether the kernel is one of those meant."""
        self.is_blind = False
        """All that can be told holds, and there is no kernel log for the rest."""

    def why(self) -> tuple[str, ...] | None:
        """What holds, cheapest first; ``None`` when a condition does not.

        :raises OutOfTime: a pattern takes too long
        """
        said = []
        for held in self._conditions():
            if held is None:
                return None
            said.append(held)
        return tuple(said)

    def _conditions(self) -> Iterator[str | None]:
        issue, clues = self.issue, self.clues
        if issue.arches:
            yield _equal("arch", issue.arches, [clues.arch])
        if issue.signatures:
            yield _equal("signature", issue.signatures, clues.signatures)
        if issue.kmods:
            yield _like("module", issue.kmods, clues.kmods)
        if issue.functions:
            yield _like("function", issue.functions, clues.functions)
        if issue.titles:
            yield _like("title", issue.titles, clues.titles)
        if issue.kernels:
            yield self._kernel_condition()
        if issue.title_patterns:
            yield self._pattern_found("title", issue.title_patterns, "\n".join(clues.titles))
        if issue.logs and not clues.dmesg:
            self.is_blind = True
        elif issue.logs:
            yield self._pattern_found("log", issue.logs, clues.log)

    def _kernel_condition(self) -> str | None:
        """A kernel counts by the ranges that it can be compared with."""
        release = self.clues.release
        if release is None:
            self.open = "it is not known which kernel this is"
            return ""
        told = releases.told_by(release, self.clues.banner)
        held: dict[str, bool | None] = {}
        for kernels in self.issue.kernels:
            if kernels.comparisons:
                ends = [comparison.holds(told) for comparison in kernels.comparisons]
                held[kernels.text] = False if False in ends else None if None in ends else True
            else:
                held[kernels.text] = fnmatchcase(release, _literal(kernels.text))
        text = next((text for text, is_meant in held.items() if is_meant), None)
        if text is not None:
            return f"kernel {release}: {text}"
        compared = {k.text: held[k.text] for k in self.issue.kernels if k.comparisons}
        if compared and set(compared.values()) == {None}:
            self.open = f"the kernel {release} cannot be compared with {'; '.join(compared)}"
            return ""
        return None

    def _pattern_found(self, what: str, patterns: Iterable[Pattern], text: str) -> str | None:
        late: OutOfTime | None = None
        for pattern in patterns:
            try:
                place = self.budget.search(pattern, text)
            except OutOfTime as error:
                late = error
                continue
            if place is not None:
                first, last = text.rfind("\n", 0, place) + 1, text.find("\n", place)
                line = text[first : last if last >= 0 else len(text)]
                return f"{what}: {line if len(line) <= _QUOTED else f'{line[:_QUOTED]} …'}"
        if late is not None:
            raise late
        return None


def _equal(what: str, wanted: Iterable[str], there: Iterable[str]) -> str | None:
    both = sorted(set(wanted) & set(there))
    return f"{what} {both[0]}" if both else None


def _like(what: str, wanted: Iterable[str], there: Sequence[str]) -> str | None:
    patterns = [_literal(pattern) for pattern in wanted]
    found = (name for name in there if any(fnmatchcase(name, pattern) for pattern in patterns))
    return next((f"{what} {name}" for name in found), None)


def _literal(glob: str) -> str:
    """A glob in which brackets are themselves: they stand around modules in titles."""
    return glob.replace("[", "[[]")


def _doubt(fixed_in: Iterable[str], clues: Clues) -> str | None:
    """That this kernel has the fix, if that is sure."""
    told = releases.told_by(clues.release or "", clues.banner)
    for fixed in fixed_in:
        try:
            limit = releases.bound(fixed)
        except ValueError:  # of a firmware, say
            continue
        if releases.has(told, limit):
            return f"but {clues.release} has the fix of {fixed}, so that it may be another bug"
    return None


def _undecided(issue: Issue, why: str) -> str:
    said = "it cannot be told whether this is it"
    return f"known issue {issue.name!r} ({issue.file.name}): {said}: {why}"

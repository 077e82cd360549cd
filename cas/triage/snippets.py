"""The snippets of a run: which apply to the dump, and each into its section."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cas import findings
from cas.choices import Engine, EngineChoice, SectionStatus
from cas.engines.crash.failover import CrashAnywhere
from cas.engines.drgn.process import Worker
from cas.engines.ladder import Ladder, Session
from cas.engines.outcome import LIMITS, skipped_section, with_skipped
from cas.errors import EngineError
from cas.files import shipped
from cas.files.whole import put
from cas.frozen import dataclass
from cas.model.answer import FirstAnswer
from cas.model.dump import Dump
from cas.model.report import Report
from cas.model.snippet import Need, Section, Snippet
from cas.snippets import snippets
from cas.snippets.snippets import Unusable
from cas.supervise import Confinement
from cas.triage.context import Context


@dataclass(frozen=True, slots=True)
class FittingSnippet:
    """A snippet, and what of it this kernel has."""

    whole: Snippet
    fitting: Snippet
    """The same without the commands that read what the kernel has not got."""
    left_out: Mapping[int, str]
    """Why each of those is left out, by its position in `whole`."""


@dataclass(frozen=True, slots=True)
class ChosenSnippets:
    """The snippets that apply to a dump."""

    snippets: tuple[FittingSnippet, ...]
    unusable: tuple[Unusable, ...]
    prelude: tuple[str, ...]
    """Commands before all others in crash."""
    own: frozenset[str]
    """Names of those that the site has written."""

    @property
    def runnable(self) -> tuple[Snippet, ...]:
        """What is run of those that have a command left."""
        return tuple(each.fitting for each in self.snippets if each.fitting.commands)


def choose_snippets(
    context: Context,
    confinement: Confinement,
    worker: Worker,
    dump: Dump,
    answer: FirstAnswer | None,
) -> ChosenSnippets:
    """The snippets that apply to a dump, without what its kernel has nothing for."""
    facts = snippets.Facts(
        dump.arch,
        dump.osrelease,
        [kmod.name for kmod in answer.kmods] if answer else [],
        dump.size_bytes,
    )
    ours = shipped.shipped("snippets") / "crash"
    loaded = snippets.load((ours, *context.config.snippets), facts, confinement)
    for remark in loaded.remarks:
        context.progress.note(remark)
    needs = tuple({need for each in loaded.snippets for some in each.needs for need in some})
    lacking: frozenset[Need] = frozenset()
    try:
        lacking = worker.unmet(needs)
    except EngineError as error:
        context.progress.note(f"what the kernel has cannot be looked up: {error}")
    return ChosenSnippets(
        tuple(
            FittingSnippet(each, *snippets.fitting(each, lambda need: need not in lacking))
            for each in loaded.snippets
        ),
        loaded.unusable,
        loaded.prelude,
        snippets.outside(ours, loaded),
    )


def unusable_sections(chosen: ChosenSnippets, directory: Path) -> Iterator[Section]:
    """The sections of snippets that gave no commands: they say why."""
    for each in chosen.unusable:
        path = directory / each.name
        put(path, b"")
        failed, reason = SectionStatus.FAILED, each.reason
        yield Section(each.name, each.title, failed, Engine.NONE, path, error=reason)


def run_snippets(
    chosen: ChosenSnippets, ladder: Ladder, engine: Engine, context: Context
) -> Iterator[Section]:
    """Each snippet into its file; its section as soon as it has run.

    :param engine: that runs them, as it is told
    """
    count = len(chosen.runnable)
    text = f"Running {count} snippets with {engine}"
    with context.timed("snippets"), context.progress.bar(text, count, "snippets") as step:
        for each in chosen.snippets:
            path = context.directory / each.whole.name
            if not each.fitting.commands:
                yield skipped_section(each.whole, each.left_out, path)
                continue
            ran = ladder.run_snippet(each.fitting, path)
            yield with_skipped(ran, each.whole, each.left_out)
            step(1)
    yield from ladder.finish(context.directory)


def ladder_of(
    crash: CrashAnywhere | None,
    worker: Worker,
    chosen: ChosenSnippets,
    report: Report,
    engine: EngineChoice,
) -> Ladder:
    """The engines that snippets are run with, the best first.

    :param crash: open; ``None``: drgn runs them
    :param report: what is known of the dump
    :param engine: who wants crash has nothing done by another
    """
    assert report.dump is not None  # noqa: S101  it was identified long ago
    walking = tuple(filter(snippets.walks_tasks, chosen.runnable))
    session = Session(crash, walking, engine is EngineChoice.CRASH) if crash else None
    ladder = Ladder(session, worker, report.dump)
    ladder.is_drgn_blind = report.answer is None
    ladder.log = ladder.log or (report.answer.dmesg if report.answer else None)
    return ladder


def with_section(report: Report, section: Section, context: Context) -> Report:
    """A report with one more section; what it costs the verdict is judged with all the others."""
    if section.error:
        context.progress.note(f"{section.name}: {section.status}: {section.error}")
    limits = (f"{section.name}: {section.status}",) if section.status in LIMITS else ()
    return replace(
        report,
        sections=(*report.sections, section),
        limits_hit=(*report.limits_hit, *limits),
    )


def with_rungs(
    report: Report, rungs_of_crash: Sequence[str], ladder: Ladder, context: Context
) -> Report:
    """A report that says which rungs were tried, and what the higher ones could not do."""
    for outcome, engine in ladder.given_up:
        context.progress.note(f"{outcome.engine} did not answer, {engine} did: {outcome.error}")
    for text in findings.given_up(ladder.given_up):
        context.remark(text)
    lost = (outcome for outcome, _ in ladder.given_up if outcome.status in LIMITS)
    limits = (f"{outcome.command}: {outcome.status}" for outcome in lost)
    return replace(
        report,
        ladder=(*rungs_of_crash, *ladder.rungs),
        limits_hit=(*report.limits_hit, *limits),
    )

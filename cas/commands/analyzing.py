"""Analyzers over the crashes that a command means."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from cas.analyzers.analysis import Analysis
from cas.analyzers.analyzer import Analyzer
from cas.analyzers.library import Library
from cas.analyzers.prepared import PreparedCrashes
from cas.analyzers.running import ANALYZER_S, Limits, Runner
from cas.analyzers.unfinished import UnfinishedRun, unfinished_run
from cas.archive.archive import Archive
from cas.commands.crash_lines import ls_line
from cas.commands.invocation import Done, Output, World
from cas.errors import Interrupted
from cas.frozen import dataclass
from cas.model.archived import SHORT_DIGITS, CrashLine, Selection
from cas.settings.person import person
from cas.settings.users import account
from cas.supervise import Confinement, find_sandbox, scratch

AUTO_S = 60.0
"""Seconds that an analyzer may take which runs by itself."""
AUTO_LINES = 20
"""Lines of what it prints that are told."""
NOTHING_MEANT = 2
FAILED = 1


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a command line asks for."""

    spec: tuple[str, ...]
    name: str
    """Of an analyzer, or a command of the debugger."""
    jobs: int | None = None
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """What lasts as long as a run."""

    directory: Path
    """Where programs run."""
    leases: ExitStack
    """Keeps what they use."""
    run: UnfinishedRun


def analyze(selection: Selection, wanted: Wanted, archive: Archive, world: World) -> Output:
    """Run an analyzer on all crashes that are meant.

    :raises NoAnalyzer: there is no such analyzer
    :raises TryAgain: the database is of no use; what was said is recorded all the same
    """
    analyzers = Library(archive).meant(wanted.name)
    lines = list(archive.store.crashes.lines(selection))
    ids = [line.id for line in lines]
    if not ids:
        world.progress.warn("no crash of the archive is meant; to see what it has: cas ls")
        return NOTHING_MEANT
    by = person(world.environment, world.config)
    asked = (by, *(f"{each.name} {each.digest}" for each in analyzers), *wanted.spec)
    with ExitStack() as stack:
        directory = stack.enter_context(scratch())
        run = stack.enter_context(unfinished_run(archive, asked, directory))
        before = sum(each in run.failures for each in ids)
        if before:
            world.progress.say(
                f"going on with a run that was stopped, which has done {before:,} of {len(ids):,}"
            )
        analysis = _analysis(analyzers, wanted, archive, Room(directory, stack, run), world)
        failed = 0
        jobs = wanted.jobs or len(os.sched_getaffinity(0))
        try:
            heads = _heads(lines) if analyzers[-1].is_command else {}
            for done in analysis.over(ids, jobs):
                if done.id in heads:
                    yield Done(heads[done.id])
                yield from _lines(done.output)
                if done.failure:
                    failed += 1
                    world.progress.warn(f"{done.id[:SHORT_DIGITS]}: {done.failure}")
        except KeyboardInterrupt as interruption:
            again = "what is done is kept; the same command goes on with the rest"
            raise Interrupted(again) from interruption
    return _status(analysis, len(ids), failed, world)


def _analysis(
    analyzers: tuple[Analyzer, ...],
    wanted: Wanted,
    archive: Archive,
    room: Room,
    world: World,
) -> Analysis:
    """What runs analyzers with the rules of the configuration."""
    rules = world.config.supervision
    sandbox, why = find_sandbox(rules.sandbox)
    if sandbox is None:
        world.progress.warn(f"analyzers run without a sandbox: {why}")
    runner = Runner(
        Confinement(room.directory, rules, sandbox=sandbox),
        Limits(wanted.timeout_s or ANALYZER_S, rules.section_bytes),
        world.config,
    )
    crashes = PreparedCrashes(archive, world.config, world.progress, room.leases)
    by, at_s = person(world.environment, world.config), int(world.now.timestamp())
    return Analysis(archive, analyzers, runner, crashes, room.run, by, at_s)


def _heads(lines: Sequence[CrashLine]) -> dict[str, str]:
    """A line for each crash, above what a debugger says of it; one crash needs none."""
    if len(lines) == 1:
        return {}
    return {line.id: f"== {ls_line(line)}" for line in lines}


def _status(analysis: Analysis, number: int, failed: int, world: World) -> int:
    passed = len(analysis.passed_over)
    if passed:
        crashes = "1 crash has" if passed == 1 else f"{passed:,} crashes have"
        world.progress.warn(f"{crashes} no dump on this machine: passed over")
        if away := analysis.away:
            which = "its dump is" if len(away) == passed == 1 else f"the dumps of {len(away):,} are"
            world.progress.warn(
                f"{which} in a store, where a shell script cannot read them: to fetch one: "
                f"cas move {away[0]} --to local"
            )
    if failed:
        said = f"failed on {failed:,} of {number:,}, exit status {FAILED}"
        if not (wanted := analysis.analyzers[-1]).is_command:
            said += f"; to work on it with one of them at hand: cas debug ID {wanted.name}"
        world.progress.warn(said)
    if analysis.behind:
        raise analysis.behind
    return FAILED if failed else NOTHING_MEANT if passed == number else 0


def _lines(path: Path) -> Iterator[str]:
    """What an analyzer has printed, line by line."""
    with path.open(encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        for line in file:
            yield Done(line.removesuffix("\n"))


def analyze_by_itself(crash_id: str, archive: Archive, world: World) -> None:
    """Run on a crash what runs by itself; what was run on it before, as it is now, is left out.

    :raises CasError: it cannot be told what runs by itself
    """
    library = Library(archive)
    before = {change.what.partition(": ")[0] for change in archive.read(crash_id).changes}
    for analyzer in library.autos():
        if analyzer.is_auto and f"analyze {analyzer.called}" not in before:
            _run_auto(analyzer, crash_id, library, world)


def _run_auto(analyzer: Analyzer, crash_id: str, library: Library, world: World) -> None:
    progress = world.progress
    wanted = Wanted((crash_id,), analyzer.name, 1, AUTO_S)
    with ExitStack() as stack:
        directory = stack.enter_context(scratch())
        run = UnfinishedRun(directory / "outputs")
        run.directory.mkdir()
        analyzers = library.in_order(analyzer.name)
        analysis = _analysis(analyzers, wanted, library.archive, Room(directory, stack, run), world)
        for done in analysis.over([crash_id], 1):
            for line in islice(_lines(done.output), AUTO_LINES):
                progress.say(f"{analyzer.name}: {line}")
            if done.failure:
                progress.warn(f"the analyzer {analyzer.name}, which runs by itself: {done.failure}")
        if analysis.behind:
            progress.warn(str(analysis.behind))


def archive_owner(archive: Archive, world: World) -> int:
    """Who may have analyzers run by themselves: ``casuser``, else the owner of the archive."""
    if world.config.casuser:
        return account(world.config.casuser).pw_uid
    try:
        return archive.path.stat().st_uid
    except OSError:  # it is not made yet
        return os.geteuid()

"""Analyzers over the crashes that a command means."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from cas.analyzers.analysis import Analysis
from cas.analyzers.library import Library
from cas.analyzers.prepared import PreparedCrashes
from cas.analyzers.running import ANALYZER_S, Limits, Runner
from cas.analyzers.unfinished import unfinished_run
from cas.archive.archive import Archive
from cas.commands.crash_lines import ls_line
from cas.commands.invocation import Done, Output, World
from cas.errors import Interrupted
from cas.model.archived import SHORT_DIGITS, CrashLine, Selection
from cas.settings.person import person
from cas.settings.users import account
from cas.supervise import Confinement, find_sandbox, scratch

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
    by, rules = person(world.environment, world.config), world.config.supervision
    asked = (by, *(f"{each.name} {each.digest}" for each in analyzers), *wanted.spec)
    with ExitStack() as stack:
        directory = stack.enter_context(scratch())
        sandbox, why = find_sandbox(rules.sandbox)
        if sandbox is None:
            world.progress.warn(f"the analyzer runs without a sandbox: {why}")
        run = stack.enter_context(unfinished_run(archive, asked, directory))
        before = sum(each in run.failures for each in ids)
        if before:
            world.progress.say(
                f"going on with a run that was stopped, which has done {before:,} of {len(ids):,}"
            )
        runner = Runner(
            Confinement(directory, rules, sandbox=sandbox),
            Limits(wanted.timeout_s or ANALYZER_S, rules.section_bytes),
            world.config,
        )
        subjects = PreparedCrashes(archive, world.config, world.progress, stack)
        at_s = int(world.now.timestamp())
        analysis = Analysis(archive, analyzers, runner, subjects, run, by, at_s)
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
    if failed:
        world.progress.warn(f"failed on {failed:,} of {number:,}, exit status {FAILED}")
    if analysis.behind:
        raise analysis.behind
    return FAILED if failed else NOTHING_MEANT if passed == number else 0


def _lines(path: Path) -> Iterator[str]:
    """What an analyzer has printed, line by line."""
    with path.open(encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        for line in file:
            yield Done(line.removesuffix("\n"))


def archive_owner(archive: Archive, world: World) -> int:
    """Who may have analyzers run by themselves: ``casuser``, else the owner of the archive."""
    if world.config.casuser:
        return account(world.config.casuser).pw_uid
    try:
        return archive.path.stat().st_uid
    except OSError:  # it is not made yet
        return os.geteuid()

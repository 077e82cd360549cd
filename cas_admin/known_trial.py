"""Known issues, tried on what was kept of past jobs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from pathlib import Path
from typing import Any

from cas import findings
from cas.commands import World
from cas.errors import CasError
from cas.findings.known import Known
from cas.frozen import dataclass
from cas.jobs.work_directory import WorkDirectory, is_regular
from cas.report.result import NAME, load
from cas.text import short_line
from cas.triage.rejudge import evidence
from cas.triage.verdict import Judge


@dataclass(frozen=True, slots=True)
class Match:
    """A job and an issue that it is, or may be."""

    ticket: str
    directory: Path
    title: str
    issue: str
    why: tuple[str, ...]

    def match_facts(self) -> dict[str, Any]:
        """The match as ``--json`` has it."""
        return {
            "ticket": self.ticket,
            "directory": self.directory,
            "title": self.title,
            "issue": self.issue,
            "why": self.why,
        }


@dataclass(slots=True)
class Trial:
    """What came of trying known issues on the kept jobs."""

    looked_at: int = 0
    unreadable: int = 0
    matches: list[Match] = field(default_factory=list)
    undecided: list[Match] = field(default_factory=list)

    def directories(self) -> set[Path]:
        """The jobs that are known."""
        return {match.directory for match in self.matches}

    def match_lines(self) -> Iterator[str]:
        """A line for each job and issue."""
        for match in self.matches:
            why = ", ".join(match.why)
            said = f"{match.ticket} {match.directory}: {match.title}: {match.issue} ({why})"
            yield short_line(said)
        for match in self.undecided:
            yield short_line(f"{match.ticket} {match.directory}: {match.title}: {match.why[0]}")


def try_issues(known: Known, world: World) -> Trial:
    """Look at every kept job that has come to a result."""
    trial, work = Trial(), WorkDirectory.of(world.config)
    functions = Judge(world.config, world.progress.warn, world.progress.warn).functions
    for line in work.skipped():
        world.progress.warn(line)
    with world.progress.bar("Looking at kept jobs", None):
        for directory in work.jobs():
            if not is_regular(directory / NAME):  # it has not come to a result yet
                continue
            try:
                result, finding = load(directory), None
                if result.dump is not None:
                    dump, answer = evidence(directory)
                    finding = findings.find(dump, answer, None, functions, known.issues)
            except CasError as error:
                world.progress.warn(f"{directory}: {error}")
                trial.unreadable += 1
                continue
            trial.looked_at += 1
            if finding is None:  # nothing of a dump was read
                continue
            ticket = result.ticket
            for issue in finding.known:
                match = Match(ticket, directory, finding.title, issue.name, issue.why)
                trial.matches.append(match)
            for said in finding.undecided:
                trial.undecided.append(Match(ticket, directory, finding.title, "", (said,)))
    return trial

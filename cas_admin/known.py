"""``cas-admin known``: the known issues, what is wrong with them, which past jobs they match."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cas import findings
from cas.commands import Answer, World
from cas.errors import CasError
from cas.files.shipped import shipped
from cas.findings.known import ENDING, FOLDER, Issue, Known, load_known
from cas.jobs.work_directory import WorkDirectory, is_regular
from cas.model import Finding
from cas.report.result import NAME, load
from cas.text import count, json_text, one_line, short_line
from cas.triage.rejudge import evidence
from cas.triage.verdict import Judge

NONE_MATCHES = 1
BROKEN = 4
VERSION = 1


def listed(world: World, *, as_json: bool) -> Answer:
    """The known issues that are in effect, and what is wrong with their files.

    :return: a line for each; status 4 when something cannot be used
    """
    known = load_known(world.config.known_issues)
    if not world.config.known_issues:
        world.progress.warn(
            f"`knownIssues` in cas.conf names no files; examples are in {shipped(FOLDER)}"
        )
    status = BROKEN if known.faults else 0
    if as_json:
        facts = {
            "version": VERSION,
            "files": known.files,
            "issues": [_facts(issue) for issue in known.issues],
            "faults": known.faults,
        }
        return Answer((json_text(facts, indent=1, default=str),), status)
    said = f"{count(len(known.issues), 'known issue')} in {count(len(known.files), 'file')}"
    return Answer((*map(_line, known.issues), *_broken(known), said), status)


def tried(file: Path, world: World, *, as_json: bool) -> Answer:
    """Which past jobs the issues of a file would match, from what was kept of them.

    :param file: in effect or not; or a directory of such files
    :return: a line for each match; status 1 where there is none, 4 when something of the file
        cannot be used, or a job cannot be read
    """
    known = load_known([file.absolute()])
    if not known.files and not known.faults:
        world.progress.warn(f"{file} holds no file that ends in {ENDING}")
    trial = _try(known, world)
    status = BROKEN if known.faults or trial.unreadable else 0 if trial.matches else NONE_MATCHES
    if as_json:
        facts = {
            "version": VERSION,
            "jobs": trial.looked_at,
            "matches": [match.facts() for match in trial.matches],
            "undecided": [match.facts() for match in trial.undecided],
            "faults": known.faults,
        }
        return Answer((json_text(facts, indent=1, default=str),), status)
    said = f"{len(trial.directories())} of {count(trial.looked_at, 'job')} known"
    return Answer((*trial.lines(), *_broken(known), said), status)


@dataclass(frozen=True, slots=True)
class _Match:
    """A job and an issue that it is, or may be."""

    ticket: str
    directory: Path
    title: str
    issue: str
    why: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        return {
            "ticket": self.ticket,
            "directory": self.directory,
            "title": self.title,
            "issue": self.issue,
            "why": self.why,
        }


@dataclass(slots=True)
class _Trial:
    """What came of trying known issues on the kept jobs."""

    looked_at: int = 0
    unreadable: int = 0
    matches: list[_Match] = field(default_factory=list)
    undecided: list[_Match] = field(default_factory=list)

    def directories(self) -> set[Path]:
        return {match.directory for match in self.matches}

    def lines(self) -> Iterator[str]:
        for match in self.matches:
            why = ", ".join(match.why)
            said = f"{match.ticket} {match.directory}: {match.title}: {match.issue} ({why})"
            yield short_line(said)
        for match in self.undecided:
            yield short_line(f"{match.ticket} {match.directory}: {match.title}: {match.why[0]}")


def _try(known: Known, world: World) -> _Trial:
    trial, work = _Trial(), WorkDirectory.of(world.config)
    functions = Judge(world.config, world.progress.warn, world.progress.warn).functions
    for line in work.skipped():
        world.progress.warn(line)
    with world.progress.bar("Looking at kept jobs", None):
        for directory in work.jobs():
            if not is_regular(directory / NAME):  # it has not come to a result yet
                continue
            try:
                ticket, finding = _judged(directory, known.issues, functions)
            except CasError as error:
                world.progress.warn(f"{directory}: {error}")
                trial.unreadable += 1
                continue
            trial.looked_at += 1
            if finding is None:
                continue
            for issue in finding.known:
                match = _Match(ticket, directory, finding.title, issue.name, issue.why)
                trial.matches.append(match)
            for said in finding.undecided:
                trial.undecided.append(_Match(ticket, directory, finding.title, "", (said,)))
    return trial


def _judged(
    directory: Path, issues: Sequence[Issue], functions: findings.Functions | None
) -> tuple[str, Finding | None]:
    """Ticket and verdict of a kept job; ``None``: nothing of a dump was read.

    :raises CasError: it cannot be read
    """
    result = load(directory)
    if result.dump is None:
        return result.ticket, None
    dump, answer = evidence(directory)
    return result.ticket, findings.find(dump, answer, None, functions, issues)


def _line(issue: Issue) -> str:
    conditions = (f"{key} {' | '.join(values)}" for key, values in issue.conditions() if values)
    return short_line(f"{issue.file}: {issue.name} ({', '.join(conditions)})")


def _broken(known: Known) -> Iterator[str]:
    for fault in known.faults:
        yield f"broken {one_line(fault)}"


def _facts(issue: Issue) -> dict[str, Any]:
    return {
        "name": issue.name,
        "file": issue.file,
        "advice": issue.advice,
        "link": issue.link,
        "fixed_in": issue.fixed_in,
        "when": {key: values for key, values in issue.conditions() if values},
    }

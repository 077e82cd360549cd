"""``cas-admin known``: the known issues, what is wrong with them, which past jobs they match."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cas.commands import Output, World
from cas.text import count, json_text, one_line, short_line

if TYPE_CHECKING:
    from cas.findings.known import Known

PLACE = 9
HELP = "list the known issues, and what is wrong with them"
EXAMPLE = "cas-admin known --test FILE"
NONE_MATCHES = 1
BROKEN = 4
VERSION = 1


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    text = "which past jobs the known issues of a file or directory would match"
    parser.add_argument("--test", metavar="FILE", type=Path, help=text)
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def reads(options: argparse.Namespace) -> tuple[Path, ...]:
    """The file, which may be root's own."""
    return () if options.test is None else (options.test,)


def run(options: argparse.Namespace, world: World) -> Output:
    """List the known issues, or try some on what was kept of past jobs."""
    listed = _list_issues if options.test is None else _try_issues
    return (yield from listed(options, world))


def _list_issues(options: argparse.Namespace, world: World) -> Output:
    """The known issues that are in effect, and what is wrong with their files.

    :return: a line for each; status 4 when something cannot be used
    """
    from cas.files.shipped import shipped
    from cas.findings.known import FOLDER, load_known

    known = load_known(world.config.known_issues)
    if not world.config.known_issues:
        world.progress.warn(
            f"`knownIssues` in cas.conf names no files; examples are in {shipped(FOLDER)}"
        )
    status = BROKEN if known.faults else 0
    if options.json:
        facts = {
            "version": VERSION,
            "files": known.files,
            "issues": [
                {
                    "name": issue.name,
                    "file": issue.file,
                    "advice": issue.advice,
                    "link": issue.link,
                    "fixed_in": issue.fixed_in,
                    "when": {key: values for key, values in issue.conditions() if values},
                }
                for issue in known.issues
            ],
            "faults": known.faults,
        }
        yield json_text(facts, indent=1, default=str)
        return status
    for issue in known.issues:
        when = (f"{key} {' | '.join(values)}" for key, values in issue.conditions() if values)
        yield short_line(f"{issue.file}: {issue.name} ({', '.join(when)})")
    yield from _fault_lines(known)
    yield f"{count(len(known.issues), 'known issue')} in {count(len(known.files), 'file')}"
    return status


def _try_issues(options: argparse.Namespace, world: World) -> Output:
    """Which past jobs the issues of a file would match, from what was kept of them.

    :return: a line for each match; status 1 where there is none, 4 when something of the file
        cannot be used, or a job cannot be read
    """
    from cas.findings.known import ENDING, load_known
    from cas_admin.known_trial import try_issues

    held = {path.absolute(): descriptor for path, descriptor in world.held.items()}
    known = load_known([options.test.absolute()], held)
    if not known.files and not known.faults:
        world.progress.warn(f"{options.test} holds no file that ends in {ENDING}")
    trial = try_issues(known, world)
    status = BROKEN if known.faults or trial.unreadable else 0 if trial.matches else NONE_MATCHES
    if options.json:
        facts = {
            "version": VERSION,
            "jobs": trial.looked_at,
            "matches": [match.match_facts() for match in trial.matches],
            "undecided": [match.match_facts() for match in trial.undecided],
            "faults": known.faults,
        }
        yield json_text(facts, indent=1, default=str)
        return status
    yield from trial.match_lines()
    yield from _fault_lines(known)
    yield f"{len(trial.directories())} of {count(trial.looked_at, 'job')} known"
    return status


def _fault_lines(known: Known) -> Iterator[str]:
    for fault in known.faults:
        yield f"broken {one_line(fault)}"

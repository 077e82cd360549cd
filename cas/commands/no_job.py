"""What somebody meant who named a job that there is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cas import spec
from cas.commands.mistakes import command, near
from cas.config import Config
from cas.errors import CasError
from cas.work_directory import WorkDirectory

ALIKE = 0.8
"""How alike two tickets are of which one may be meant by the other; many differ in one digit."""


@contextmanager
def advised(named: str, verb: str, config: Config) -> Iterator[None]:
    """Say what is to be typed in the place of a SPEC of which there is no job.

    :raises NoJob: with that
    """
    try:
        yield
    except spec.NoJob as error:
        if (meant := _meant(named, verb, config)) is not None:
            error.hint = meant
        raise


def ticket_like(ticket: str, work: WorkDirectory) -> str | None:
    """A ticket with jobs whose name is almost this one."""
    with suppress(CasError):
        known = {path.parent.name.lower(): path.parent.name for path in work.jobs()}
        found = near(ticket, list(known), ALIKE)
        return known[found] if found is not None else None
    return None


def _meant(named: str, verb: str, config: Config) -> str | None:
    if "\0" not in named and Path(named).is_file():
        analyse = command("cas", ["-i", "TICKET", "-f", named])
        return f"a dump is analysed first: {analyse}, then: cas {verb} TICKET"
    with suppress(CasError):
        if (ticket := ticket_like(named, WorkDirectory.of(config))) is not None:
            return f"did you mean: cas {verb} {ticket}"
    return None

"""The ladder of degradation below an opened session: crash, then drgn, then the dump alone.

crash's own rungs, at its start, are those of :mod:`cas.engines.crash_rungs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cas.engines.drgn import Worker
from cas.engines.outcome import ENDED
from cas.engines.relay import Relay
from cas.engines.salvage import ENGINE as SALVAGE
from cas.engines.salvage import salvage
from cas.model import Dump, Section, Snippet


@dataclass(frozen=True, slots=True)
class Session:
    """A crash session that is open, and what it is good for."""

    crash: Relay
    walking: Sequence[Snippet] = ()
    """The snippets that need all tasks, which not every crash sees."""
    is_demanded: bool = False
    """Whether what crash cannot do is done by nobody else."""

    def serves(self, snippet: Snippet) -> bool:
        """Whether crash can be believed in it."""
        return self.crash.sees_all_tasks or snippet not in self.walking


class Ladder:
    """Runs snippets, each on the highest rung that gives anything."""

    def __init__(self, session: Session | None, worker: Worker, dump: Dump) -> None:
        """Prepare; nothing is run yet.

        :param session: ``None``: begin with drgn
        """
        self._session = session
        self._worker = worker
        self._dump = dump
        self.is_drgn_blind = False
        """Whether drgn could read nothing of the dump, so that its failures are salvaged."""
        self.rungs: list[str] = []
        """The rungs used below crash's, in order."""
        self.given_up: list[tuple[Section, str]] = []
        """What a rung could not do, and the engine that did it instead."""

    def run(self, snippet: Snippet, output: Path) -> Section:
        """Run a snippet into its file."""
        if self._session is None or not self._session.serves(snippet):
            if self._session is None:
                self._reach("drgn")
            return self._below(snippet, output, self._worker.run(snippet, output))
        section = self._session.crash.run(snippet, output)
        if self._session.is_demanded or _is_shell(snippet):
            return section
        if self._session.crash.place is None:  # it is lost, and said to be
            self._session = None
            return self.run(snippet, output)
        if not _is_lost(section, is_minimal=self._session.crash.is_minimal):
            return section
        self._reach("drgn")
        second = self._worker.run(snippet, output)
        if second.status in ("ok", "cut"):
            return self._instead(section, second)
        return self._below(snippet, output, section)

    def _below(self, snippet: Snippet, output: Path, lost: Section) -> Section:
        """What is below both debuggers, if the last of them lost a snippet."""
        is_lost = lost.status in ENDED or (lost.status == "failed" and self.is_drgn_blind)
        if not is_lost and lost.engine == "drgn":
            return lost
        saved = salvage(snippet.name, self._dump, output)
        if saved is None:
            return replace(lost, size_bytes=output.stat().st_size)
        self._reach(SALVAGE)
        return self._instead(lost, saved)

    def finish(self, directory: Path) -> tuple[Section, ...]:
        """What belongs to the result once the last rung was reached."""
        if SALVAGE not in self.rungs:
            return ()
        section = salvage("registers", self._dump, directory / "registers")
        return (section,) if section else ()

    def _reach(self, rung: str) -> None:
        if rung not in self.rungs:
            self.rungs.append(rung)

    def _instead(self, lost: Section, section: Section) -> Section:
        self.given_up.append((lost, section.engine))
        return section


def _is_lost(section: Section, *, is_minimal: bool) -> bool:
    """Whether crash gave nothing of a snippet."""
    if is_minimal and section.status == "failed":
        return True
    return section.status == "not run" or (section.status in ENDED and not section.size_bytes)


def _is_shell(snippet: Snippet) -> bool:
    """Whether it only runs programs, which no other rung does."""
    return all(command.startswith("!") for command in snippet.commands)

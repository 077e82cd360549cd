"""The ladder of degradation below an opened session: crash, then drgn, then the dump alone.

crash's own rungs, at its start, are those of :mod:`cas.engines.crash.rungs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cas.choices import Engine, SectionStatus
from cas.engines.crash.failover import CrashAnywhere
from cas.engines.drgn.process import Worker
from cas.engines.kernel_log import lacks_log
from cas.engines.outcome import ENDED, Ran, section_of
from cas.engines.salvage import salvage
from cas.files.whole import create
from cas.frozen import dataclass
from cas.model.dump import Dump
from cas.model.snippet import Outcome, Section, Snippet

ANSWERED = frozenset({SectionStatus.OK, SectionStatus.CUT})


@dataclass(frozen=True, slots=True)
class Session:
    """A crash session that is open, and what it is good for."""

    crash: CrashAnywhere
    walking: Sequence[Snippet] = ()
    """The snippets that need all tasks, which not every crash sees."""
    is_demanded: bool = False
    """What crash cannot do is done by nobody else."""

    def serves(self, snippet: Snippet) -> bool:
        """Whether crash can be believed in it."""
        return self.crash.sees_all_tasks or snippet not in self.walking


class Ladder:
    """Runs snippets, each command on the highest rung that answers it."""

    def __init__(self, session: Session | None, worker: Worker, dump: Dump) -> None:
        """Prepare; nothing is run yet.

        :param session: ``None``: begin with drgn
        """
        self._session = session
        self._worker = worker
        self._dump = dump
        self.log = dump.dmesg
        """The kernel log as we know it, by which a debugger's is judged."""
        self.is_drgn_blind = False
        """drgn could read nothing of the dump, so that its failures are salvaged."""
        self.rungs: list[str] = []
        """The rungs used below crash's, in order."""
        self.given_up: list[tuple[Outcome, Engine]] = []
        """What a rung could not do, and the engine that did it instead."""

    def run_snippet(self, snippet: Snippet, output: Path) -> Section:
        """Run a snippet into its file."""
        if self._session is None or not self._session.serves(snippet):
            if self._session is None:
                self._note_rung(Engine.DRGN)
            return self._on_lower_rung(
                snippet, self._with_log_checked(self._worker.run_snippet(snippet, output))
            )
        section = self._with_log_checked(self._session.crash.run_snippet(snippet, output))
        if self._session.is_demanded:
            return section
        if self._session.crash.place is None:  # it is lost, and said to be
            self._session = None
            return self.run_snippet(snippet, output)
        if not any(map(_is_lost, section.commands)):
            return section
        self._note_rung(Engine.DRGN)
        return self._on_lower_rung(snippet, self._completed_by_drgn(snippet, section))

    def finish(self, directory: Path) -> tuple[Section, ...]:
        """What belongs to the result once the last rung was reached."""
        if Engine.SALVAGE not in self.rungs and not self.is_drgn_blind:
            return ()
        section = salvage("registers", self._dump, directory / "registers")
        if section is None:
            return ()
        self._note_rung(Engine.SALVAGE)
        return (section,)

    def _completed_by_drgn(self, snippet: Snippet, section: Section) -> Section:
        """A section of crash's in which drgn has answered what crash did not."""
        output = section.path
        second = output.with_name(f".{output.name}.drgn")
        outcomes, whole, begin = [], output.read_bytes(), 0
        try:
            with create(output) as file:
                for lost in section.commands:
                    data = whole[begin : begin + lost.size_bytes]
                    begin += lost.size_bytes
                    outcome = lost
                    if _is_lost(lost):
                        outcome, data = self._answer_of_drgn(lost, second, data)
                    file.write(data)
                    outcomes.append(outcome)
        finally:
            second.unlink(missing_ok=True)
        engines = {outcome.engine for outcome in outcomes}
        ran = Ran(Engine.CRASH if Engine.CRASH in engines else Engine.DRGN, output, section.seconds)
        return section_of(snippet, outcomes, ran)

    def _answer_of_drgn(self, lost: Outcome, path: Path, said: bytes) -> tuple[Outcome, bytes]:
        """What drgn answers to a command that crash did not, else what crash has said to it."""
        one = self._worker.run_snippet(Snippet("", "", (lost.command,)), path)
        (outcome,) = self._with_log_checked(one).commands
        if outcome.status in ANSWERED:
            self._note_given_up(lost, Engine.DRGN)
            return outcome, path.read_bytes()
        return replace(lost, lacks_memory=outcome.lacks_memory), said

    def _with_log_checked(self, section: Section) -> Section:
        """A section by what it says: one of the kernel log that has nothing of it has failed."""
        if not self.log or not any(each.status is SectionStatus.OK for each in section.commands):
            return section
        outcomes, begin = [], 0
        with section.path.open("rb") as file:
            for outcome in section.commands:
                file.seek(begin)
                begin += outcome.size_bytes
                why = outcome.status is SectionStatus.OK and lacks_log(
                    outcome.command, file.read(outcome.size_bytes), self.log
                )
                bad = f"{outcome.command}: {why}"
                outcomes.append(
                    replace(outcome, status=SectionStatus.FAILED, error=bad) if why else outcome
                )
        if tuple(outcomes) == section.commands:
            return section
        ran = Ran(section.engine, section.path, section.seconds)
        return section_of(Snippet(section.name, section.title, ()), outcomes, ran)

    def _on_lower_rung(self, snippet: Snippet, section: Section) -> Section:
        """What is below both debuggers, if the last of them lost a snippet."""
        if any(
            each.status in ANSWERED or (each.status in ENDED and each.size_bytes > 0)
            for each in section.commands
        ):
            return section
        lost = section.commands[0]
        is_over = lost.status in ENDED or self.is_drgn_blind
        if not is_over and snippet.name != "log":
            return section
        saved = salvage(snippet.name, self._dump, section.path)
        if saved is None:
            return section
        self._note_rung(Engine.SALVAGE)
        self._note_given_up(lost, Engine.SALVAGE)
        answered = (Outcome(each, SectionStatus.OK, Engine.SALVAGE) for each in snippet.commands)
        return replace(saved, commands=tuple(answered))

    def _note_rung(self, rung: Engine) -> None:
        if rung not in self.rungs:
            self.rungs.append(rung)

    def _note_given_up(self, lost: Outcome, engine: Engine) -> None:
        self.given_up.append((lost, engine))


def _is_lost(outcome: Outcome) -> bool:
    """Whether another debugger may answer a command better than crash did.

    What it had told when it ran out of time or memory is kept: the other one would, too.
    """
    if outcome.command.startswith("!"):  # programs are run by no other rung
        return False
    if outcome.status in (SectionStatus.FAILED, SectionStatus.NOT_RUN, SectionStatus.CRASHED):
        return True
    return outcome.status in ENDED and not outcome.size_bytes

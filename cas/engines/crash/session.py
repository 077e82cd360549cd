"""The crash engine: a session fed command by command, so that each has limits of its own.

crash reads commands from a pipe as from a terminal. Each command is an
:class:`~cas.engines.crash.conversation.Exchange`. crash's exit status says nothing (it is 0 after
failed commands and on truncated dumps) and is not used.
"""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGSTOP
from typing import IO, Self

from cas.choices import Engine, SectionStatus
from cas.engines.crash.answer import judge_answer
from cas.engines.crash.conversation import MESSAGES_BYTES, Exchange, Opening, Stop, last_words
from cas.engines.crash.place import Place
from cas.engines.crash.rungs import FULL, MINIMAL, next_rung, rung_name
from cas.engines.crash.start_failures import ExpectedDump, NotOpened, StartFailure, why_not_opened
from cas.engines.outcome import OUT_OF_MEMORY, Ran, output_budget, section_of
from cas.files.whole import create
from cas.model.snippet import Outcome, Section, Snippet
from cas.progress import Note
from cas.settings.rules import Supervision
from cas.supervise import (
    Dialogue,
    ProgramFailure,
    StartLimit,
    describe_status,
    is_from_outside,
    write_trace,
)
from cas.units import human_size

LAST_WORDS_BYTES = 4 << 10
BLIND = b"not found in PID hash"
"""What a crash says, and then sees no tasks but the running ones, where ``struct pid`` ends in a
flexible array: since Linux 6.5 (b69f0aeb0689), before crash 8.0.4 (88580068b7dd)."""
OPENING = "(opening the dump)"
SILENCE_S = 0.5
"""Seconds after an interrupt; then it is interrupted once more."""


@dataclass(slots=True)
class _Outcome:
    status: SectionStatus
    error: str | None = None
    signal: int = 0
    """Which ended it, or stopped it; 0: none."""


class Crash:
    """A crash session on one dump; it starts at once and is waited for when it is needed."""

    def __init__(
        self,
        place: Place,
        rules: Supervision,
        directory: Path,
        transcript: IO[bytes],
        note: Note,
    ) -> None:
        """Start crash.

        :param directory: receives trace files
        :param transcript: receives everything that crash writes
        :param note: told what only the job's log needs
        :raises EngineError: the program cannot be started
        """
        self.place = place
        self._rules = rules
        self._directory = directory
        self._transcript = transcript
        self._note = note
        self._starts = StartLimit("crash", self._rules)
        self._options = FULL
        self.ladder: list[str] = []
        """The rungs tried, in order."""
        self.expected = ExpectedDump()
        """What is known of the dump; may be set until it is waited for."""
        self.prelude: Sequence[str] = ()
        """Commands that come first, whenever it was started; what they write is not kept."""
        self._is_open = False
        self.sees_all_tasks = True
        """Commands that walk the tasks can be believed; known once it is open."""
        self._command = OPENING
        self._opening = Opening()
        self._exchange: Exchange = self._opening
        """What it was last given to do, and what it wrote since."""
        self._child = self._start_crash()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.end()

    @property
    def is_minimal(self) -> bool:
        """Whether only crash's few commands for damaged dumps are there."""
        return self._options == MINIMAL

    def open(self) -> str:
        """Wait until crash has read the dump; with fewer demands if it cannot.

        :return: the options it was opened with, empty when it took the dump as it is
        :raises NotOpened: no rung opened it; the message has each one's reason
        """
        failures: list[StartFailure] = []
        while not self._is_open and (failure := self._wait_until_open()):
            failures.append(failure)
            options = self._next_rung(failures)
            if options is None or self._starts.are_exhausted:
                program = self.place.version() or "crash"
                raise NotOpened(why_not_opened(failures, self.expected, program), program=program)
            self._options = options
            self._child = self._start_crash()
        return " ".join(self._options)

    def run_snippet(self, snippet: Snippet, path: Path) -> Section:
        """Run a snippet into its file; a command that breaks a limit does not stop the next."""
        begun = time.monotonic()
        outcomes = []
        with create(path) as file:
            for command in snippet.commands:
                before = file.tell()
                ended = self._run_or_repeat(command, file)
                written = file.tell() - before
                outcomes.append(Outcome(command, ended.status, Engine.CRASH, ended.error, written))
        return section_of(snippet, outcomes, Ran(Engine.CRASH, path, time.monotonic() - begun))

    def _start_crash(self) -> Dialogue:
        self._starts.take()
        if self.ladder[-1:] != [self._rung]:
            self.ladder.append(self._rung)
        self._is_open = False
        child = self.place.start(self._options)
        self._command = OPENING
        self._exchange = self._opening = Opening()
        child.send(self._opening.text)
        return child

    def _wait_until_open(self) -> StartFailure | None:
        """Why crash did not open the dump, and is gone; ``None`` when it did."""
        opening = self._opening
        outcome = self._take_answer_of_crash(self._rules.start_s, MESSAGES_BYTES)
        reason, words = outcome.error or outcome.status, ""
        if outcome.status is SectionStatus.OK:
            wrong = opening.contradiction(self.expected.releases)
            if wrong is None:
                self._is_open = True
                self.sees_all_tasks = BLIND not in opening.said
                self._run_prelude()
                return None
            reason = wrong
        elif outcome.status is SectionStatus.TIMEOUT and not (
            self._child.fault or self._child.stopped
        ):
            reason = f"not ready after {self._rules.start_s:g} s"
        elif outcome.status not in (
            SectionStatus.TIMEOUT,
            SectionStatus.CUT,
        ):  # the end of a flood says nothing
            words = last_words(self._output_tail().decode("utf-8", "replace"))
        if outcome.status is SectionStatus.TIMEOUT and opening.is_echoed:
            reason = f"{reason}, and repeats what it is told"
        if outcome.status is not SectionStatus.CRASHED or outcome.signal or not words:
            self._write_crash_trace(reason)
        self._child.stop()
        is_wrong = outcome.status is SectionStatus.OK
        return StartFailure(
            self._rung, reason, words, outcome.signal, self._output_tail(), is_wrong=is_wrong
        )

    def _next_rung(self, failures: Sequence[StartFailure]) -> tuple[str, ...] | None:
        """The options of the next start; ``None``: none is of use."""
        last = failures[-1]
        if last.is_wrong:
            return None
        if last.signal:
            # who kills it once may do so by chance; one that kills itself does so for a reason
            before = [each for each in failures[:-1] if each.signal]
            is_first = not any(each.rung == last.rung for each in before)
            if is_first and (last.is_from_outside or not before):
                return self._options
            if last.is_from_outside:
                return None
        if self.expected.is_whole and not last.untried_remedies(self._options):
            return None
        return next_rung(self._options, last.said)

    def _run_prelude(self) -> None:
        """Run the prelude; a command of it that fails is only logged."""
        whole = tuple(self.prelude)
        for command in whole:
            if not self._is_open:
                return
            # crash that is started again because of it must not stumble over it again
            self.prelude = [other for other in self.prelude if other != command]
            outcome = self._run_or_repeat(command, io.BytesIO())
            if outcome.status in (SectionStatus.OK, SectionStatus.FAILED):
                self.prelude = [other for other in whole if other in (*self.prelude, command)]
            if outcome.status is not SectionStatus.OK:
                self._note(f"prelude: {command}: {outcome.error}")

    @property
    def _rung(self) -> str:
        rung = rung_name(self._options)
        return f"{rung} on {self.place.name}" if self.place.name else rung

    def _output_tail(self) -> bytes:
        return bytes(self._exchange.said[-LAST_WORDS_BYTES:]) + self._child.stderr.encode()

    def _run_or_repeat(self, command: str, file: IO[bytes]) -> _Outcome:
        """Run a command; once more if somebody else has ended crash meanwhile."""
        before = file.tell()
        outcome = self._run_once(command, file)
        if is_from_outside(outcome.signal) and self._is_open:
            file.seek(before)
            file.truncate()
            outcome = self._run_once(command, file)
        return outcome

    def _run_once(self, command: str, file: IO[bytes]) -> _Outcome:
        if not self._is_open:
            return _Outcome(SectionStatus.NOT_RUN, "crash could not be started again")
        self._command = command
        self._exchange = Exchange(command)
        self._transcript.write(b"crash> " + command.encode() + b"\n")
        before = self._child.stderr
        self._child.send(self._exchange.text)
        outcome = self._take_answer_of_crash(
            self._rules.command_s, output_budget(self._rules, file.tell())
        )
        said = self._exchange.answer
        file.write(said)
        if outcome.status is SectionStatus.OK:
            return _Outcome(*judge_answer(command, said, self._child.stderr.removeprefix(before)))
        self._write_crash_trace(outcome.error or outcome.status)
        is_running = outcome.status not in (SectionStatus.CRASHED, SectionStatus.MEMORY)
        if not (is_running and self._come_back()):
            # another session goes on; the command that broke a limit is left out
            self._child.end()
            self._is_open = False
            if not self._starts.are_exhausted:
                self._child = self._start_crash()
                self._wait_until_open()
        outcome.error = f"{command}: {outcome.error}"
        return outcome

    def _take_answer_of_crash(self, timeout_s: float, max_bytes: int) -> _Outcome:
        """Take crash's answer; how that ended."""
        stop = self._exchange.wait(self._read_to_transcript, timeout_s, max_bytes)
        if stop is Stop.END:
            status = self._child.wait(1.0)
            status = self._child.stop() if status is None else status
            end, signal = describe_status(status), max(0, -status)
            if OUT_OF_MEMORY.search(self._output_tail()):
                end = f"out of memory, the limit is {human_size(self._rules.memory_bytes)}: {end}"
                return _Outcome(SectionStatus.MEMORY, end, signal)
            return _Outcome(SectionStatus.CRASHED, end, signal)
        if stop is Stop.LIMIT:
            return _Outcome(SectionStatus.CUT, f"cut after {human_size(max_bytes)}")
        if stop is Stop.SILENCE:
            stopped = self._child.stopped
            why = self._child.fault or stopped or f"timed out after {timeout_s:g} s"
            return _Outcome(SectionStatus.TIMEOUT, why, SIGSTOP if stopped else 0)
        return _Outcome(SectionStatus.OK)

    def _read_to_transcript(self, timeout_s: float) -> bytes | None:
        data = self._child.read(timeout_s)
        self._transcript.write(data or b"")
        return data

    def _write_crash_trace(self, why: str) -> None:
        failure = ProgramFailure(
            "crash",
            why,
            attempt=str(self._starts),
            rung=self._rung,
            command=self._command,
            output=bytes(self._exchange.said[-LAST_WORDS_BYTES * 16 :]),
        )
        write_trace(self._directory, self._child, failure, self._note)

    def _come_back(self) -> bool:
        """Interrupt the running command; ``False`` when crash does not come back."""
        deadline = time.monotonic() + self._child.grace_s
        while time.monotonic() < deadline:
            self._child.interrupt()  # one may come at a bad moment
            # crash answers an interrupt with an empty line, and drops what it is sent before that
            self._child.read(0.1)
            back = Exchange("")
            self._child.send(back.text)
            left = deadline - time.monotonic()
            stop = back.wait(lambda left_s: self._child.read(min(SILENCE_S, left_s)), left, None)
            if stop is Stop.MARKER:
                return True
        return False

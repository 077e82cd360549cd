"""crash wherever it can run: when a place fails or is lost, the next one takes over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO, Generic, Self, TypeVar

from cas.choices import Engine, SectionStatus
from cas.engines.crash.conversation import Preparation
from cas.engines.crash.place import Place
from cas.engines.crash.session import Crash
from cas.engines.crash.start_failures import ExpectedDump
from cas.engines.outcome import Ran, section_of
from cas.errors import EngineError, HostLost
from cas.files.whole import put
from cas.model.snippet import Outcome, Section, Snippet
from cas.progress import Note
from cas.settings.rules import Supervision

NextPlace = Callable[[], Place | None]
"""Gives the next place to try; ``None``: there is none left."""


S = TypeVar("S")
T = TypeVar("T")


class Failover(Generic[S]):
    """The places for crash in their order, up to the first one where a session opens.

    A context manager that lets go of the place in the end. What a lost place still sends is
    nobody's: its connection is closed before the next one begins.
    """

    def __init__(self, next_place: NextPlace, start: Callable[[Place], S]) -> None:
        """Prepare; nothing is started yet."""
        self._next_place = next_place
        self._start_at = start
        self.place: Place | None = None
        """Where crash runs; ``None``: nowhere yet, or nowhere any more."""
        self.session: S | None = None
        self.reasons: list[EngineError] = []
        """Why it runs in none of the places that were tried since a session was open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def begin(self) -> S | None:
        """Start crash at the next place that lets it; it reads the dump meanwhile."""
        while self.session is None and (place := self._next_place()):
            self.place = place
            try:
                self.session = self._start_at(place)
            except EngineError as error:
                self._give_up(error)
        return self.session

    def open(self, ready: Callable[[S], T]) -> T:
        """What becomes of the first session that has read the dump.

        :param ready: waits for that; raises EngineError where it does not come to it
        :raises EngineError: there is none; the message has each place's reason, and none for places
            that could not be taken
        """
        while (session := self.begin()) is not None:
            try:
                return ready(session)
            except EngineError as error:
                self._give_up(error)
        text = "; ".join(dict.fromkeys(map(str, self.reasons)))
        raise EngineError(text, hint=self.reasons[-1].hint if self.reasons else "")

    def leave(self) -> None:
        """Let go of the place; whatever runs there ends."""
        if self.place is not None:
            self.place.close()
        self.session = self.place = None

    def _give_up(self, reason: EngineError) -> None:
        self.reasons.append(reason)
        self.leave()


class CrashAnywhere:
    """A job's crash, which moves on: a snippet that was under way is run again, whole."""

    def __init__(
        self,
        next_place: NextPlace,
        rules: Supervision,
        directory: Path,
        transcript: IO[bytes],
        note: Note,
    ) -> None:
        """Prepare; nothing is started yet.

        :param directory: receives trace files
        :param transcript: receives everything that crash writes
        :param note: told what only the job's log needs
        """
        self._rules = rules
        self._directory = directory
        self._transcript = transcript
        self._note = note
        self._places = Failover(next_place, self._start_at)
        self._started: list[Crash] = []
        self.preparation = Preparation()
        """What comes first, wherever crash is started."""
        self.expected = ExpectedDump()
        """What is known of the dump before crash has opened it."""
        self.losses: list[str] = []
        """Why crash had to move on from places, in order."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._places.leave()

    @property
    def place(self) -> Place | None:
        """Where crash runs; ``None``: nowhere yet, or nowhere any more."""
        return self._places.place

    @property
    def ladder(self) -> tuple[str, ...]:
        """The rungs tried, everywhere, in order."""
        return tuple(rung for crash in self._started for rung in crash.ladder)

    @property
    def is_minimal(self) -> bool:
        """Whether only crash's few commands for damaged dumps are there."""
        crash = self._places.session
        return crash is not None and crash.is_minimal

    @property
    def sees_all_tasks(self) -> bool:
        """Whether commands that walk the tasks can be believed."""
        crash = self._places.session
        return crash is None or crash.sees_all_tasks

    def begin(self) -> None:
        """Start crash at the next place that lets it; it reads the dump meanwhile."""
        self._places.begin()

    def open(self) -> str:
        """Wait until crash has read the dump somewhere.

        :return: the options it was opened with, empty when it took the dump as it is
        :raises EngineError: as :meth:`Failover.open`
        """
        options = self._places.open(self._open_prepared)
        self.losses += map(str, self._places.reasons)
        self._places.reasons.clear()
        return options

    def run_snippet(self, snippet: Snippet, path: Path) -> Section:
        """Run a snippet into its file, somewhere; ``not run`` when every place is lost."""
        while (crash := self._places.session) is not None:
            try:
                return crash.run_snippet(snippet, path)
            except HostLost as error:
                self.losses.append(str(error))
                self._places.leave()
            try:
                self.open()
            except EngineError as error:
                self.losses += [str(error)] if str(error) else []
        put(path, b"")
        reason = f"crash: {self.losses[-1]}, and no other host is left"
        outcomes = [
            Outcome(each, SectionStatus.NOT_RUN, Engine.CRASH, reason) for each in snippet.commands
        ]
        return section_of(snippet, outcomes, Ran(Engine.CRASH, path, 0.0))

    def _start_at(self, place: Place) -> Crash:
        self._started.append(
            Crash(place, self._rules, self._directory, self._transcript, self._note)
        )
        return self._started[-1]

    def _open_prepared(self, crash: Crash) -> str:
        crash.expected = self.expected
        crash.prelude = self.preparation.commands_at(crash.place)
        return crash.open()

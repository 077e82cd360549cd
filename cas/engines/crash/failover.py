"""crash wherever it can run: when a place fails or is lost, the next one takes over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO, Self

from cas.engines.crash.conversation import Preparation
from cas.engines.crash.place import Place
from cas.engines.crash.session import Crash
from cas.engines.crash.start_failures import Known
from cas.engines.outcome import Ran, section_of
from cas.errors import EngineError, HostLost
from cas.files.whole import put
from cas.model import Outcome, Section, Snippet
from cas.settings.rules import Supervision

NextPlace = Callable[[], Place | None]
"""Gives the next place to try; ``None``: there is none left."""


class Relay:
    """A crash session that moves on: a snippet that was under way is run again, whole.

    What a lost place still sends is nobody's: its connection is closed before the next one begins.
    """

    def __init__(
        self, next_place: NextPlace, rules: Supervision, directory: Path, transcript: IO[bytes]
    ) -> None:
        """Prepare; nothing is started yet.

        :param directory: receives trace files
        :param transcript: receives everything that crash writes
        """
        self._next_place = next_place
        self._rules = rules
        self._directory = directory
        self._transcript = transcript
        self._place: Place | None = None
        self._crash: Crash | None = None
        self._earlier: list[str] = []
        self._reasons: list[EngineError] = []
        self.preparation = Preparation()
        """What comes first, wherever crash is started."""
        self.known = Known()
        """What is known of the dump before crash has opened it."""
        self.losses: list[str] = []
        """Why crash had to move on from places, in order."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    @property
    def place(self) -> Place | None:
        """Where crash runs; ``None``: nowhere yet, or nowhere any more."""
        return self._place

    @property
    def ladder(self) -> tuple[str, ...]:
        """The rungs tried, everywhere, in order."""
        return (*self._earlier, *(self._crash.ladder if self._crash else ()))

    @property
    def is_minimal(self) -> bool:
        """Whether only crash's few commands for damaged dumps are there."""
        return self._crash is not None and self._crash.is_minimal

    @property
    def sees_all_tasks(self) -> bool:
        """Whether commands that walk the tasks can be believed."""
        return self._crash is None or self._crash.sees_all_tasks

    def begin(self) -> None:
        """Start crash at the next place that lets it; it reads the dump meanwhile."""
        while self._crash is None:
            self._place = self._next_place()
            if self._place is None:
                return
            try:
                self._crash = Crash(self._place, self._rules, self._directory, self._transcript)
            except EngineError as error:
                self._give_up(error)

    def open(self) -> str:
        """Wait until crash has read the dump somewhere.

        :return: the options it was opened with, empty when it took the dump as it is
        :raises EngineError: no place has opened it; the message has each one's reason, and none for
            places that could not be taken
        """
        while True:
            self.begin()
            if self._crash is None:
                raise self._none_left()
            self._crash.known = self.known
            if self._place is not None:
                self._crash.prelude = self.preparation.commands_at(self._place)
            try:
                options = self._crash.open()
            except EngineError as error:
                self._give_up(error)
            else:
                self.losses += map(str, self._reasons)
                self._reasons.clear()
                return options

    def run(self, snippet: Snippet, path: Path) -> Section:
        """Run a snippet into its file, somewhere; ``not run`` when every place is lost."""
        while self._crash is not None:
            try:
                return self._crash.run(snippet, path)
            except HostLost as error:
                self.losses.append(str(error))
                self._leave()
                self._open_elsewhere()
        put(path, b"")
        reason = f"crash: {self.losses[-1]}, and no other host is left"
        outcomes = [Outcome(each, "not run", "crash", reason) for each in snippet.commands]
        return section_of(snippet, outcomes, Ran("crash", path, 0.0))

    def _open_elsewhere(self) -> None:
        try:
            self.open()
        except EngineError as error:
            self.losses += [str(error)] if str(error) else []

    def _give_up(self, reason: EngineError) -> None:
        self._reasons.append(reason)
        self._leave()

    def _none_left(self) -> EngineError:
        text = "; ".join(dict.fromkeys(map(str, self._reasons)))
        return EngineError(text, hint=self._reasons[-1].hint if self._reasons else "")

    def _leave(self) -> None:
        if self._crash is not None:
            self._earlier += self._crash.ladder
        if self._place is not None:
            self._place.close()
        self._crash = self._place = None

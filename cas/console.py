"""Progress on a terminal, plain lines elsewhere, and every line in the job's log."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from cas.errors import CasError
from cas.progress import Advance
from cas.text import short_line

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

log = logging.getLogger("cas")
log.addHandler(logging.NullHandler())  # what no job's log takes is not for stderr either
BAR_TEXT_LIMIT = 200
"""Characters in front of a bar."""


class Console:
    """Draws progress on stderr: ``* step``, ``! warning``, and a bar on a terminal."""

    def __init__(self, stream: TextIO, environment: Mapping[str, str]) -> None:
        """Draw on a stream; colour and bars only where a person watches."""
        self._stream = stream
        self._is_terminal = stream.isatty() and environment.get("TERM") != "dumb"
        self._has_colour = self._is_terminal and "NO_COLOR" not in environment
        self._shown: RichProgress | None = None

    def say(self, text: str) -> None:
        """Tell a fact or the start of a step."""
        log.info("%s", text)
        self._line("*", "36", text)

    def warn(self, text: str) -> None:
        """Tell something that went wrong without ending the job."""
        log.warning("%s", text)
        self._line("!", "33", text)

    def fail(self, error: CasError) -> None:
        """Tell what ended the command, and what to do next."""
        self._line("!", "31", str(error))
        if error.hint:
            self._line(" ", "0", f"→ {error.hint}")

    @contextmanager
    def bar(self, text: str, total: int | None, unit: str = "B") -> Iterator[Advance]:
        """Show a long step: a bar on a terminal, one line elsewhere."""
        if not self._is_terminal:
            self.say(text)
            yield lambda _: None
            return
        log.info("%s", text)
        with self._bar(total, unit) as shown:
            task = shown.add_task(short_line(text, BAR_TEXT_LIMIT), total=total)
            yield lambda done: shown.update(task, advance=done)
            if total is None:
                shown.update(task, total=1, completed=1)

    def _line(self, mark: str, colour: str, text: str) -> None:
        if self._has_colour:
            mark = f"\x1b[{colour}m{mark}\x1b[0m"
        line = f"{mark} {short_line(text)}"
        if self._shown is None:
            self._stream.write(f"{line}\n")
            self._stream.flush()
            return
        from rich.text import Text

        # above the bar that is being drawn, or the two would overwrite each other
        self._shown.console.print(Text.from_ansi(line), soft_wrap=True)

    @contextmanager
    def _bar(self, total: int | None, unit: str) -> Iterator[RichProgress]:
        # rich costs a third of a second at start-up: only those who see it pay for it
        from rich import progress
        from rich.console import Console as RichConsole

        columns: list[progress.ProgressColumn] = [
            progress.TextColumn("* {task.description}", markup=False),
            progress.BarColumn(),
        ]
        if total is not None:
            is_bytes = unit == "B"
            columns.append(
                progress.DownloadColumn(binary_units=True)
                if is_bytes
                else progress.MofNCompleteColumn()
            )
        columns.append(progress.TimeElapsedColumn())
        console = RichConsole(file=self._stream, no_color=not self._has_colour)
        with progress.Progress(*columns, console=console) as shown:
            self._shown = shown
            try:
                yield shown
            finally:
                self._shown = None

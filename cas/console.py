"""Progress on a terminal, plain lines elsewhere, and every line in the job's log."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from cas.errors import CasError
from cas.progress import Advance
from cas.text import printable

log = logging.getLogger("cas")
log.addHandler(logging.NullHandler())  # what no job's log takes is not for stderr either


class Console:
    """Draws progress on stderr: ``* step``, ``! warning``, and a bar on a terminal."""

    def __init__(self, stream: TextIO, environment: Mapping[str, str]) -> None:
        """Draw on a stream; colour and bars only where a person watches."""
        self._stream = stream
        self._is_terminal = stream.isatty() and environment.get("TERM") != "dumb"
        self._has_colour = self._is_terminal and "NO_COLOR" not in environment

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
        with _bar(self._stream, printable(text), total, unit) as advance:
            yield advance

    def _line(self, mark: str, colour: str, text: str) -> None:
        if self._has_colour:
            mark = f"\x1b[{colour}m{mark}\x1b[0m"
        self._stream.write(f"{mark} {printable(text)}\n")
        self._stream.flush()


@contextmanager
def _bar(stream: TextIO, text: str, total: int | None, unit: str) -> Iterator[Advance]:
    # rich costs a third of a second at start-up: only those who see it pay for it
    from rich import progress as rich_progress
    from rich.console import Console as RichConsole

    amount: rich_progress.ProgressColumn = rich_progress.DownloadColumn(binary_units=True)
    if unit != "B":
        amount = rich_progress.MofNCompleteColumn()
    columns = (
        rich_progress.TextColumn("* {task.description}", markup=False),
        rich_progress.BarColumn(),
        amount,
        rich_progress.TimeRemainingColumn(elapsed_when_finished=True),
    )
    with rich_progress.Progress(*columns, console=RichConsole(file=stream)) as shown:
        task = shown.add_task(text, total=total)
        yield lambda done: shown.update(task, advance=done)

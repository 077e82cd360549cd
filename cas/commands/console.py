"""Progress on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import os
import re
import shlex
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from cas.errors import CasError
from cas.progress import Advance
from cas.text import short_line
from cas.units import human_size

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

BAR_TEXT_LIMIT = 200
"""Characters in front of a bar."""
_PROPOSED = re.compile(
    r"(?<![\w./-])(cas(?= (?:-[if]|identify|debug|signature|object)\b)|"
    r"cas-admin(?= (?:-[bps]|[a-z]+)\b))(?![^;]* --config\b)"
)
"""A command in a sentence that does not name its configuration; the next begins behind a `;`."""


class Console:
    """Draws progress on stderr: ``* step``, ``! warning``, and a bar on a terminal."""

    def __init__(self, stream: TextIO, environment: Mapping[str, str]) -> None:
        """Draw on a stream; colour and bars only where a person watches."""
        self._stream = stream
        self._is_terminal = stream.isatty() and environment.get("TERM") != "dumb"
        self._has_colour = self._is_terminal and not environment.get("NO_COLOR")
        self._drawing = threading.Lock()
        self._shown: RichProgress | None = None
        self._steps = 0
        self._kept: list[tuple[str, str, str]] | None = None
        self.is_quiet = False
        """Only what ended the command is shown (``--quiet``)."""
        self.config: Path | None = None
        """The configuration file, where the command line names one."""

    def worded(self, text: str) -> str:
        """A sentence whose commands read the same configuration as this one does."""
        return text if self.config is None else with_config(text, self.config)

    def say(self, text: str) -> None:
        """Tell a fact or the start of a step."""
        if not self.is_quiet:
            self._draw_line("*", "36", self.worded(text))

    def warn(self, text: str) -> None:
        """Tell something that went wrong without ending the job."""
        if not self.is_quiet:
            self._draw_line("!", "33", self.worded(text))

    def note(
        self, text: str, level: int = logging.INFO, *, error: BaseException | None = None
    ) -> None:
        """Only a job's log needs it."""

    def fail(self, error: CasError) -> None:
        """Tell what ended the command, and what to do next."""
        self._draw_line("!", "31", self.worded(str(error)))
        if error.hint:
            self._draw_line(" ", "0", f"→ {self.worded(error.hint)}")

    @property
    def is_drawing(self) -> bool:
        """A bar is on the terminal now."""
        return self._shown is not None

    @contextmanager
    def kept_back(self) -> Iterator[None]:
        """Say at the end what is said meanwhile: results, perhaps a pager, have the terminal."""
        self._kept = []
        try:
            yield
        finally:
            kept, self._kept = self._kept, None
            for line in kept:
                self._draw_line(*line)

    def print_result(self, text: str, stream: TextIO) -> None:
        """Print a line of the results at once, above a bar that is drawn on the same terminal.

        :raises OSError: it cannot be written
        """
        if (
            self._shown is not None
            and stream.isatty()
            and os.path.sameopenfile(stream.fileno(), self._stream.fileno())
        ):
            self._shown.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=stream, flush=True)

    @contextmanager
    def bar(self, text: str, total: int | None, unit: str = "B") -> Iterator[Advance]:
        """Show a long step: a bar on a terminal, one line elsewhere; also beside another one."""
        if (
            not self._is_terminal
            or self.is_quiet
            or (self._kept is not None and not self.is_drawing)
        ):
            self.say(text)
            yield lambda _: None
            return
        with self._shared_bars() as shown:
            title = short_line(text, BAR_TEXT_LIMIT)
            task = shown.add_task(title, total=total, amount="")
            done = 0

            def advance(more: int) -> None:
                nonlocal done
                done += more
                amount = "" if total is None else _amount(done, total, unit)
                shown.update(task, completed=done, amount=amount)

            yield advance
            if total is None:
                shown.update(task, total=1, completed=1)
            elif unit == "B" and done != total:  # all was read that was needed
                shown.update(task, total=done or 1, completed=done or 1, amount=human_size(done))

    def _draw_line(self, mark: str, colour: str, text: str) -> None:
        if self._kept is not None:
            self._kept.append((mark, colour, text))
            return
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
    def _shared_bars(self) -> Iterator[RichProgress]:
        """Where bars are drawn: the last of those that are shown together clears up."""
        with self._drawing:
            if self._shown is None:
                # rich costs a third of a second at start-up: only those who see it pay for it
                from rich import progress
                from rich.console import Console as RichConsole

                self._shown = progress.Progress(
                    progress.TextColumn("* {task.description}", markup=False),
                    progress.BarColumn(),
                    progress.TextColumn("{task.fields[amount]}", markup=False),
                    progress.TimeElapsedColumn(),
                    console=RichConsole(file=self._stream, no_color=not self._has_colour),
                    redirect_stdout=False,  # or results would go to stderr, beside the bar
                )
                self._shown.start()
            self._steps += 1
            shown = self._shown
        try:
            yield shown
        finally:
            with self._drawing:
                self._steps -= 1
                if not self._steps:
                    self._shown = None
                    shown.stop()


def with_config(text: str, config: Path) -> str:
    """A sentence with ``--config`` in the commands of CAS that it proposes.

    >>> with_config("put it below `kernels` and run: cas-admin -b", Path("my cas.conf"))
    "put it below `kernels` and run: cas-admin --config 'my cas.conf' -b"
    """
    words = f" --config {shlex.quote(str(config))}"
    return _PROPOSED.sub(lambda found: found[0] + words, text)


def _amount(done: int, total: int, unit: str) -> str:
    """How much of a step is done.

    >>> _amount(3, 22, "snippets")
    '3/22'
    """
    return f"{human_size(done)}/{human_size(total)}" if unit == "B" else f"{done}/{total}"

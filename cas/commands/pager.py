"""A long answer on a terminal, by the program with which its reader reads long texts."""

from __future__ import annotations

import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TextIO

USUAL = "less"
"""Where ``PAGER`` is not set, as with most programs."""
OPTIONS = {"LESS": "FRX", "LV": "-c"}
"""Unless the reader has his own: end where all fits, leave the text on the screen, show colours."""


def paged(lines: Sequence[str], stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Show text that does not fit on the terminal, and wait until it is read.

    :param stream: where it goes otherwise
    :return: whether it was shown: a pager that there is not, or that failed, shows nothing
    """
    if not stream.isatty() or environment.get("TERM") == "dumb" or _fits(lines):
        return False
    try:
        argv = shlex.split(environment.get("PAGER", USUAL))
    except ValueError:  # quotes that do not end
        return False
    program = shutil.which(argv[0]) if argv else None
    if program is None or argv == ["cat"]:
        return False
    text = "".join(f"{line}\n" for line in lines).encode(stream.encoding, "backslashreplace")
    stream.flush()
    with _left_to_the_pager():
        try:
            reader = subprocess.Popen(
                [program, *argv[1:]], stdin=subprocess.PIPE, env={**OPTIONS, **environment}
            )
        except OSError:
            return False
        with suppress(BrokenPipeError):  # it was read as far as somebody wanted
            reader.communicate(text)
        return reader.wait() == 0


def _fits(lines: Sequence[str]) -> bool:
    size = shutil.get_terminal_size()
    taken = sum(
        max(1, -(-len(part) // size.columns)) for line in lines for part in line.split("\n")
    )
    return taken < size.lines


@contextmanager
def _left_to_the_pager() -> Iterator[None]:
    """Let Ctrl-C stop a search in the pager, not us below it."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

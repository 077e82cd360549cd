"""What a job leaves for the person who goes on by hand: ``crash.in`` and the ``crash`` wrapper."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from cas.model import Section, Snippet

WRAPPER = "crash"
COMMANDS = "crash.in"
TRANSCRIPT = "crash.out"


def write_commands(directory: Path, snippets: Sequence[Snippet]) -> None:
    """Write the ``crash.in`` that does by hand what the job did: ``./crash -i crash.in``."""
    lines = [f"{command} >> {snippet.name}" for snippet in snippets for command in snippet.commands]
    (directory / COMMANDS).write_text("\n".join((*lines, "exit", "")))


def write_transcript(directory: Path, sections: Sequence[Section]) -> None:
    """Write ``crash.out`` from the sections, where no crash session wrote it."""
    with (directory / TRANSCRIPT).open("wb") as transcript:
        for section in sections:
            transcript.write(f"{section.title} ({section.name})\n".encode())
            with section.path.open("rb") as output:
                shutil.copyfileobj(output, transcript)


def write_wrapper(directory: Path, argv: Sequence[str | Path]) -> None:
    """Write the executable that opens the debugger on this dump from any working directory.

    :param argv: what it starts; its own arguments follow
    """
    wrapper = directory / WRAPPER
    words = shlex.join(str(word) for word in argv)
    wrapper.write_text(f'#!/bin/sh\nexec {words} "$@"\n', errors="surrogateescape")
    wrapper.chmod(0o700)

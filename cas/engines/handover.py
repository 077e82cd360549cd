"""What a job leaves for the person who goes on by hand: ``crash.in`` and the ``crash`` wrapper."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cas.files import create, put
from cas.model import Section, Snippet

WRAPPER = "crash"
COMMANDS = "crash.in"
TRANSCRIPT = "crash.out"


def write_commands(directory: Path, snippets: Sequence[Snippet]) -> None:
    """Write the ``crash.in`` that does by hand what the job did: ``./crash -i crash.in``."""
    lines = [f"{command} >> {snippet.name}" for snippet in snippets for command in snippet.commands]
    put(directory / COMMANDS, "\n".join((*lines, "exit", "")).encode())


def write_transcript(directory: Path, sections: Sequence[Section]) -> None:
    """Write ``crash.out`` from the sections, where no crash session wrote it."""
    with create(directory / TRANSCRIPT) as transcript:
        for section in sections:
            transcript.write(f"{section.title} ({section.name})\n".encode())
            with section.path.open("rb") as output:
                shutil.copyfileobj(output, transcript)


@dataclass(frozen=True, slots=True)
class CachedKernel:
    """A vmlinux that the cache of extracted files may let go of once the job has ended."""

    vmlinux: Path
    lease: Path
    """Whoever has a shared lock on this file keeps it there."""
    fetch: Sequence[str | Path]
    """What brings it back."""


def write_wrapper(
    directory: Path, argv: Sequence[str | Path], cached: CachedKernel | None = None
) -> None:
    """Write the executable that opens the debugger on this dump from any working directory.

    :param argv: what it starts; its own arguments follow
    :param cached: what is to be there before, if that is not for sure
    """
    wrapper = directory / WRAPPER
    before = _with_kernel(cached) if cached else ""
    script = f'#!/bin/sh\n{before}exec {_quoted(argv)} "$@"\n'
    put(wrapper, os.fsencode(script), is_executable=True)


def _with_kernel(cached: CachedKernel) -> str:
    # `command` keeps the shell alive when the file is gone; the debugger inherits the lock
    return f"""\
vmlinux={shlex.quote(str(cached.vmlinux))}
lease={shlex.quote(str(cached.lease))}
hold() {{
    if [ -r "$lease" ] && command -v flock >/dev/null; then
        command exec 9<"$lease" && flock -s 9 && touch -c "$lease"
    fi
}}
hold
if [ ! -r "$vmlinux" ]; then
    echo "the cache has let go of $vmlinux: getting it again" >&2
    {_quoted(cached.fetch)} >&2 || exit
    hold
fi
"""


def _quoted(words: Sequence[str | Path]) -> str:
    return shlex.join(str(word) for word in words)

"""What a job leaves for the person who goes on by hand: ``crash.in`` and the ``crash`` wrapper."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from cas.files.whole import create, put
from cas.frozen import dataclass
from cas.model.snippet import Section, Snippet

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
class Installation:
    """What ``cas`` runs from."""

    python: str | Path
    package: Path
    """The directory of the Python package."""
    config: Path | None = None
    """The configuration file, if there is one."""


def write_wrapper(directory: Path, installation: Installation, options: Sequence[str] = ()) -> None:
    """Write the executable that is ``cas debug`` on this job, from any working directory.

    It opens the job that it lies in, wherever that is by then, also through a link to it.

    :param options: of ``cas debug``, before the user's own
    """
    config = installation.config
    choice = _CHOICE.format(config=_shell_words([config.absolute()])) if config else ""
    script = _WRAPPER.format(
        python=_shell_words([installation.python]),
        package=_shell_words([installation.package / "__main__.py"]),
        choice=choice,
        options="".join(f"{word} " for word in map(shlex.quote, options)),
    )
    put(directory / WRAPPER, os.fsencode(script), is_executable=True)


# -P: nothing of the working directory is run
_WRAPPER = r"""#!/bin/sh
# cas debug on the job that this file lies in; options are passed on, see cas(1)
job=$(readlink -f -- "$0") && job=${{job%/*}} || exit
python={python}
lacks() {{
    echo "crash: $1 is not there any more, or not readable for you" >&2
    echo "  -> $2 '$(printf %s "$3" | sed "s/'/&\\\\&&/g")' $4" >&2
    exit 2
}}
for needed in "$python" {package}; do
    [ -r "$needed" ] || lacks "$needed" "with CAS as it is installed now: cas debug" "$job"
done
{choice}exec "$python" -P -m cas debug "$job" {options}"$@"
"""
_CHOICE = """\
config={config}
for word do
    case $word in --config | --config=*) config= ;; esac
done
if [ "$config" ]; then
    [ -r "$config" ] || lacks "$config" "with where it is now:" "$job/crash" "--config FILE"
    set -- --config "$config" "$@"
fi
"""


def _shell_words(words: Sequence[str | Path]) -> str:
    return shlex.join(str(word) for word in words)

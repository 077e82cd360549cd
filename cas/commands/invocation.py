"""What a command line asks for, and what comes of it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from cas.choices import EngineChoice
from cas.errors import UsageError
from cas.files.whole import is_there
from cas.frozen import dataclass
from cas.progress import Progress
from cas.settings.config import INTERVALS, Config, option_of
from cas.text import short_line


@dataclass(frozen=True, slots=True)
class World:
    """What ``__main__`` read for the commands: configuration, clock, and where to report."""

    config: Config
    progress: Progress
    now: datetime
    """The time at which the command began, with a time zone."""
    is_interactive: bool
    """Stdin is a terminal, so that a person can answer questions."""
    ask: Callable[[str], str]
    """Put a question to that person."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of the process."""
    held: Mapping[Path, int] = field(default_factory=dict)
    """Descriptors of files that only root could open, before ``casuser`` took over."""


Output: TypeAlias = Generator[str, None, int]
"""What a command prints on stdout, line by line as it comes; it returns the exit status."""


class Done(str):
    """A line that only tells what was done: the command goes on where nobody can read it."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """A parsed command line."""

    command: Callable[[World], Output]
    config: Path | None = None
    debug: bool = False
    intervals: Mapping[str, str] = field(default_factory=dict)
    """Times in seconds that the command line gives, by directive of cas.conf."""
    uploads: tuple[Path, ...] = ()
    """Files that root opens before ``casuser`` takes over."""
    reads: tuple[Path, ...] = ()
    """Other files that he opens then, and directories, which he only looks for."""
    quiet: bool = False
    """Only what ends the command is said."""
    stays_root: bool = False
    """The command only reads: root need not give way to ``casuser`` for it."""
    needs_config: bool = True
    """Otherwise the defaults do where the configuration cannot be used."""


class WrongCommand(UsageError):
    """A command line that is not understood."""

    def __init__(self, message: str, program: str = "", *, hint: str | None = None) -> None:
        """Keep the facts.

        :param program: with the verbs as far as they were read
        """
        super().__init__(message, hint=hint)
        self.program = program


class Parser(argparse.ArgumentParser):
    """A command line whose complaints are errors as all others are, with what to type instead."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong.

        :raises WrongCommand: always
        """
        raise WrongCommand(short_line(message), self.prog, hint=f"see: {self.prog} --help")


class Once(argparse.Action):
    """An option of which the second would silently take the place of the first."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Keep the value, if it is the only one."""
        before = getattr(namespace, self.dest, None)
        if before is not None and before != values:
            parser.error(f"{option_string} was given twice: {before} and {values}")
        setattr(namespace, self.dest, values)


def common_options(parser: argparse.ArgumentParser) -> None:
    """The options that both programs have."""
    verb_options(parser)
    parser.set_defaults(config=None, debug=False)
    text = "show the versions of CAS and of the debuggers, and exit"
    parser.add_argument("--version", action="store_true", help=text)


def verb_options(parser: argparse.ArgumentParser) -> None:
    """The options that may also stand after a verb."""
    # without defaults of their own, or a verb's would hide what stands before the verb
    nothing = argparse.SUPPRESS
    text = "read FILE instead of $CAS_CONF or /etc/cas.conf"
    parser.add_argument("--config", metavar="FILE", type=Path, default=nothing, help=text)
    text = "show tracebacks of errors"
    parser.add_argument("--debug", action="store_true", default=nothing, help=text)


def named_config(argv: Sequence[str]) -> Path | None:
    """What stands behind ``--config``, also in a command line that is not understood otherwise."""
    parser = Parser(add_help=False)
    verb_options(parser)
    try:
        found, _ = parser.parse_known_args(argv)
    except UsageError:
        return None
    return getattr(found, "config", None)


def engine_choice(word: str | None) -> EngineChoice | None:
    """What a word behind ``--engine`` means."""
    return None if word is None else EngineChoice(word)


def file_of(text: str) -> Path:
    """The file that is meant; a shell leaves ``~`` as it is behind ``--file=`` and in quotes."""
    path = Path(text)
    if text.startswith("~") and not is_there(path):
        with suppress(RuntimeError):  # there is no such user
            return path.expanduser()
    return path


def more_words(options: argparse.Namespace, words: Sequence[str]) -> bool:
    """Take words that stand behind an option into ``words``, which the parser has filled before.

    :return: whether there are only such
    """
    if any(word.startswith("-") for word in words):
        return False
    options.words += words
    return True


def interval_options(parser: argparse.ArgumentParser) -> None:
    """The options for times that the environment and cas.conf can set too."""
    group = parser.add_argument_group("times, in seconds")
    for key, meaning in INTERVALS.items():
        group.add_argument(option_of(key), dest=key, metavar="S", help=f"for {meaning}")

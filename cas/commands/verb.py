"""The verbs of a program: each is a file of its package ``verbs``, and is found by the file's name.

The file of a verb has

- a docstring: what it does;
- ``PLACE``: where it stands in a list of the verbs, as it does in the man page;
- ``HELP``: its line in that list;
- ``EXAMPLE``: what to type instead of a call that is none; without it ``--help`` is named;
- ``arguments(parser)``: adds its options;
- ``run(options, world)``: yields its output line by line, as it comes, and returns the exit status;
- ``uploads(options)``, if root may only read with it: the files that he has to open nevertheless,
  before ``casuser`` takes over;
- ``reads(options)``, if it reads files of whoever calls it: those that root opens likewise;
- ``take_others(options, words)``, if it has a use for words that its parser does not know: whether
  it takes them.

Nothing else has to know of it. All of them are imported for ``--help`` and for advice, only the one
that is asked for otherwise; so what `run` needs is imported by `run`, unless it is there anyway.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import cast

from cas.commands.invocation import Asked, Output, Parser, World, verb_options
from cas.frozen import dataclass

VERBS = "cas.commands.verbs"
"""The package of the verbs of ``cas``."""
ADMIN_VERBS = "cas_admin.verbs"
"""The package of those of ``cas-admin``; ``cas`` reads the names of its files, to give advice."""


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb, as its file has it."""

    name: str
    place: int
    help: str
    example: str | None
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, World], Output]
    uploads: Callable[[argparse.Namespace], tuple[Path, ...]] | None
    reads: Callable[[argparse.Namespace], tuple[Path, ...]]
    take_others: Callable[[argparse.Namespace, Sequence[str]], bool]


def verb_names(package: str) -> frozenset[str]:
    """The verbs of a package, by the names of its files; none of them is imported."""
    files = (file for place in import_module(package).__path__ for file in Path(place).glob("*.py"))
    return frozenset(file.stem for file in files if not file.stem.startswith("_"))


def load_verb(package: str, name: str) -> Verb:
    """Import the file of a verb."""
    file = import_module(f"{package}.{name}")
    return Verb(
        name,
        file.PLACE,
        file.HELP,
        getattr(file, "EXAMPLE", None),
        file.arguments,
        file.run,
        getattr(file, "uploads", None),
        getattr(file, "reads", lambda options: ()),
        getattr(file, "take_others", lambda options, words: False),
    )


def load_verbs(package: str) -> list[Verb]:
    """All verbs of a package, in the order of the man page.

    :param package: as it is imported, such as ``cas.commands.verbs``
    """
    found = [load_verb(package, name) for name in verb_names(package)]
    return sorted(found, key=lambda verb: (verb.place, verb.name))


def asked_verb(verb: Verb, options: argparse.Namespace) -> Asked:
    """What a command line with a verb asks for."""
    uploads = verb.uploads(options) if verb.uploads else ()
    return Asked(
        partial(verb.run, options),
        options.config,
        options.debug,
        uploads=uploads,
        reads=verb.reads(options),
        stays_root=verb.uploads is not None and not uploads,
    )


def add_verbs(parser: argparse.ArgumentParser, package: str) -> None:
    """Let a program have the verbs of a package."""
    verbs = parser.add_subparsers(action=_Verbs, dest="verb", metavar="VERB", title="verbs")
    cast("_Verbs", verbs).offer(package)


class _Verbs(argparse._SubParsersAction):  # type: ignore[type-arg]
    """Verbs whose files are imported when their parsers or their help are asked for."""

    def offer(self, package: str) -> None:
        self._package = package
        self._name_parser_map = self.choices = _Parsers(self._prog_prefix, package)  # type: ignore[assignment]

    def _get_subactions(self) -> list[argparse.Action]:
        """The lines of ``--help``."""
        return [
            self._ChoicesPseudoAction(verb.name, [], verb.help)
            for verb in load_verbs(self._package)
        ]


class _Parsers(Mapping[str, Parser]):
    """The parsers of verbs, by name, made when they are asked for."""

    def __init__(self, program: str, package: str) -> None:
        self._program, self._package = program, package
        self._names = verb_names(package)
        self._made: dict[str, Parser] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __getitem__(self, name: str) -> Parser:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._made:
            parser = Parser(prog=f"{self._program} {name}")
            verb = load_verb(self._package, name)
            verb.arguments(parser)
            verb_options(parser)
            if not parser.epilog and (verb.example or "").startswith("cas "):
                parser.epilog = f"for example: {verb.example}"
            self._made[name] = parser
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return (verb.name for verb in load_verbs(self._package))

    def __len__(self) -> int:
        return len(self._names)

"""Which crashes of the archive the words of a command mean.

A word with ``=`` is a constraint. Any other means a ticket, ``TICKET/STAMP`` or ``TICKET/latest``,
then a file on this machine, then the beginning of an id; one that may mean two of them is listed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from cas.archive.archive import Archive, NotArchived
from cas.archive.constraints import STDIN, Garbage, ids_of_lines, selection_of
from cas.commands.crash_lines import HEADER, ls_line
from cas.commands.invocation import World, file_of
from cas.commands.specification import LATEST
from cas.errors import NotADump, UsageError
from cas.files.whole import is_there
from cas.jobs.work_directory import STATE, is_stamp, is_ticket
from cas.model.archived import (
    ID_DIGITS,
    PREFIX_DIGITS,
    Comparison,
    Constraint,
    Selection,
)
from cas.text import short_line

_HEX = re.compile(rf"[0-9a-f]{{{PREFIX_DIGITS},{ID_DIGITS}}}", re.ASCII)
_CANDIDATES = 20
"""Crashes that are listed of those that a word may mean."""


class AmbiguousSpec(UsageError):
    """A word means more than one thing."""

    exit_code = 1

    def __init__(self, message: str, lines: Sequence[str], *, hint: str) -> None:
        """Keep the facts.

        :param lines: what it may mean, for standard output
        """
        super().__init__(message, hint=hint)
        self.result = "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Meant:
    """What the words of a command mean."""

    selection: Selection
    rest: tuple[str, ...] = ()
    """The words behind the specification."""


def chosen_crashes(words: Sequence[str], world: World, archive: Archive) -> Selection:
    """The crashes that all words together mean.

    :raises Garbage: a word cannot be meant
    :raises NotArchived: a word means nothing that is archived
    :raises AmbiguousSpec: a word means more than one thing
    """
    meant = leading_crashes(words, world, archive)
    if meant.rest:
        _nothing_meant(meant.rest[0])
    return meant.selection


def leading_crashes(words: Sequence[str], world: World, archive: Archive) -> Meant:
    """The crashes that the first words mean; those behind a specification are left.

    :raises: as `chosen_crashes`
    """
    if words and words[0] in STDIN:
        return Meant(_from_stdin(archive), tuple(words[1:]))
    meant: Selection | None = None
    if words and words[0].startswith("id=") and _HEX.fullmatch(words[0][3:]):
        meant = _of_prefix(words[0][3:], archive) or Selection(ids=())
    elif words and "=" not in words[0]:
        meant = _meaning(words[0], world, archive)
    if meant:
        number = 1 + _count_constraints(words[1:])
        chosen = selection_of(words[1:number], world.now)
        constraints = (*meant.constraints, *chosen.constraints)
        selection = replace(chosen, constraints=constraints, ids=meant.ids)
        return Meant(selection, tuple(words[number:]))
    number = _count_constraints(words)
    return Meant(selection_of(words[:number], world.now), tuple(words[number:]))


def _count_constraints(words: Sequence[str]) -> int:
    return next((at for at, word in enumerate(words) if "=" not in word), len(words))


def _meaning(word: str, world: World, archive: Archive) -> Selection | None:
    """What a word means by itself; ``None``: nothing."""
    found = dict[str, Selection]()
    crashes = archive.store.crashes
    ticket, _, last = word.partition("/")
    if is_ticket(ticket) and (not last or last == LATEST or is_stamp(last)):
        selection = _of_ticket(ticket, last, archive)
        if selection and crashes.count(replace(selection, limit=1)):
            found[f"ticket={ticket}" if not last else word] = selection
    if is_there(file_of(word)):
        found[f"./{word}" if "/" not in word else word] = _of_file(file_of(word), world, archive)
    if _HEX.fullmatch(word) and (begun := _of_prefix(word, archive)):
        found[f"id={word}"] = begun
    if len(found) > 1:
        raise AmbiguousSpec(
            f"{word} may mean {' or '.join(found)}", list(found), hint="write one of these instead"
        )
    return next(iter(found.values()), None)


def _of_ticket(ticket: str, last: str, archive: Archive) -> Selection | None:
    if not last:
        return Selection((Constraint("tickets", Comparison.EQUAL, ticket),))
    if last != LATEST:
        return Selection((Constraint("jobs", Comparison.EQUAL, f"{ticket}/{last}"),))
    named = Selection((Constraint("jobs", Comparison.GLOB, f"{ticket}/*"),))
    newest: tuple[str, str] | None = None
    for line in archive.store.crashes.lines(named):
        names = [name for name in archive.read(line.id).jobs if name.startswith(f"{ticket}/")]
        newest = max(newest or ("", ""), (max(names, default=""), line.id))
    return Selection(ids=(newest[1],)) if newest else None


def _of_file(path: Path, world: World, archive: Archive) -> Selection:
    """The crash of a file on this machine, or of a job's directory."""
    from cas.commands.uploaded import crash_id_of_upload

    if path.is_dir():
        place = path.resolve()
        if is_there(place / STATE):
            name = f"{place.parent.name}/{place.name}"
            return Selection((Constraint("jobs", Comparison.EQUAL, name),))
        raise Garbage(f"{path} is a directory, and no job's")
    try:
        return Selection(ids=(crash_id_of_upload(path, world).value,))
    except NotADump as error:
        raise Garbage(str(error), hint=error.hint) from error


def _of_prefix(prefix: str, archive: Archive) -> Selection | None:
    ids = archive.store.crashes.ids_by_prefix(prefix, _CANDIDATES)
    if len(ids) > 1:
        _list_crashes(prefix, ids, archive)
    return Selection(ids=ids) if ids else None


def _from_stdin(archive: Archive) -> Selection:
    crashes, ids = archive.store.crashes, list[str]()
    for word in ids_of_lines(sys.stdin):
        if len(word) == ID_DIGITS and _HEX.fullmatch(word):
            ids.append(word)
            continue
        if not _HEX.fullmatch(word):
            if word == "name":  # the header of cas ls
                continue
            raise Garbage(f"standard input has {short_line(word, 40)!r}, which is no id")
        found = crashes.ids_by_prefix(word, 2)
        if len(found) > 1:
            _list_crashes(word, found, archive)
        ids += found
    return Selection(ids=tuple(ids))


def _list_crashes(prefix: str, ids: Iterable[str], archive: Archive) -> NoReturn:
    lines = archive.store.crashes.lines(Selection(ids=tuple(ids)))
    raise AmbiguousSpec(
        f"{prefix} begins the ids of several crashes",
        [HEADER, *map(ls_line, lines)],
        hint="give more of the id",
    )


def _nothing_meant(word: str) -> NoReturn:
    if is_ticket(word.partition("/")[0]) or _HEX.fullmatch(word):
        raise NotArchived(f"nothing in the archive is meant by {short_line(word, 100)!r}")
    raise Garbage(
        f"{short_line(word, 100)!r} is no ticket, no file and no beginning of an id",
        hint="write property=value, a ticket, a file or four digits of an id; see cas(1)",
    )

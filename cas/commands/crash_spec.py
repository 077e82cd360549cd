"""Which crashes of the archive the words of a command mean.

A URL is that of a dump on a server, and a word with ``=`` a constraint. Any other means a ticket,
``TICKET/STAMP`` or ``TICKET/latest``, then a file on this machine, then the beginning of an id; one
that may mean two of them is listed.
What lies beside the user by chance, under a bare name and neither a dump nor a job, is not meant
where something else may be.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from cas.archive.archive import Archive
from cas.archive.constraints import (
    STDIN,
    Garbage,
    ids_of_lines,
    is_own_property,
    selection_of,
)
from cas.archive.crash_directories import NotArchived
from cas.commands.crash_lines import HEADER, ls_line
from cas.commands.invocation import World, file_of
from cas.commands.mistakes import without_secrets
from cas.commands.specification import LATEST, ticket_and_stamp
from cas.errors import NotADump, UsageError
from cas.fetch.url import is_url
from cas.files.whole import is_there
from cas.frozen import dataclass
from cas.jobs.work_directory import STATE, is_ticket
from cas.model.archived import (
    ID_DIGITS,
    PREFIX_DIGITS,
    Comparison,
    Constraint,
    Selection,
)
from cas.text import count, short_line

_HEX = re.compile(rf"[0-9a-fA-F]{{{PREFIX_DIGITS},{ID_DIGITS}}}", re.ASCII)
_ID = re.compile(r"(?:id|name)=(?!undefined$|stdin$|[^*?]*[*?])(.*)", re.DOTALL)
"""The beginning of an id, which stands for it; a pattern is compared as any other value."""
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
    first = words[0] if words else ""
    if words and not first:
        raise Garbage("a word is empty", hint="is the variable set that stands there?")
    is_constraint = "=" in first and not is_url(first)
    meant = _meaning(first, world, archive) if first and not is_constraint else None
    start = 0 if meant is None else 1
    number = start + _count_constraints(words[start:])
    constraints = words[start:number]
    sets = [_of_id(word, archive) for word in constraints if _ID.match(word)]
    if any(word in STDIN for word in constraints):
        sets.append(_from_stdin(world, archive))
    if meant and meant.ids is not None:
        sets.append(meant.ids)
    others = [word for word in constraints if word not in STDIN and not _ID.match(word)]
    chosen = selection_of(others, world.now)
    if meant:
        chosen = replace(chosen, constraints=(*meant.constraints, *chosen.constraints))
    if sets:
        smallest, *more = sorted(sets, key=len)
        rest = set(smallest).intersection(*more)
        chosen = replace(chosen, ids=tuple(each for each in smallest if each in rest))
    return Meant(chosen, tuple(words[number:]))


def crashes_and_rest(words: Sequence[str], world: World, archive: Archive, fewest: int) -> Meant:
    """The crashes that the first words mean, for a verb that takes more words behind them.

    :param fewest: words that the verb takes; of fewer it is for the verb to say what is missing
    :raises: as `chosen_crashes`, also where the first word means nothing
    """
    meant = leading_crashes(words, world, archive)
    if len(meant.rest) == len(words) >= fewest:
        _nothing_meant(words[0])
    return meant


def may_be_no_ticket(word: str) -> bool:
    """Whether what has the form of a ticket may be a file or the beginning of an id as well."""
    return bool(_HEX.fullmatch(word)) or is_there(file_of(word))


def _count_constraints(words: Sequence[str]) -> int:
    return next((at for at, word in enumerate(words) if "=" not in word), len(words))


def _meaning(word: str, world: World, archive: Archive) -> Selection | None:
    """What a word means by itself; ``None``: nothing."""
    if is_url(word) and not is_there(file_of(word)):
        return _of_url(word, world)
    found = dict[str, Selection]()
    crashes = archive.store.crashes
    if form := ticket_and_stamp(word):
        ticket, last = form
        selection = _of_ticket(ticket, last, archive)
        if selection and crashes.count(replace(selection, limit=1)):
            found[f"ticket={ticket}" if not last else word] = selection
    is_hex = _HEX.fullmatch(word)
    begun = crashes.ids_by_prefix(word.lower(), _CANDIDATES) if is_hex else ()
    if is_there(file_of(word)):
        is_sought = "/" in word or not (found or begun or is_own_property(word))
        if (of_file := _of_file(file_of(word), world, is_sought=is_sought)) is not None:
            found[f"./{word}" if "/" not in word else word] = of_file
    if begun:
        found[f"id={word}"] = Selection(ids=begun)
    if len(found) > 1:
        raise AmbiguousSpec(
            f"{word} may mean {' or '.join(found)}", list(found), hint="write one of these instead"
        )
    if len(begun) > 1:
        _list_crashes(word, begun, archive)
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


def _of_file(path: Path, world: World, *, is_sought: bool) -> Selection | None:
    """The crash of a file on this machine, or of a job's directory.

    :param is_sought: whether nothing else is meant: then what is neither is told
    """
    from cas.commands.uploaded import crash_id_of_upload

    try:
        if not path.is_dir():
            return Selection(ids=(crash_id_of_upload(path, world).value,))
        place = path.resolve()
        if not is_there(place / STATE):
            raise NotADump(f"{path} is a directory, and no job's", hint=Garbage.hint)
        name = f"{place.parent.name}/{place.name}"
        return Selection((Constraint("jobs", Comparison.EQUAL, name),))
    except NotADump as error:
        if not is_sought:
            return None
        raise Garbage(str(error), hint=error.hint) from error


def _of_url(address: str, world: World) -> Selection:
    """The crash of a dump on a server, of which as much is read as that takes."""
    from cas.commands.uploaded import crash_id_of_url

    try:
        return Selection(ids=(crash_id_of_url(address, world).value,))
    except NotADump as error:
        raise Garbage(str(error), hint=error.hint) from error


def _of_id(word: str, archive: Archive) -> tuple[str, ...]:
    digits = word.partition("=")[2]
    if not _HEX.fullmatch(digits):
        raise Garbage(
            f"{short_line(digits, 40)!r} is no beginning of an id",
            hint=f"it has {PREFIX_DIGITS} to {ID_DIGITS} hex digits: cas ls",
        )
    return _of_prefix(digits, archive)


def _of_prefix(prefix: str, archive: Archive) -> tuple[str, ...]:
    ids = archive.store.crashes.ids_by_prefix(prefix.lower(), _CANDIDATES)
    if len(ids) > 1:
        _list_crashes(prefix, ids, archive)
    return ids


def _from_stdin(world: World, archive: Archive) -> tuple[str, ...]:
    """The ids that the lines of standard input begin with, those that are archived."""
    if world.is_interactive:
        world.progress.say("reading ids from standard input")
    words = [word for word in ids_of_lines(sys.stdin) if word != "name"]  # the header of cas ls
    if wrong := next((word for word in words if not _HEX.fullmatch(word)), None):
        raise Garbage(f"standard input has {short_line(wrong, 40)!r}, which is no id")
    found = archive.store.crashes.ids_by_prefixes(words)
    for prefix, ids in found.items():
        if len(ids) > 1:
            _list_crashes(prefix, ids, archive)
    if unknown := sum(not found.get(word) for word in words):
        which = count(unknown, "id")
        world.progress.warn(f"nothing in the archive is meant by {which} of standard input")
    return tuple(dict.fromkeys(each for ids in found.values() for each in ids))


def _list_crashes(prefix: str, ids: Iterable[str], archive: Archive) -> NoReturn:
    lines = archive.store.crashes.lines(Selection(ids=tuple(ids)))
    raise AmbiguousSpec(
        f"{prefix} begins the ids of several crashes",
        [HEADER, *map(ls_line, lines)],
        hint="give more of the id",
    )


def _nothing_meant(word: str) -> NoReturn:
    said = short_line(without_secrets(word), 100)
    if is_ticket(word.partition("/")[0]) or _HEX.fullmatch(word):
        raise NotArchived(f"nothing in the archive is meant by {said!r}")
    raise Garbage(
        f"{said!r} is no ticket, no file and no beginning of an id",
        hint="write property=value, a ticket, a file or four digits of an id; see cas(1)",
    )

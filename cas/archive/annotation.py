"""What people and analyzers say of a crash: properties and tickets, each change with its author."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from cas.archive.constraints import Garbage
from cas.archive.record import Hold, Info
from cas.jobs.work_directory import TICKET_RULE, is_ticket
from cas.text import json_text

VALUE_LIMIT = 1 << 20
"""Characters of a property's value."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(\.[A-Za-z0-9_][A-Za-z0-9_-]*){0,7}", re.ASCII)
_NAME_LIMIT = 100


def with_property(info: Info, name: str, value: Any) -> Info:
    """A crash with a property set; of a dotted name the objects on the way are made."""
    return replace(info, properties=_put(info.properties, name.split("."), value))


def without_property(info: Info, name: str) -> Info:
    """A crash without a property; objects that are empty then go, too."""
    return replace(info, properties=_taken(info.properties, name.split(".")))


def with_ticket(info: Info, ticket: str) -> Info:
    """A crash with one more ticket, which protects it from a purge."""
    return replace(info, set_tickets=tuple(dict.fromkeys((*info.set_tickets, ticket))))


def without_ticket(info: Info, ticket: str | None) -> Info:
    """A crash without a ticket that was set; ``None``: without all of them."""
    kept = (each for each in info.set_tickets if ticket not in (None, each))
    return replace(info, set_tickets=tuple(kept))


def with_hold(info: Info, why: str, by: str, at_s: int) -> Info:
    """A crash that nothing is purged of; whoever holds it already has a new reason."""
    others = (each for each in info.holds if each.by != by)
    return replace(info, holds=(*others, Hold(at_s=at_s, by=by, why=why)))


def without_holds(info: Info) -> Info:
    """A crash that nobody holds any more."""
    return replace(info, holds=())


def checked_name(name: str) -> str:
    """The name of a property, if one may be called so.

    :raises Garbage: it may not
    """
    bare = name.removeprefix("properties.")
    if len(bare) > _NAME_LIMIT or not _NAME.fullmatch(bare):
        raise Garbage(
            f"{name[:_NAME_LIMIT]!r} is no name of a property",
            hint="use letters, digits, dashes and underscores, with dots between parts",
        )
    return bare


def checked_ticket(ticket: str) -> str:
    """A ticket, if it is one.

    :raises Garbage: it is none
    """
    if not is_ticket(ticket):
        raise Garbage(f"{ticket[:_NAME_LIMIT]!r} is no ticket", hint=TICKET_RULE)
    return ticket


def value_of(text: str) -> Any:
    """A value as it is typed: JSON, or else a text.

    A number that would be written otherwise again stays a text: ``007``, ``1e5``.

    :raises Garbage: it is too long
    """
    if len(text) > VALUE_LIMIT:
        raise Garbage(f"a property has {VALUE_LIMIT} characters at most")
    try:
        found = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    if found is None or (is_number and json_text(found) != text):
        return text
    return found


def _refuse(text: str) -> Any:
    raise ValueError(text)


def _put(facts: Mapping[str, Any], names: list[str], value: Any) -> dict[str, Any]:
    first, *rest = names
    if not rest:
        return {**facts, first: value}
    below = facts.get(first)
    return {**facts, first: _put(below if isinstance(below, dict) else {}, rest, value)}


def _taken(facts: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    first, *rest = names
    found = dict(facts)
    below = found.get(first)
    if not rest:
        found.pop(first, None)
    elif isinstance(below, dict):
        found[first] = _taken(below, rest)
        if not found[first]:
            del found[first]
    return found

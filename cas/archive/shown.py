"""A crash of the archive as ``cas info`` prints it, and as the index keeps it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import itemgetter
from typing import Any

import msgspec

from cas.archive.record import File, Hold, Info, Place, ToldFile
from cas.choices import Presence
from cas.model.archived import USERS, CrashLine, CrashWord, IndexedCrash
from cas.text import json_text


def shown_info(info: Info, dump: str | None) -> dict[str, Any]:
    """The object that is printed, but for the crash's presence; what is not known is left out.

    :param dump: where the best file is
    """
    best = info.best_file
    found: dict[str, Any] = {
        "id": info.id,
        "name": info.id,
        "type": info.type,
        "time": info.time_s,
        "added": info.added_s,
        "weak": info.is_weak,
        "ticket": ",".join(info.tickets) or None,
        "tickets": list(info.tickets) or None,
        "set_tickets": list(info.set_tickets) or None,
        "jobs": list(info.jobs) or None,
        "swept": [_told_place(each) for each in info.swept] or None,
        "hold": [told_hold(each) for each in info.holds] or None,
        "dump": dump,
    }
    if best:
        found |= {
            "format": best.format,
            "size": best.size_bytes,
            "dump_level": best.dump_level,
            "whole": best.is_whole,
        }
    found |= {name: value for name, value in info.facts.items() if name not in found}
    found["files"] = [_told_file(file) for file in info.files]
    found = {name: value for name, value in found.items() if value is not None}
    return found | {USERS: info.properties}


def _told_file(file: File) -> dict[str, Any]:
    facts: dict[str, Any] = msgspec.to_builtins(file)
    return {name: facts[name] for name in ToldFile.__struct_fields__}


def _told_place(place: Place) -> dict[str, Any]:
    return {
        "host": place.host,
        "path": place.path,
        "size": place.size_bytes,
        "modified": place.modified_s,
        "uid": place.uid,
        "gid": place.gid,
    }


def told_hold(hold: Hold) -> str:
    """Who holds a crash, and why."""
    return f"{hold.by}: {hold.why}" if hold.why else hold.by


def indexed(info: Info, dump: str | None, presence: Presence) -> IndexedCrash:
    """What the index keeps of a crash."""
    shown = shown_info(info, dump)
    line = CrashLine(
        info.id,
        info.type,
        info.time_s,
        _text_or_none(shown.get("node")),
        _text_or_none(shown.get("cmd")),
        shown.get("ticket"),
    )
    alone = {name: value for name, value in shown.items() if name != "ticket"}
    return IndexedCrash(line, info.added_s, presence, json_text(shown), tuple(words_of(alone)))


def words_of(facts: Mapping[str, Any]) -> Iterator[CrashWord]:
    """Every value of an object by its dotted name.

    >>> [(word.name, word.value) for word in words_of({"a": {"b": [1, True]}, "c": None})]
    [('a.b', '1'), ('a.b', 'true')]
    """
    seen: dict[str, int] = {}
    for name, value in filter(itemgetter(0), _leaves("", facts)):
        position = seen.get(name, 0)
        seen[name] = position + 1
        yield CrashWord(name, position, value)


def _leaves(name: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _leaves(f"{name}.{key}" if name else str(key), each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _leaves(name, each)
    elif value is not None:
        yield name, value_text(value)


def value_text(value: object) -> str:
    """A value as it is compared and printed in a column."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json_text(value)


def property_of(info: Mapping[str, Any], name: str) -> Any:
    """The value of a dotted property of a printed object; ``None``: it is not set.

    Of an array of objects it is the array of their values.

    >>> property_of({"files": [{"name": "vmcore"}], "properties": {"a.b": 1}}, "properties.a.b")
    1
    """
    return _below(info, name)


def _below(value: Any, name: str) -> Any:
    if isinstance(value, list):
        found = [_below(each, name) for each in value]
        return [each for each in found if each is not None] or None
    if not isinstance(value, Mapping):
        return None
    if name in value:  # a key may have dots of its own
        return value[name]
    first, dot, rest = name.partition(".")
    return _below(value.get(first), rest) if dot else None


def column_text(value: object) -> str:
    """A value in a column: the members of an array with commas between."""
    if isinstance(value, list):
        return ",".join(map(value_text, value))
    return value_text(value)


def _text_or_none(value: object) -> str | None:
    return None if value is None else str(value)

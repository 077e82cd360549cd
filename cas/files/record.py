"""The one way in which a job's records are read: decoded and checked as a whole, or not at all.

What a record may hold stands in a class; the JSON schemas that are shipped are made from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

VERSION = 1
"""Of the records; grows when a key goes or changes its meaning, not when one is added."""
FIRST_YEAR, LAST_YEAR = 1970, 9998
"""Times outside have no representation in some time zone, or none for the C library."""

DIALECT = "https://json-schema.org/draft/2020-12/schema"
NAME = r"^[A-Za-z0-9](?!.*\.\.)[A-Za-z0-9._-]{0,63}(?!\n)$"
BELOW = r"^(?!/)(?!([\s\S]*/)?\.\.?(/|$))[^\x00]+$"

Ticket = Annotated[str, Meta(pattern=NAME, description="the identifier given with -i")]
FilePath = Annotated[str, Meta(pattern=r"^[^\x00]*$", description="of a file, wherever it is")]
Below = Annotated[str, Meta(pattern=BELOW, description="path below the job's directory")]
Time = Annotated[datetime, Meta(tz=True)]
Count = Annotated[int, Meta(ge=0)]
Version = Annotated[int, Meta(ge=1, le=VERSION)]


class Unreadable(ValueError):
    """A record is not what it should be; the text says what, and where in it."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Part of a record; keys that it does not know, of later releases, are passed over."""


class Whole(Record, frozen=True, kw_only=True):
    """A record as it stands in a file."""

    version: Version
    started: Time


AnyWhole = TypeVar("AnyWhole", bound=Whole)


def decode(content: bytes, kind: type[AnyWhole]) -> AnyWhole:
    """A record, every value of which has the type that it should have.

    :raises Unreadable: it is no JSON, of a later version, or some value has another type
    """
    # json and not msgspec's own reader: undecodable file names have surrogates
    try:
        facts = json.loads(content)
        version = facts.get("version") if isinstance(facts, dict) else None
        if isinstance(version, int) and version > VERSION:
            raise Unreadable(
                f"it is of version {version}, this program knows {VERSION}: "
                "use the release of cas that wrote it, or a later one"
            )
        found = msgspec.convert(facts, kind)
    except RecursionError as error:
        raise Unreadable("it is nested too deeply") from error
    except UnicodeEncodeError as error:  # the library looks only into known words
        raise Unreadable("a word of its own has a character that is none") from error
    except (ValueError, msgspec.MsgspecError) as error:
        raise Unreadable(str(error) or type(error).__name__) from error
    if not FIRST_YEAR <= found.started.year <= LAST_YEAR:
        raise Unreadable(f"nobody started it in the year {found.started.year}")
    return found


def schema(kind: type[Record], title: str) -> dict[str, Any]:
    """What the record may hold, as JSON Schema 2020-12."""
    parts = _schema_parts([kind])
    whole = parts.pop(kind.__name__)
    return {"$schema": DIALECT, **whole, "title": title, "$defs": parts}


def schema_of_array(kind: type[Record], title: str) -> dict[str, Any]:
    """The schema of an array of objects of this kind."""
    parts = _schema_parts([kind])
    items = {"$ref": f"#/$defs/{kind.__name__}"}
    return {"$schema": DIALECT, "type": "array", "items": items, "title": title, "$defs": parts}


def schema_of_lines(kinds: Sequence[type[Record]], title: str) -> dict[str, Any]:
    """The schema of an object that is of one of several kinds."""
    either = [{"$ref": f"#/$defs/{kind.__name__}"} for kind in kinds]
    parts = _schema_parts(list(kinds))
    return {"$schema": DIALECT, "anyOf": either, "title": title, "$defs": parts}


def schema_of_parts(
    kinds: Mapping[str, type[Record]], instead: type[Record], title: str
) -> dict[str, Any]:
    """The schema of an object with a version and parts.

    :param kinds: by the keys of the parts
    :param instead: what may stand in the place of each
    """
    at = {
        name: [{"$ref": f"#/$defs/{one.__name__}"} for one in (kind, instead)]
        for name, kind in kinds.items()
    }
    properties = {
        "version": {"type": "integer", "minimum": 1},
        **{name: {"anyOf": either} for name, either in at.items()},
    }
    return {
        "$schema": DIALECT,
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "title": title,
        "$defs": _schema_parts([*kinds.values(), instead]),
    }


def _schema_parts(kinds: Sequence[type[Record]]) -> dict[str, Any]:
    _, parts = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    return parts

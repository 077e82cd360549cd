"""How rows become values, and values rows: here, and nowhere else.

What a column's type can do by itself it does: times are UTC in the database and aware outside,
paths are `Path`, text is what every database takes. A value is then built out of its row by the
names of its fields, each of which must have its type: SQLite keeps whatever it is given
(https://www.sqlite.org/datatype3.html, section 3), and a damaged file gives anything.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from cas.database.records import Candidate, FileStamp

Value = TypeVar("Value")


def value_of(kind: type[Value], row: Mapping[Any, Any]) -> Value:
    """The value that a row holds; columns that it has no field for are passed over.

    :raises ValueError: a column holds what no value of the kind has
    """
    try:
        # SQLAlchemy's names are of a kind of their own, which msgspec does not take for text
        facts = {str(name): each for name, each in row.items()}
        return msgspec.convert(facts, kind, dec_hook=_as_path)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error


def candidate_of(row: Mapping[Any, Any]) -> Candidate:
    """A candidate out of the columns of a kernel, and of its file's stamp as ``file_…``.

    :raises ValueError: a column holds what none of ours does
    """
    stamp = {name: row[f"file_{name}"] for name in FileStamp._fields}
    kernel = {str(name): each for name, each in row.items()}
    facts = {"kernel": kernel, "stamp": list(stamp.values()), **kernel}
    return value_of(Candidate, facts)


def columns_of(value: object, names: Collection[str]) -> dict[str, Any]:
    """What stands in the columns of these names, as far as the value has fields for them."""
    found = {name: getattr(value, name) for name in names if hasattr(value, name)}
    return {
        name: msgspec.to_builtins(each) if isinstance(each, tuple) else each
        for name, each in found.items()
    }


def _as_path(kind: type, stored: object) -> Any:
    if kind is Path and isinstance(stored, str | Path):
        return Path(stored)
    raise ValueError(f"{stored!r} is no {kind.__name__}")

"""Notes of other programs: a file says which of their fields is which of ours."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cas.archive.noting import MARK, NotANote, Note, NoteSignatures
from cas.archive.shown import property_of
from cas.errors import UsageError

_SIGNATURES = "signatures"
_FIELDS = frozenset(Note.__struct_fields__) - {MARK, _SIGNATURES}
_NAMES = frozenset(NoteSignatures.__struct_fields__) - {"version"}


def read_mapping(text: str, file: Path) -> dict[str, Any]:
    """The dotted names of their fields, by ours.

    :raises UsageError: it is none
    """
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file} is no mapping: {error}", hint=_HINT) from error
    signatures = found.get(_SIGNATURES, {})
    if not isinstance(signatures, dict):
        raise UsageError(f"{file}: `signatures` is no table", hint=_HINT)
    fields = {key: value for key, value in found.items() if key != _SIGNATURES}
    for key, value in (*fields.items(), *signatures.items()):
        known = _NAMES if key in signatures else _FIELDS
        if key not in known:
            raise UsageError(f"{file}: a note has no field {key!a}", hint=_HINT)
        if not isinstance(value, str):
            raise UsageError(f"{file}: `{key}` is no name of a field", hint=_HINT)
    return found


def mapped(theirs: Mapping[str, Any], mapping: Mapping[str, Any], version: int) -> dict[str, Any]:
    """What a note of another program says, as one of ours does.

    :param version: of the rules of signatures: theirs are those of our list
    :raises NotANote: it lacks a field that is mapped
    """
    fields = {key: name for key, name in mapping.items() if key != _SIGNATURES}
    found: dict[str, Any] = {MARK: 1}
    for key, name in fields.items():
        found[key] = _value(theirs, name)
    signatures = {key: _value(theirs, name) for key, name in mapping.get(_SIGNATURES, {}).items()}
    return {**found, _SIGNATURES: {**signatures, "version": version}}


def _value(theirs: Mapping[str, Any], name: str) -> Any:
    value = property_of(theirs, name)
    if value is None:
        raise NotANote(f"it has no {name!a}", hint="see the file that --mapping names")
    return value


_HINT = "docs/upkeep.md, Notes instead of dumps, has an example"

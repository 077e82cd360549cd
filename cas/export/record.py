"""``export.json`` of an export: what is in it, and what was replaced."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from cas.archive.record import CrashIdText
from cas.choices import SecretKind
from cas.files.record import Count, Record, Time

VERSION = 1
NAME = "export.json"


class LeftOut(Record, frozen=True, kw_only=True):
    """What was not exported."""

    name: str
    why: str


class ExportedCrash(Record, frozen=True, kw_only=True):
    """A crash of an export."""

    id: CrashIdText | None
    """``null``: its dump tells none."""
    directory: str
    files: tuple[str, ...]
    left_out: tuple[LeftOut, ...]


class Replaced(Record, frozen=True, kw_only=True):
    """What stands in the place of a secret."""

    replacement: str
    kind: SecretKind
    count: Count
    """How often it stands in the files of the export."""


class Export(Record, frozen=True, kw_only=True):
    """What an export is."""

    version: Annotated[int, Meta(ge=1)] = VERSION
    made: Time
    by: str
    """Name and release of the program."""
    redacted: bool
    has_dumps: bool
    crashes: tuple[ExportedCrash, ...]
    replaced: tuple[Replaced, ...]
    masked: Count
    """Places in listings of memory where bytes of secrets were overwritten."""

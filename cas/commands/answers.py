"""What ``cas VERB --json`` prints; the schemas that are shipped are made from these classes."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from cas.choices import Cause, Checked
from cas.files.record import Count, FilePath, Record, Time

VERSION = 1
"""Grows when a key goes or changes its meaning, not when one is added."""
Version = Annotated[int, Meta(ge=1)]


class Missing(Record, frozen=True, kw_only=True):
    """One thing that a damaged dump lacks."""

    what: str
    offset: int | None
    cause: Cause


class Registers(Record, frozen=True, kw_only=True):
    """One processor's registers, in hex."""

    cpu: int
    pid: int | None
    values: dict[str, str]


class Identified(Record, frozen=True, kw_only=True):
    """What a dump says about itself; the keys are those of ``dump`` in ``result.json``."""

    version: Version
    path: FilePath
    format: str
    size_bytes: Count
    arch: str
    osrelease: str | None
    build_id: str | None
    banner: str | None
    nodename: str | None
    crash_time: Time | None
    page_size: int | None
    kaslr_offset: Annotated[str, Meta(pattern=r"^-?0x[0-9a-f]+$")] | None
    dump_level: int | None
    compression: str | None
    missing: tuple[Missing, ...]
    checked: Checked
    pages: Count | None
    pages_checked: Count | None
    panic_message: str | None
    dmesg: str | None
    crash_id: str | None
    is_crash_id_weak: bool
    log_digest: str | None
    vmcoreinfo: dict[str, str]
    registers: tuple[Registers, ...]
    remarks: tuple[str, ...]


class CrashObject(Record, frozen=True, kw_only=True):
    """What the crash of a dump is called."""

    version: Version
    id: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$")]
    is_weak: bool
    """Another crash may have the same id: the dump does not tell when it crashed."""

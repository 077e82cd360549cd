"""What the verbs of the archive print as JSON; the schemas that are shipped are made from it."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from cas.archive.record import CrashIdText, File, JobName
from cas.choices import Kind, Level, Presence, Verdict
from cas.files.record import Count, Record


class ListedCrash(Record, frozen=True, kw_only=True):
    """A crash as ``cas ls`` lists it; with each property that was asked for besides."""

    id: CrashIdText
    type: str
    time: int
    """In seconds since 1970."""
    node: str | None
    cmd: str | None
    ticket: str | None
    """All its tickets, with commas between."""


class CrashSignatures(Record, frozen=True, kw_only=True):
    """What a crash is called, from coarse to fine."""

    title: str | None = None
    top_3: str | None = None
    top_5: str | None = None
    full: str | None = None


class CrashInfo(Record, frozen=True, kw_only=True):
    """A crash; cas(1) says what each property is. What is not known is left out."""

    id: CrashIdText
    name: CrashIdText
    type: str
    time: int
    added: int
    weak: bool
    ticket: str | None = None
    tickets: tuple[str, ...] = ()
    jobs: tuple[JobName, ...] = ()
    hold: tuple[str, ...] = ()
    presence: Presence
    dump: str | None = None
    files: tuple[File, ...]
    format: str | None = None
    size: Count | None = None
    dump_level: int | None = None
    whole: bool | None = None
    node: str | None = None
    vendor: str | None = None
    model: str | None = None
    bios: str | None = None
    release: str | None = None
    arch: str | None = None
    build_id: str | None = None
    panic: str | None = None
    title: str | None = None
    kind: Kind | None = None
    culprit: str | None = None
    culprit_module: str | None = None
    signatures: CrashSignatures | None = None
    confidence: Level | None = None
    task: str | None = None
    uptime: float | None = None
    cpus: int | None = None
    memory: int | None = None
    taint: str | None = None
    modules: tuple[str, ...] | None = None
    stack: tuple[str, ...] | None = None
    engine: str | None = None
    verdict: Verdict | None = None
    cmd: str | None = None
    properties: Annotated[dict[str, Any], Meta(description="what people and analyzers have set")]

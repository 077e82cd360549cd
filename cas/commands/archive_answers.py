"""What the verbs of the archive print as JSON; the schemas that are shipped are made from it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from cas.archive.groups import By
from cas.archive.record import CrashIdText, JobName, ToldFile
from cas.choices import AnalyzerKind, Kind, Level, Presence, Verdict
from cas.commands.answers import Version
from cas.files.record import Count, Record, Time


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


class CrashPlace(Record, frozen=True, kw_only=True):
    """Where a sweep has seen a file of a crash."""

    host: str
    path: str
    size: Count
    modified: int
    uid: Count | None
    gid: Count | None


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
    set_tickets: tuple[str, ...] = ()
    jobs: tuple[JobName, ...] = ()
    swept: tuple[CrashPlace, ...] = ()
    hold: tuple[str, ...] = ()
    presence: Presence
    dump: str | None = None
    files: tuple[ToldFile, ...]
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


class ListedJob(Record, frozen=True, kw_only=True):
    """A job as ``cas jobs`` lists it."""

    name: JobName
    directory: str
    state: str
    """Its verdict, or ``running`` or ``stopped``."""
    started: Time
    release: str | None
    node: str | None
    panic: str | None
    title: str | None


class Jobs(Record, frozen=True, kw_only=True):
    """The jobs, those that are not at their end first, newest first."""

    version: Version
    jobs: tuple[ListedJob, ...]


class AlikeCrash(ListedCrash, frozen=True, kw_only=True):
    """A crash that is called as another one."""

    alike: Literal["same", "similar"]
    by: str
    """The finest granularity at which both have one signature."""


class AlikeCrashes(Record, frozen=True, kw_only=True):
    """The crashes that are called as one is; the same, then similar ones."""

    version: Version
    id: CrashIdText
    crashes: tuple[AlikeCrash, ...]


class NamedValues(Record, frozen=True, kw_only=True):
    """The values of a property in a group."""

    count: Count
    names: dict[str, int]
    """Crashes by value, the ten most frequent values."""


class UnusualValue(Record, frozen=True, kw_only=True):
    """A value that is far more frequent in a group than elsewhere."""

    name: str
    value: str
    here: Count
    here_of: Count
    elsewhere: Count
    elsewhere_of: Count


class CrashGroup(Record, frozen=True, kw_only=True):
    """Crashes with something in common."""

    key: str | None
    """``None``: those that lack it."""
    title: str | None
    crashes: Count
    notes: Count
    """Crashes of which there are only notes, and no dumps."""
    first: int
    last: int
    hosts: NamedValues
    kernels: NamedValues
    models: NamedValues
    tickets: NamedValues
    unusual: tuple[UnusualValue, ...]


class Groups(Record, frozen=True, kw_only=True):
    """Crashes in groups, the largest first."""

    version: Version
    by: By
    groups: tuple[CrashGroup, ...]


class ListedAnalyzer(Record, frozen=True, kw_only=True):
    """An analyzer as ``cas analyzers`` lists it."""

    name: str
    kind: AnalyzerKind
    author: str | None
    """Who has added it; ``null``: it is shipped."""
    added: Count | None
    """In seconds since 1970."""
    digest: str
    """``sha256:`` and the SHA-256 of its text."""
    auto: bool
    """It runs by itself."""
    needs: tuple[str, ...]
    title: str | None


class Analyzers(Record, frozen=True, kw_only=True):
    """The analyzers, the shipped ones too, by their names."""

    version: Version
    analyzers: tuple[ListedAnalyzer, ...]

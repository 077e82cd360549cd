"""What ``cas VERB --json`` prints; the schemas that are shipped are made from these classes."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from cas.choices import Cause, Checked, GlideRole
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


class GlideValue(Record, frozen=True, kw_only=True):
    """A variable, member or element of a deep trace."""

    name: str
    """``[N]`` of an element."""
    type: str
    """As C has it, without the name."""
    value: str
    """A number, an address, a string, ``<fault ADDRESS>``, ``<optimized out>``; empty of a
    structure or an array."""
    note: str = ""
    """What it means: a symbol, an error, names of flags, a path."""
    above: str | None = None
    """Where what it points to is told already."""
    members: tuple[GlideValue, ...] = ()
    zeros: Count = 0
    """Members that are 0 and left out."""
    left_out: Count = 0
    """Elements and members beyond a limit."""


class GlideNote(Record, frozen=True, kw_only=True):
    """What a module tells: a line of text, or a value."""

    module: str | None = None
    text: str | None = None
    value: GlideValue | None = None


class GlideStart(Record, frozen=True, kw_only=True, tag_field="kind", tag="start"):
    """The first record of a deep trace."""

    version: Version
    dump: str
    """``TICKET/STAMP`` of the job that has it, else the crash that it is of."""
    osrelease: str | None
    modules: tuple[str, ...]
    """Those that take part."""


class GlideNamedTask(Record, frozen=True, kw_only=True):
    """A task in a few words."""

    address: str
    pid: int | None
    comm: str | None
    cpu: int | None
    state: str | None


class GlideTask(GlideNamedTask, frozen=True, kw_only=True, tag_field="kind", tag="task"):
    """A task; its frames follow."""

    role: GlideRole
    alike: tuple[GlideNamedTask, ...]
    """Others with the same stack."""
    problem: str | None
    notes: tuple[GlideNote, ...]


class GlideFrame(Record, frozen=True, kw_only=True, tag_field="kind", tag="frame"):
    """A frame of the task before, innermost first."""

    number: Count
    function: str | None
    offset: Count | None
    size: Count | None
    pc: str
    kmod: str | None
    file: str | None
    line: Count | None
    inlined: bool
    is_exception: bool
    """Here an exception interrupted the kernel."""
    registers: dict[str, str]
    variables: tuple[GlideValue, ...]
    notes: tuple[GlideNote, ...]


class GlideSection(Record, frozen=True, kw_only=True, tag_field="kind", tag="section"):
    """What a module tells before or behind the tasks."""

    module: str
    when: str
    lines: tuple[GlideNote, ...]


class GlideRemark(Record, frozen=True, kw_only=True, tag_field="kind", tag="remark"):
    """What went wrong, and cost only what it names."""

    text: str


class GlideEnd(Record, frozen=True, kw_only=True, tag_field="kind", tag="end"):
    """The last record."""

    tasks: Count
    stacks: Count
    frames: Count
    values: Count
    duration_s: float
    cut: str | None
    """Why the trace ends before its end."""


GLIDE = (GlideStart, GlideTask, GlideFrame, GlideSection, GlideRemark, GlideEnd)
"""The records of ``cas glide --json``, one a line."""


class CrashObject(Record, frozen=True, kw_only=True):
    """What the crash of a dump is called."""

    version: Version
    id: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$")]
    is_weak: bool
    """Another crash may have the same id: the dump does not tell when it crashed."""

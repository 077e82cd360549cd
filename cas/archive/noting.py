"""A note instead of a dump: what a crash kernel leaves that has recognised a known crash.

It counts as an occurrence of the crash, without a file. What a note says comes from another
machine: nothing of it is believed but its form.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from cas.archive.archive import Archive
from cas.archive.crash_directories import NotArchived
from cas.archive.crash_index import IndexBehind
from cas.archive.record import NOTE, CrashIdText, Info, is_deep
from cas.errors import CasError
from cas.files.record import Record
from cas.frozen import dataclass

LIMIT = 64 << 10
"""Bytes of a note; one is of some hundred."""
MARK = "cas_note"
"""The key by which a file is told to be one; its value is the version of the form."""
FUTURE_S = 24 * 60 * 60
"""Seconds that the clock of another machine may be ahead."""
_DIGITS = 32
_WORD = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"
SignatureText = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}(?!\n)$")]
Word = Annotated[str, Meta(pattern=rf"^{_WORD}{{1,255}}$")]
Line = Annotated[str, Meta(pattern=rf"^{_WORD}{{1,1000}}$")]


class NotANote(CasError):
    """A file is no note of a crash."""

    hint = "docs/upkeep.md, Notes instead of dumps, says what one has"


class NoteSignatures(Record, frozen=True, kw_only=True):
    """What the crash is called, as ``cas signature`` tells it; one of the two coarsest at least."""

    version: Annotated[int, Meta(ge=1, lt=1 << 31)]
    """Number of the rules that they are made by."""
    title: SignatureText | None = None
    top_3: SignatureText | None = None
    top_5: SignatureText | None = None
    full: SignatureText | None = None


class Note(Record, frozen=True, kw_only=True):
    """A crash of which there is no dump."""

    cas_note: Literal[1]
    time: int | str
    """When it crashed: in seconds since 1970, or as ISO 8601 has it, with a time zone."""
    node: Word
    """Name of the machine."""
    release: Word
    """Of the kernel, as ``uname -r`` has it."""
    signatures: NoteSignatures
    id: CrashIdText | None = None
    """The crash's id, where the crash kernel knows it: a dump of that id is of this crash."""
    arch: Word | None = None
    title: Line | None = None
    """What the crash is called."""
    panic: Line | None = None
    """The line of the kernel log that announces it."""


@dataclass(frozen=True, slots=True)
class Noted:
    """What became of a note."""

    info: Info
    is_known: bool
    """The archive had the crash already."""
    behind: IndexBehind | None = None


def is_note(content: bytes) -> bool:
    """Whether the beginning of a file is that of a note."""
    return content.lstrip().startswith(b"{") and f'"{MARK}"'.encode() in content


def json_object(content: bytes) -> dict[str, Any]:
    """The object of a JSON file, in which each key stands once.

    :raises NotANote: it is none
    """
    if len(content) > LIMIT:
        raise NotANote(f"it has more than {LIMIT >> 10} KiB: no note is that large")
    try:
        found = json.loads(
            content, parse_constant=_refuse_constant, object_pairs_hook=_without_twins
        )
    except RecursionError as error:
        raise NotANote("it is nested too deeply") from error
    except ValueError as error:
        raise NotANote(f"it is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise NotANote("it is no JSON object")
    if is_deep(found):
        raise NotANote("it is nested too deeply")
    return found


def note_of(told: dict[str, Any], now_s: int, version: int) -> Note:
    """A note, every value of which is as it should be.

    :param version: of the rules of signatures that this release goes by
    :raises NotANote: something of it is not
    """
    try:
        note = msgspec.convert(told, Note)
    except (msgspec.MsgspecError, ValueError) as error:
        raise NotANote(f"{error}") from error
    named = note.signatures
    if named.version != version:
        raise NotANote(
            f"its signatures are of the rules {named.version}, this release compares by {version}",
            hint="let the crash kernel have a new list: cas-admin skiplist",
        )
    if named.title is None and named.top_3 is None:
        raise NotANote("it has neither the signature `title` nor `top_3`")
    time_s = time_of(note)
    if not 0 < time_s <= now_s + FUTURE_S:
        when = "lies in the future" if time_s > now_s else "is before 1970"
        raise NotANote(f"its time {note.time} {when}", hint="set the clock of that machine")
    return note


def time_of(note: Note) -> int:
    """When a noted crash was, in seconds since 1970.

    :raises NotANote: the text is no time
    """
    if isinstance(note.time, int):
        return note.time
    try:
        when = datetime.fromisoformat(note.time)
    except ValueError as error:
        raise NotANote(f"its time {note.time!a} is none") from error
    if when.tzinfo is None:
        raise NotANote(f"its time {note.time!a} has no time zone")
    try:
        return int(when.timestamp())
    except (OverflowError, OSError) as error:
        raise NotANote(f"its time {note.time!a} is none") from error


def id_of_note(note: Note) -> str:
    """What a noted crash is called: two notes that say the same are of one."""
    named = note.signatures
    finest = named.full or named.top_5 or named.top_3 or named.title or ""
    parts = ("note", str(time_of(note)), note.node, note.release, finest)
    return note.id or hashlib.sha256("\0".join(parts).encode()).hexdigest()[:_DIGITS]


def enter_note(archive: Archive, note: Note, by: str, now_s: int) -> Noted:
    """Have a noted crash in the archive, once.

    :param by: who has uploaded the note
    :raises CasError: that cannot be
    """
    crash_id = id_of_note(note)
    noted = None
    try:
        known = archive.read(crash_id)
    except NotArchived:
        pass
    else:
        return Noted(known, is_known=True)
    try:
        with archive.changing(crash_id, lambda: _blank(crash_id, note, by, now_s)) as draft:
            is_new = draft.info.type == NOTE and draft.info.added_s == now_s
            noted = Noted(draft.info, is_known=not is_new)
    except IndexBehind as behind:  # it is recorded all the same
        assert noted  # noqa: S101
        return Noted(noted.info, noted.is_known, behind)
    return noted


def _blank(crash_id: str, note: Note, by: str, now_s: int) -> Info:
    told = msgspec.to_builtins(note)
    signatures = {name: value for name, value in told["signatures"].items() if value}
    del signatures["version"]
    facts = {name: told[name] for name in ("node", "release", "arch", "title", "panic")}
    facts = {name: value for name, value in facts.items() if value is not None}
    blank = Info(
        id=crash_id,
        type=NOTE,
        time_s=time_of(note),
        added_s=now_s,
        facts={**facts, "signatures": signatures},
        facts_at_s=now_s,
    )
    return blank.noting("note", by, now_s)


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands there twice")
    return found

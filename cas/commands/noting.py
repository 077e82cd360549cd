"""A note on a crash without a dump, given to ``cas upload``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cas.archive.archive import Archive
from cas.archive.note_mapping import mapped, read_mapping
from cas.archive.noting import (
    LIMIT,
    NotANote,
    Note,
    Noted,
    enter_note,
    is_note,
    json_object,
    note_of,
)
from cas.commands.invocation import World, file_of
from cas.errors import CasError, TryAgain, UsageError
from cas.fetch.url import is_url
from cas.files.whole import read_open
from cas.findings.signature import VERSION
from cas.jobs.order import PIPE
from cas.model.archived import Comparison, Constraint, Selection
from cas.settings.person import person
from cas.text import one_line, short_line

SAID_LIMIT = 300


def mapping_of(file: str | None, world: World) -> dict[str, Any] | None:
    """Which fields of another program's notes are which of ours; ``None``: they are ours.

    :raises UsageError: the file says no such thing
    """
    if file is None:
        return None
    path = file_of(file)
    try:
        text = _content(path, world).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"cannot read {path}: {why}", hint="see --mapping in cas(1)") from error
    return read_mapping(text, path)


def note_in(word: str, mapping: dict[str, Any] | None, world: World) -> Note | None:
    """The note that a file is; ``None``: it is something else.

    :param mapping: the fields of another program: then it has to be one
    :raises NotANote: it is a note that cannot be meant
    """
    if word == str(PIPE) or is_url(word):
        if mapping is None:
            return None
        raise NotANote(f"{word} is no file", hint="--mapping is for notes that are files")
    path = file_of(word)
    try:
        content = _content(path, world)
    except OSError as error:
        if mapping is None:
            return None  # whoever reads a dump says so
        raise NotANote(f"cannot read {path}: {error.strerror}") from error
    if mapping is None and not is_note(content):
        return None
    try:
        told = json_object(content)
        if mapping is not None:
            told = mapped(told, mapping, VERSION)
        return note_of(told, int(world.now.timestamp()), VERSION)
    except NotANote as error:
        said = short_line(str(error), SAID_LIMIT)
        raise NotANote(f"{word} is no usable note: {said}", hint=error.hint) from error


def upload_note(note: Note, archive: Archive, world: World) -> tuple[str, int]:
    """Have a noted crash in the archive; its id and the exit status.

    :raises CasError: it is not there
    """
    by, now_s = person(world.environment, world.config), int(world.now.timestamp())
    noted = enter_note(archive, note, by, now_s)
    _tell(noted, archive, world)
    if noted.behind:
        world.progress.warn(f"{noted.behind}; {noted.behind.hint}")
        return noted.info.id, TryAgain.exit_code
    return noted.info.id, 0


def _tell(noted: Noted, archive: Archive, world: World) -> None:
    info, say = noted.info, world.progress.say
    if noted.is_known:
        has = "a dump" if info.files else "this note"
        say(f"the archive has {has} of the crash {info.id} already: nothing is counted twice")
        return
    signatures = info.facts["signatures"]
    granularity = "top_3" if "top_3" in signatures else "title"
    value = signatures[granularity]
    same = Constraint(f"signatures.{granularity}", Comparison.EQUAL, value)
    try:
        often = archive.store.crashes.count(Selection((same,)))
    except CasError:  # it is said with the id
        return
    title = f" ({one_line(str(info.facts['title']))})" if info.facts.get("title") else ""
    say(
        f"noted, without a dump: {often:,} crashes have the signature {value}{title}"
        if often > 1
        else f"noted, without a dump: the first crash with the signature {value}{title}"
    )


def _content(path: Path, world: World) -> bytes:
    """The beginning of a regular file; nothing of what is none."""
    if path in world.held:
        return read_open(world.held[path], LIMIT)
    if not path.is_file():
        raise OSError(2, "it is no file")
    with path.open("rb") as file:
        return file.read(LIMIT + 1)

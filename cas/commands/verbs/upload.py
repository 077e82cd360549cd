"""``cas upload FILE…``: dumps into the archive, each with its first answer, and without a job."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from cas.commands.invocation import Done, Once, Output, World, file_of

if TYPE_CHECKING:
    from cas.archive.archive import Archive

PLACE = 7
HELP = "put dumps into the archive"
EXAMPLE = "cas upload vmcore.xz"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    text = "a dump, packed or not, or its URL; - for standard input; or a note instead of one"
    parser.add_argument("dumps", metavar="FILE", nargs="+", help=text)
    text = "the files are notes of another program; FILE says which of their fields is which"
    parser.add_argument("--mapping", metavar="FILE", action=Once, help=text)


def reads(options: argparse.Namespace) -> tuple[Path, ...]:
    """The files."""
    mapping = (options.mapping,) if options.mapping else ()
    return tuple(file_of(word) for word in (*options.dumps, *mapping) if not _is_elsewhere(word))


def run(options: argparse.Namespace, world: World) -> Output:
    """Upload one after the other, and print the id of each crash; one that fails keeps no other.

    :raises CasError: the only one that is given is of no use, or cannot be stored now
    """
    from cas.archive.archive import Archive
    from cas.commands.mistakes import without_secrets
    from cas.commands.noting import mapping_of, note_in, upload_note
    from cas.errors import CasError
    from cas.triage.uploading import finish_uploads

    mapping = mapping_of(options.mapping, world)
    archive, status = Archive.of(world.config), 0
    finish_uploads(archive, world.config, world.now, world.progress)
    for word in options.dumps:
        if len(options.dumps) > 1:
            world.progress.say(without_secrets(word))
        try:
            note = note_in(word, mapping, world)
            if note:
                crash_id, done = upload_note(note, archive, world)
            else:
                crash_id, done = _upload(word, archive, world)
        except CasError as error:
            if len(options.dumps) == 1:
                raise
            world.progress.warn(f"{word}: {error}; {error.hint}".removesuffix("; "))
            status = status or error.exit_code
        else:
            yield Done(crash_id)
            status = status or done
    return status


def _upload(word: str, archive: Archive, world: World) -> tuple[str, int]:
    """A dump into the archive; its crash's id and the exit status."""
    from cas.commands.uploading import upload_file  # notes need nothing of it

    done = upload_file(word, archive, world)
    return done.crash_id, done.status


def _is_elsewhere(word: str) -> bool:
    from cas.fetch.url import is_url

    return word == "-" or is_url(word)

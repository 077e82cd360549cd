"""The index of the archive: what the database knows of its crashes, and how it comes to know it.

Whoever changes an ``info.json`` notes that in ``unindexed`` first, and takes the note away once the
database has it: so whoever is stopped between them leaves a note, and the next one who asks brings
the index up to date.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from cas.archive.crash_directories import (
    ArchiveDamaged,
    CrashDirectories,
    NotArchived,
    is_crash_id,
    names_in,
)
from cas.archive.record import Info
from cas.archive.shown import indexed
from cas.database.store import Store
from cas.errors import CasError, TryAgain
from cas.files.whole import sync_directory, writing_below
from cas.frozen import dataclass
from cas.model.archived import EVERY, IndexedCrash, Selection

_UNINDEXED = "unindexed"
_LOST = "lost"
"""A note that is of no crash: the database was lost, and not everything is in the new one."""


class IndexBehind(TryAgain):
    """What was changed is recorded, and the database does not know of it yet."""

    hint = "it is recorded; the index has it with the next command that can use the database"


@dataclass(frozen=True, slots=True)
class CrashIndex:
    """What the database knows of the crashes."""

    directories: CrashDirectories
    store: Store

    def note_change(self, crash_id: str) -> None:
        """Note that the database does not know what is about to be recorded of a crash."""
        note = self._note(crash_id)
        note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        note.touch(mode=0o600)
        sync_directory(note.parent)

    def awaits(self, crash_id: str) -> bool:
        """Whether a change of a crash is noted that the index may not have yet."""
        return os.path.lexists(self._note(crash_id))

    def enter(self, info: Info) -> None:
        """Let the database know what is recorded of a crash; the caller has it locked.

        :raises IndexBehind: the database cannot be used
        """
        try:
            self._enter(info)
        except CasError as error:
            raise IndexBehind(str(error)) from error

    def catch_up(self) -> None:
        """Bring into the index what somebody changed who could not do it himself.

        :raises CasError: the database cannot be used; nothing that the caller wants is recorded yet
        """
        for crash_id in filter(is_crash_id, names_in(self.directories.path / _UNINDEXED)):
            try:
                with (
                    writing_below(self.directories.path),
                    self.directories.alone_with(crash_id),
                ):
                    self._enter(self.directories.read(crash_id))
            except NotArchived:  # it was stopped before there was anything
                self._forget_note(crash_id)
            except ArchiveDamaged:  # the others are of use all the same
                continue

    def is_lost(self) -> bool:
        """Whether the database was lost, and nobody has entered every crash into the new one.

        :raises TryAgain: the database is of no use now
        """
        return os.path.lexists(self._note(_LOST)) or self._note_loss()

    def note_complete(self) -> None:
        """Note that the database has every crash."""
        self._forget_note(_LOST)

    def entry_of(self, info: Info) -> IndexedCrash:
        """What the index keeps of a crash."""
        best = info.best_file
        dump = self.directories.place_of(info, best) if best else None
        return indexed(info, dump, self.directories.presence_of(info))

    def look_after_files(self, selection: Selection = EVERY) -> None:
        """Note in the index which best files are gone, truncated, or back.

        :raises TryAgain: the database is of no use now
        """
        known = self.store.crashes.presences(selection)
        found = {}
        for crash_id, before in known.items():
            with suppress(CasError):
                now = self.directories.presence_of(self.directories.read(crash_id))
                if now is not before:
                    found[crash_id] = now
        if found:
            self.store.crashes.note_presence(found.items())

    def _enter(self, info: Info) -> None:
        self._note_loss()  # with this crash the new database will look like any other
        self.store.crashes.put([self.entry_of(info)])
        self._forget_note(info.id)

    def _note_loss(self) -> bool:
        """Note that the database knows nothing of what it should have known, if that is so."""
        known = self.store.crashes
        if known.count(Selection(limit=1)):
            return False
        for crash_id in self.directories.ids():
            with suppress(CasError):  # what cannot be read is in no database
                self.directories.read(crash_id)
                if not self.awaits(crash_id):
                    # whoever has entered it since has taken its note away after that
                    if known.count(Selection(ids=(crash_id,))):
                        return False
                    with suppress(OSError):  # who may not write here sees it all the same
                        self.note_change(_LOST)
                    return True
        return False

    def _note(self, crash_id: str) -> Path:
        return self.directories.path / _UNINDEXED / crash_id

    def _forget_note(self, crash_id: str) -> None:
        with suppress(OSError):  # whoever may not do it leaves it to the next one
            self._note(crash_id).unlink()

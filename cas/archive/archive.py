"""The archive: the directories of its crashes, and their index, which follows every change."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import field
from pathlib import Path
from typing import Self

from cas.archive.crash_directories import (
    INFO,
    LOCK_S,
    CrashDirectories,
    NotArchived,
    remove_file,
)
from cas.archive.crash_index import CrashIndex
from cas.archive.record import Info, content_of
from cas.archive.spare_room import keep_spare_room, using_spare_room
from cas.database.store import Store
from cas.errors import CasError, Refused
from cas.files.permission import user_name
from cas.files.whole import write_whole, writing_below
from cas.frozen import dataclass
from cas.jobs.work_directory import WorkDirectory, lets_others_write
from cas.settings.config import Config

NAME = ".archive"
"""Below the work directory, unless `store` of cas.conf names another place."""


class ForeignArchive(Refused):
    """The archive is another user's, as where several share a work directory."""


@dataclass(slots=True)
class Draft:
    """A crash that is being changed."""

    info: Info
    """What is written in the end."""
    doomed: list[Path] = field(default_factory=list)
    """Files of the crash that go once that is written."""
    freed_bytes: int = 0
    """Of the disk, by those that have gone."""


@dataclass(frozen=True, slots=True)
class Archive(CrashDirectories):
    """The archive, as one user sees it."""

    store: Store
    owners: frozenset[int]
    """User ids who may own it."""

    @classmethod
    def of(cls, config: Config, store: Store | None = None) -> Self:
        """The configured one.

        :raises ForeignArchive: it belongs to another user
        :raises Refused: others may change it
        """
        owners = WorkDirectory.of(config).owners | {0}
        path = config.store or config.work_directory / NAME
        found = cls(path, config.work_directory, store or Store.of(config), owners)
        found.require_safe()
        return found

    def require_safe(self) -> None:
        """Make sure that nobody else can put other files in the place of ours.

        :raises ForeignArchive: it belongs to another user
        :raises Refused: that is not so
        """
        try:
            state = self.path.lstat()
        except OSError:  # it is not made yet, or whoever needs it says so
            return
        why, kind = None, Refused
        if not stat.S_ISDIR(state.st_mode):
            why = "is no directory"
        elif state.st_uid not in self.owners:
            why, kind = f"belongs to {user_name(state.st_uid)}", ForeignArchive
        elif lets_others_write(self.path, state, self.owners):
            why = "can be written to by others"
        else:
            above = self.path.parent.stat()
            is_protected = above.st_mode & stat.S_ISVTX
            if not is_protected and lets_others_write(self.path.parent, above, self.owners):
                why = f"may be replaced by others, who can write to {self.path.parent}"
        if why:
            raise kind(
                f"the archive {self.path} {why}",
                hint="let it belong to who runs cas, and to nobody else: chown, chmod go-w",
            )

    @property
    def index(self) -> CrashIndex:
        """What the database knows of it."""
        return CrashIndex(self, self.store)

    @contextmanager
    def changing(
        self, crash_id: str, blank: Callable[[], Info] | None = None, patience_s: float = LOCK_S
    ) -> Iterator[Draft]:
        """A crash that nobody else changes meanwhile; written and indexed in the end.

        If the index cannot be written, the change holds all the same, and the next who can does it.

        :param blank: what is recorded of one that is not there yet
        :param patience_s: how long to wait while another process changes it
        :raises NotArchived: it is not there
        :raises IndexBehind: the database cannot be used
        :raises TryAgain: another process changes it for too long
        """
        with (
            writing_below(self.path),
            self.locked(crash_id, patience_s, is_made=blank is not None) as directory,
        ):
            try:
                before = self.read(crash_id)
            except NotArchived:
                if blank is None:
                    raise
                before = blank()
            draft = Draft(before)
            yield draft
            if draft.info is before and blank is None:
                return
            content = content_of(draft.info)
            self.index.note_change(crash_id)
            if blank is not None:
                keep_spare_room(self.path)
            write_whole(directory / INFO, content)
            draft.freed_bytes += sum(map(remove_file, draft.doomed))
            self.index.enter(draft.info)


@contextmanager
def with_spare_room(config: Config) -> Iterator[None]:
    """Have a little room on the configured archive's disk, in which more of it is freed.

    The database may lie there, too: so this is the first that is done.
    """
    with ExitStack() as stack:
        with suppress(CasError):  # whoever uses the archive is told
            stack.enter_context(using_spare_room(Archive.of(config).path))
        yield

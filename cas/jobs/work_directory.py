"""What lies below the work directory, and what of it is ours: the only place that walks there.

Ours is what the program made, by the names that it gives: ``TICKET/STAMP/job.json``, and what
stopped runs left behind. It belongs to the running user or to ``casuser``, nobody else may write
there, and no symbolic link leads to it. Everything else is left alone. What has such a name and is
not ours is told by :func:`skipped`.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import field
from datetime import UTC, datetime
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Self

from cas.errors import CasError, ConfigError, Refused, plain_reason
from cas.files.permission import DENIED, not_permitted, user_name
from cas.frozen import dataclass
from cas.settings.config import Config
from cas.settings.users import account, roots_remedy

STATE = "job.json"
STAMP = "%Y.%m.%d.%H.%M.%S"
UNBORN = ".new-"
"""How the name of a directory begins that is not a job yet; eight of tempfile's letters follow."""
UNBORN_S = 3600.0
"""One that was begun longer ago belongs to a run that was stopped."""
PURGED = ".purged-"
"""How the name of a directory begins that is being removed; its stamp follows."""
_TICKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_UNBORN = re.compile(re.escape(UNBORN) + r"[a-z0-9_]{8}", re.ASCII)
_ACL = "system.posix_acl_access"
_NAMED = 3
"""Of those that are left alone for one reason, in a line."""


class UnsafeWorkDirectory(Refused):
    """Others than those who own its jobs may change what lies in the work directory."""


class Kind(Enum):
    """What something below the work directory is."""

    JOB = "a job"
    BARE = "has the name of a job and no job.json"
    UNBORN = "was to become a job when a run was stopped"
    PURGED = "a purge that was stopped left half removed"
    FOREIGN = "is not ours"


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that has a name of ours."""

    path: Path
    kind: Kind
    why: str = ""
    """Why it is not ours."""
    modified: float = 0.0
    """When something in the directory was last made or removed, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class WorkDirectory:
    """The work directory, as one user sees it."""

    path: Path
    owners: frozenset[int] = field(default_factory=lambda: frozenset({os.geteuid()}))
    """User ids whose jobs are ours."""
    remedy: Callable[[Path], str | None] = field(default=lambda _: None, compare=False)
    """What root does about something of his here."""

    @classmethod
    def of(cls, config: Config) -> Self:
        """The configured one, for the running user and ``casuser``.

        :raises UnsafeWorkDirectory: others may change what lies there
        """
        owners = {os.geteuid()}
        if config.casuser:
            with suppress(ConfigError):  # without an account it cannot own anything
                owners.add(account(config.casuser).pw_uid)
        remedy = partial(roots_remedy, config=config)
        found = cls(config.work_directory, frozenset(owners), remedy)
        found.require_safe()
        return found

    def require_safe(self) -> None:
        """Make sure that nobody else can put other directories in the place of ours.

        What protects is a directory that only its owner may write to, or the sticky bit (chmod +t),
        with which each may remove and rename only what is his own; and an owner who is root, the
        running user or ``casuser``.

        :raises UnsafeWorkDirectory: that is not so
        """
        try:
            state = self.path.stat()
        except OSError:  # whoever needs it says so
            return
        if state.st_uid not in self.owners | {0}:
            raise UnsafeWorkDirectory(
                f"the work directory {self.path} belongs to {user_name(state.st_uid)}, who may put "
                f"anything in the place of a job",
                hint=f"run as {user_name(state.st_uid)}, name that user as `casuser` in cas.conf, "
                f"or: chown root {self.path}",
            )
        if self._lets_others_write(self.path, state) and not state.st_mode & stat.S_ISVTX:
            raise UnsafeWorkDirectory(
                f"others than {user_name(state.st_uid)} may write to the work directory "
                f"{self.path} and put anything in the place of a job",
                hint=f"chmod +t {self.path} lets each of them change only what is his own; "
                f"if one user runs cas: chmod go-w {self.path}",
            )

    def jobs(self, ticket: str | None = None) -> Iterator[Path]:
        """Directories of our jobs, by ticket and stamp."""
        return (entry.path for entry in self.entries(ticket) if entry.kind is Kind.JOB)

    def skipped(self, ticket: str | None = None) -> list[str]:
        """What has a name of ours and is left alone: a line for each reason, with its owner."""
        reasons: dict[str, list[Path]] = {}
        for entry in self.entries(ticket):
            if entry.kind is Kind.FOREIGN:
                reasons.setdefault(entry.why, []).append(entry.path)
        lines = []
        for why, paths in reasons.items():
            names = ", ".join(str(path.relative_to(self.path)) for path in paths[:_NAMED])
            if len(paths) > _NAMED:
                names += f" and {len(paths) - _NAMED} more"
            remedy = self.remedy(paths[0])
            advice = f"; {remedy}" if remedy else ""
            lines.append(f"left alone in {self.path}: {names}: {why}{advice}")
        return lines

    def entries(self, ticket: str | None = None) -> Iterator[Entry]:
        """Everything that has a name of ours, by ticket and name; what goes meanwhile is left out.

        :param ticket: only below this one
        """
        if ticket is not None:
            names = [ticket]
        else:
            try:
                names = sorted(filter(is_ticket, os.listdir(self.path)))  # noqa: PTH208  names only
            except FileNotFoundError:
                return
            except OSError as error:
                if error.errno in DENIED:
                    raise not_permitted(self.path, error, "read") from error
                raise CasError(
                    f"cannot read the work directory {self.path}: {error.strerror}",
                    hint="check `workDirectory` in cas.conf and its permissions",
                ) from error
        for name in names:
            directory = self.path / name
            try:
                why = self._why_foreign(directory)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                why = plain_reason(error)
            if why is None:
                yield from self._entries_of_ticket(directory)
            elif why:
                yield Entry(directory, Kind.FOREIGN, why)

    def make_ticket(self, ticket: str) -> Path:
        """The directory of a ticket, made if it is not there.

        :raises OSError: it cannot be made
        :raises Refused: what is there is not ours
        """
        directory = self.path / ticket
        self.path.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            directory.mkdir(0o700)
        why = self._why_foreign(directory, must_tell=True)
        if why is not None:
            raise Refused(
                f"{directory} is no place for a job: {why or 'it is no directory'}",
                hint="use another identifier, or have the owner move it away",
            )
        return directory

    def _entries_of_ticket(self, directory: Path) -> Iterator[Entry]:
        try:
            names = sorted(os.listdir(directory))  # noqa: PTH208  names only
        except OSError as error:
            yield Entry(directory, Kind.FOREIGN, plain_reason(error))
            return
        for name in names:
            kind = _kind_of(name)
            if kind is not None:
                with suppress(FileNotFoundError, NotADirectoryError):
                    yield self._entry_at(directory / name, kind)

    def _entry_at(self, path: Path, kind: Kind) -> Entry:
        why = self._why_foreign(path, may_be_sticky=False, must_tell=True)
        if why is not None:
            return Entry(path, Kind.FOREIGN, why or "it is no directory")
        modified = path.lstat().st_mtime
        if kind is not Kind.JOB:
            return Entry(path, kind, modified=modified)
        try:
            state = (path / STATE).lstat()
        except FileNotFoundError:
            return Entry(path, Kind.BARE, modified=modified)
        except OSError as error:
            return Entry(path, Kind.FOREIGN, plain_reason(error), modified)
        why = ""
        if not stat.S_ISREG(state.st_mode):
            why = f"its {STATE} is no regular file"
        elif state.st_uid not in self.owners:
            why = f"its {STATE} belongs to {user_name(state.st_uid)}"
        return Entry(path, Kind.FOREIGN if why else kind, why, modified)

    def _why_foreign(
        self, directory: Path, *, may_be_sticky: bool = True, must_tell: bool = False
    ) -> str | None:
        """Why a directory is not ours; ``None`` for ours, empty for what is not worth a word.

        :param may_be_sticky: whether others may write there if the sticky bit protects ours
        :param must_tell: whether there is a word to say of anything
        """
        state = directory.lstat()
        if stat.S_ISLNK(state.st_mode):
            return "a symbolic link"
        if not stat.S_ISDIR(state.st_mode):
            return ""
        if state.st_uid not in self.owners:
            is_worth_a_word = True  # also where we may not look whether it could hold jobs
            with suppress(OSError):
                is_worth_a_word = must_tell or any(map(_kind_of, os.listdir(directory)))  # noqa: PTH208  names only
            return f"belongs to {user_name(state.st_uid)}" if is_worth_a_word else ""
        is_protected = may_be_sticky and state.st_mode & stat.S_ISVTX
        if not is_protected and self._lets_others_write(directory, state):
            return "others may write there; if all in it is as it should be: chmod go-w"
        return None

    def _lets_others_write(self, path: Path, state: os.stat_result) -> bool:
        return lets_others_write(path, state, self.owners | {0})


TICKET_RULE = (
    "use 1 to 64 letters, digits, dots, dashes and underscores, beginning with a letter or digit, "
    "without two dots in a row"
)
"""What to type where a ticket is none."""


def is_ticket(name: str) -> bool:
    """Whether a ticket may have this name."""
    return _TICKET.fullmatch(name) is not None and ".." not in name


def is_stamp(name: str) -> bool:
    """Whether a directory of this name may be a job."""
    try:
        return datetime.strptime(name, STAMP).replace(tzinfo=UTC).strftime(STAMP) == name
    except ValueError:
        return False


def lets_others_write(path: Path, state: os.stat_result, trusted: Iterable[int] = ()) -> bool:
    """Whether others than its owner may make and remove files in a directory.

    A group does not count that is the private one of the owner or of a trusted user: of the same
    name, without other members, as useradd makes it. With an access control list the group's bits
    say what it allows at most (acl(5)), and it counts as others.

    :param trusted: user ids that are no others
    """
    if state.st_mode & stat.S_IWOTH:
        return True
    if not state.st_mode & stat.S_IWGRP:
        return False
    with suppress(OSError):  # a file system without any
        if _ACL in os.listxattr(path, follow_symlinks=False):
            return True
    for uid in {state.st_uid, *trusted}:
        with suppress(KeyError):
            user, group = pwd.getpwuid(uid), grp.getgrgid(state.st_gid)
            is_of_user = group.gr_name == user.pw_name and user.pw_gid == group.gr_gid
            if is_of_user and not {*group.gr_mem} - {user.pw_name}:
                return False
    return True


def is_gone(directory: Path) -> bool:
    """Whether there is no job in a directory; not where this user may not look."""
    try:
        (directory / STATE).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def is_regular(path: Path) -> bool:
    """Whether there is a regular file, and no link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _kind_of(name: str) -> Kind | None:
    """What something in a ticket's directory would be, by its name."""
    if is_stamp(name):
        return Kind.JOB
    if _UNBORN.fullmatch(name):
        return Kind.UNBORN
    if name.startswith(PURGED) and is_stamp(name.removeprefix(PURGED)):
        return Kind.PURGED
    return None

"""Results that a group may read (``resultGroup``); everything else of a job stays its owner's."""

from __future__ import annotations

import grp
import os
import shlex
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Self

from cas.errors import CasError, ConfigError
from cas.files.permission import user_name
from cas.files.whole import writing_below
from cas.frozen import dataclass
from cas.jobs.job import Job
from cas.jobs.layout import DEEP_TRACE, RESULTS, is_own
from cas.jobs.log import log_name
from cas.jobs.work_directory import is_regular
from cas.progress import Progress
from cas.settings.config import Config

_MAY_ENTER, _MAY_READ = stat.S_IRGRP | stat.S_IXGRP, stat.S_IRGRP
_SALVAGED = "registers"
"""The section that a job has for itself."""


@dataclass(frozen=True, slots=True)
class ResultGroup:
    """The group whose members read results."""

    name: str
    gid: int

    @classmethod
    def of(cls, config: Config) -> Self | None:
        """The configured one; ``None``: results are their owner's.

        :raises ConfigError: there is no such group
        """
        if config.result_group is None:
            return None
        try:
            return cls(config.result_group, grp.getgrnam(config.result_group).gr_gid)
        except KeyError:
            if config.result_group.isdigit():
                return cls(config.result_group, int(config.result_group))
        raise ConfigError(
            f"resultGroup = {config.result_group}: there is no such group",
            hint=f"make it: groupadd {shlex.quote(config.result_group)}",
        )

    def require_member(self) -> None:
        """Make sure that this user may give files to the group.

        :raises ConfigError: only its members and root may
        """
        user = os.geteuid()
        if user == 0 or self.gid in (os.getegid(), *os.getgroups()):
            return
        name = user_name(user).removeprefix("uid ")
        raise ConfigError(
            f"resultGroup = {self.name}: {name} is not in this group, and cannot give it anything",
            hint=f"run as root: usermod -aG {shlex.quote(self.name)} {shlex.quote(name)}",
        )

    def open_directory(self, directory: Path) -> None:
        """Let the group into a new job's directory, and its ticket's.

        :raises CasError: that cannot be done
        """
        with writing_below(directory):
            for path in (directory.parent, directory):
                self._give(path, os.O_DIRECTORY, _MAY_ENTER)

    def share(self, job: Job, paths: Iterable[Path]) -> None:
        """Let the group read files of a job, if it may enter its directory: one that was made
        before stays as it is.

        :raises CasError: that cannot be done
        """
        with writing_below(job.directory):
            if not self.is_open(job.directory):
                return
            for path in paths:
                with suppress(FileNotFoundError):  # a section that was not run
                    self._give(path, 0, _MAY_READ)

    def is_open(self, directory: Path) -> bool:
        """Whether the group may enter a job's directory, as far as the job decides it."""
        states = [path.lstat() for path in (directory.parent, directory)]
        return all(self._allows(state, _MAY_ENTER) for state in states)

    def closed_way(self, directory: Path) -> Path | None:
        """The first directory on the way to another that the group may not pass."""
        for path in (*reversed(directory.parents), directory):
            try:
                state = path.stat()
            except OSError:
                return None  # whoever needs it says so
            if not state.st_mode & stat.S_IXOTH and not self._allows(state, stat.S_IXGRP):
                return path
        return None

    def allowed(self, job: Job) -> dict[Path, int]:
        """What the group is to be allowed of a job that has ended, as bits of modes, by path."""
        directories = (job.directory.parent, job.directory)
        files = (job.directory / name for name in results(job))
        return dict.fromkeys(directories, _MAY_ENTER) | dict.fromkeys(files, _MAY_READ)

    def is_shared(self, job: Job) -> bool:
        """Whether the group may read all results of a job that has ended."""
        return all(self._allows(path.lstat(), bits) for path, bits in self.allowed(job).items())

    def command(self, job: Job) -> str:
        """What lets the group read the results of a job that was made before."""
        names = " ".join(shlex.quote(f"./{name}") for name in results(job))
        group = shlex.quote(self.name)
        return (
            f"run: cd {shlex.quote(str(job.directory))} && chgrp {group} .. . {names} && "
            f"chmod g+rx .. . && chmod g+r {names}"
        )

    def is_meant(self, state: os.stat_result, allowed: int) -> bool:
        """Whether nobody but the group may use a file, and not more than it is allowed."""
        return state.st_gid == self.gid and not stat.S_IMODE(state.st_mode) & 0o077 & ~allowed

    def _allows(self, state: os.stat_result, bits: int) -> bool:
        return state.st_gid == self.gid and state.st_mode & bits == bits

    def _give(self, path: Path, flags: int, bits: int) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags)
        try:
            state = os.fstat(descriptor)
            if not self._allows(state, bits):
                os.fchown(descriptor, -1, self.gid)
                os.fchmod(descriptor, stat.S_IMODE(state.st_mode) | bits)
        finally:
            os.close(descriptor)


def share(job: Job, paths: Iterable[Path], config: Config, progress: Progress) -> None:
    """Let the configured group, if there is one, read files of a job; that fails no job."""
    try:
        group = ResultGroup.of(config)
        if group:
            group.share(job, paths)
    except CasError as error:
        progress.warn(f"the group {config.result_group} cannot read the results: {error}")


def results(job: Job) -> list[str]:
    """Names of the files of an ended job that a group may read: reports, sections and the log."""
    read = (*RESULTS, *DEEP_TRACE, _SALVAGED)
    sealed = (name for name in job.files if name in read or not is_own(name))
    names = {name for name in sealed if "/" not in name} | {log_name(job)}
    return sorted(name for name in names - {job.dump_name} if is_regular(job.directory / name))

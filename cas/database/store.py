"""The configured database, which is opened when something of it is first needed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cas.database.quick_queries import quick_candidates, quick_hosts, quick_of_release
from cas.database.records import Candidate
from cas.errors import CasError
from cas.model.host import Host
from cas.settings.config import Config

if TYPE_CHECKING:
    from cas.database.build_rows import BuildRows, ReadingRows
    from cas.database.crash_groups import CrashGroups
    from cas.database.crash_rows import CrashRows
    from cas.database.host_rows import HostRows
    from cas.database.job_rows import JobRows
    from cas.database.kernel_rows import KernelRows
    from cas.database.package_rows import PackageRows
    from cas.database.publishing import Change
    from cas.database.rows import Rows

LOCK_S = 60.0
"""Seconds that a process waits while another one writes."""
_FAILED_S = 30.0
"""Seconds after a database could not be opened before that is tried again: a server that is silent
would cost each stage of a job the same time."""


class Store:
    """What is kept of packages, kernels, jobs, crashes and hosts; threads may share it.

    Whoever uses one of its nouns (`packages`, `kernels`, `jobs`, `crashes`, …) opens the database:
    the first such use imports SQLAlchemy (0.2 s), and may raise what `open` does.
    """

    def __init__(self, database: str | Path, *, timeout_s: float = LOCK_S) -> None:
        """Name it.

        :param database: path of a SQLite file, or a SQLAlchemy URL
        :param timeout_s: seconds to wait while another process writes
        """
        self.database = str(database)
        self._timeout_s = timeout_s
        self._opening = threading.Lock()
        self._opened: Rows | None = None
        self._failed: CasError | None = None
        self._failed_until_s = 0.0

    @classmethod
    def of(cls, config: Config) -> Store:
        """The configured one."""
        return cls(config.database)

    @property
    def name(self) -> str:
        """Where it is: a path, or a URL without its secrets."""
        if "://" not in self.database:
            return self.database
        from cas.database.connection import shown_url, url_of

        return shown_url(url_of(self.database))

    def open(self) -> Rows:
        """Open the database now and bring its tables up to date.

        :raises ConfigError: not a database, or one of a newer version of this program
        :raises DatabaseDamaged: its file is damaged
        :raises TryAgain: locked, unreachable, or not writable
        """
        with self._opening:
            if self._opened is not None:
                return self._opened
            if self._failed is not None and time.monotonic() < self._failed_until_s:
                raise self._failed
            from cas.database.connection import Database
            from cas.database.rows import Rows

            try:
                self._opened = Rows(Database(self.database, self._timeout_s))
            except CasError as error:
                self._failed, self._failed_until_s = error, time.monotonic() + _FAILED_S
                raise
            return self._opened

    def preload(self) -> None:
        """Open it in the background, while this process waits for something else.

        What goes wrong there is said when the database is first used.
        """

        def attempt() -> None:
            with suppress(CasError):
                self.open()

        threading.Thread(target=attempt, name="database", daemon=True).start()

    @property
    def packages(self) -> PackageRows:
        """The files that hold debug information, or should and do not."""
        return self.open().packages

    @property
    def kernels(self) -> KernelRows:
        """The kernels in those files."""
        return self.open().kernels

    @property
    def jobs(self) -> JobRows:
        """The index of jobs: which job crashed how."""
        return self.open().jobs

    @property
    def crashes(self) -> CrashRows:
        """The index of the archive: every crash ever seen."""
        return self.open().crashes

    @property
    def crash_groups(self) -> CrashGroups:
        """The same in groups."""
        return self.open().crash_groups

    @property
    def hosts(self) -> HostRows:
        """The analysis hosts."""
        return self.open().hosts

    @property
    def builds(self) -> BuildRows:
        """The runs of ``cas-admin -b``, and the purges."""
        return self.open().builds

    @property
    def readings(self) -> ReadingRows:
        """What a run of ``cas-admin -b`` has read and not published yet."""
        return self.open().readings

    def claims(self, build_id: str) -> list[Candidate]:
        """The catalogued kernels with a build-id, without SQLAlchemy where that can be."""
        found = quick_candidates(self.database, build_id)
        return self.kernels.with_build_id(build_id) if found is None else found

    def of_release(self, release: str) -> list[Candidate]:
        """The catalogued kernels of a release, without SQLAlchemy where that can be."""
        found = quick_of_release(self.database, release)
        return self.kernels.with_release(release) if found is None else found

    def registered_hosts(self) -> tuple[Host, ...]:
        """The analysis hosts by name and port, without SQLAlchemy where that can be."""
        found = quick_hosts(self.database)
        return self.hosts.all_hosts() if found is None else tuple(found)

    def publish(self, change: Change) -> None:
        """Make a new generation of packages and kernels visible."""
        from cas.database.publishing import publish_change

        with self.open().database.writing() as connection:
            publish_change(connection, change)

    def building(self, wait: Callable[[], None]) -> AbstractContextManager[None]:
        """The right to build, which one process has at a time.

        :param wait: called when another has it, before this one waits
        """
        return self.open().database.alone(wait)

    def lacking(self) -> frozenset[str]:
        """The names of our tables that are gone."""
        return self.open().database.lacking_tables()

    def damage(self) -> tuple[str, ...]:
        """What the database says is wrong with its own file; nothing for a server's."""
        return self.open().database.file_damage()

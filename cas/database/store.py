"""Every query that the catalogue makes, by the noun it is about."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from cas.database.build_rows import BuildRows, ReadingRows
from cas.database.connection import Database
from cas.database.host_rows import HostRows
from cas.database.job_rows import JobRows
from cas.database.kernel_rows import KernelRows
from cas.database.package_rows import PackageRows
from cas.database.publishing import Change, publish


class Store:
    """The catalogue's rows, as values."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.packages = PackageRows(database)
        self.kernels = KernelRows(database)
        self.jobs = JobRows(database)
        self.hosts = HostRows(database)
        self.builds = BuildRows(database)
        self.readings = ReadingRows(database)

    def publish(self, change: Change) -> None:
        """Make a new generation of the catalogue visible."""
        with self._database.writing() as connection:
            publish(connection, change)

    def building(self, wait: Callable[[], None]) -> AbstractContextManager[None]:
        """The right to build, which one process has at a time.

        :param wait: called when another has it, before this one waits
        """
        return self._database.alone(wait)

    def lacking(self) -> frozenset[str]:
        """The tables that are gone."""
        return self._database.lacking()

    def damage(self) -> tuple[str, ...]:
        """What the database says about its own file."""
        return self._database.damage()

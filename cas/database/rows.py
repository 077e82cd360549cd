"""Every query that is made, by the noun it is about, on a database that is open."""

from __future__ import annotations

from cas.database.build_rows import BuildRows, ReadingRows
from cas.database.connection import Database
from cas.database.crash_groups import CrashGroups
from cas.database.crash_rows import CrashRows
from cas.database.host_rows import HostRows
from cas.database.job_rows import JobRows
from cas.database.kernel_rows import KernelRows
from cas.database.package_rows import PackageRows


class Rows:
    """The tables' rows, as values."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.packages = PackageRows(database)
        self.kernels = KernelRows(database)
        self.jobs = JobRows(database)
        self.crashes = CrashRows(database)
        self.crash_groups = CrashGroups(database)
        self.hosts = HostRows(database)
        self.builds = BuildRows(database)
        self.readings = ReadingRows(database)

"""The catalogue: which package holds which kernel, and which job crashed how."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cas.catalogue import installed, match, pattern, scan, sources
from cas.catalogue.cache import find_cached
from cas.catalogue.examine import examine
from cas.catalogue.facts import BuildSummary, Candidate, FileStamp, JobRecord, Known
from cas.catalogue.host_list import read_hosts
from cas.config import Config
from cas.errors import CasError, KernelNotFound, PackageError, TryAgain
from cas.model import Dump, Host, Kernel, Match
from cas.progress import Progress, Silent
from cas.rules import PackageRules

if TYPE_CHECKING:
    from cas.catalogue.host_rows import HostRows
    from cas.catalogue.store import Store

_ROOT = Path("/")


class Catalogue:
    """A database of packages, kernels and jobs; it is opened when it is first needed."""

    def __init__(self, database: str | Path, *, timeout_s: float = 60.0) -> None:
        """Name it.

        :param database: path of a SQLite file, or a SQLAlchemy URL
        :param timeout_s: how long to wait while another process writes
        """
        self._name = str(database)
        self._timeout_s = timeout_s
        self._opening = threading.Lock()
        self._opened: Store | None = None

    @classmethod
    def of(cls, config: Config) -> Catalogue:
        """The configured one."""
        return cls(config.database)

    def open(self) -> None:
        """Open the database now and bring its tables up to date.

        :raises ConfigError: not a database, or one of a newer version of this program
        :raises TryAgain: locked, unreachable, or not writable
        """
        self._store()

    def preload(self) -> None:
        """Open it in the background, while this process waits for something else.

        What goes wrong there is said when the database is first used.
        """

        def attempt() -> None:
            with suppress(CasError):
                self.open()

        threading.Thread(target=attempt, name="catalogue", daemon=True).start()

    def build(self, kernels: Path, rules: PackageRules, progress: Progress) -> BuildSummary:
        """Bring the catalogue up to date with the packages on the disk.

        Every package is its own transaction: readers see it at once, and an interrupted run has
        lost nothing. A file is read again when its size or time of modification has changed.

        :param kernels: directory that is searched, symbolic links followed
        :raises ConfigError: the expression is invalid, or there is no such directory
        :raises TryAgain: the directory cannot be read, or is suddenly empty
        """
        found = scan.walk(kernels, pattern.compile_filter(rules.rpm_filter))
        store = self._store()
        known = store.known_packages()
        if known and not found.files:
            raise _suddenly_empty(kernels, rules.rpm_filter, len(known))
        changed = [
            (path, stamp)
            for path, stamp in found.files.items()
            if path not in known or not known[path].holds_for(stamp)
        ]
        with progress.bar("Reading package headers", len(changed), "packages") as advance:
            for path, stamp in changed:
                _read(store, path, stamp)
                advance(1)
        gone = [path for path in known if path not in found.files and not found.hides(path)]
        store.remove_packages(gone)
        return BuildSummary(
            added=len(changed),
            unchanged=len(found.files) - len(changed),
            removed=len(gone),
            kernels=store.count_kernels(),
            bad=(*store.bad_packages(), *found.unreadable.items()),
        )

    def find(
        self,
        dump: Dump,
        *,
        cache: Path | None = None,
        root: Path = _ROOT,
        progress: Progress | None = None,
    ) -> Match:
        """The kernel that crashed: installed here, extracted before, or in a package.

        A build-id decides where the dump has one, else the banner, else release and build time.

        :param cache: directory of `extract`; what is in it needs no look into the database
        :param root: where the file system begins; another one in tests
        :raises KernelNotFound: there is none
        :raises AmbiguousKernel: there are several, and the dump does not tell them apart
        """
        kernel = installed.find_installed(dump, root)
        if kernel is not None:
            return _by_build_id(kernel, "installed on this machine")
        cached = find_cached(dump, cache) if cache is not None else None
        if cached is not None and _is_there(cached.source):
            return _by_build_id(cached, "extracted before")
        try:
            return self._find_packaged(dump, progress or Silent())
        except KernelNotFound:
            if cached is None:
                raise
            return _by_build_id(cached, "extracted before, from a package that is gone")

    def record_job(self, job: JobRecord) -> None:
        """Add a job directory to the index of jobs, or replace what the index says of it."""
        self._store().put_job(job)

    def forget_job(self, directory: Path) -> None:
        """Take a job directory out of the index."""
        self._store().remove_job(directory)

    def similar(self, signature: str, excluding: Path) -> tuple[str, ...]:
        """Tickets of other job directories with this signature, newest first, each once."""
        return self._store().tickets_with(signature, excluding)

    def waiting_jobs(self) -> tuple[Path, ...]:
        """Job directories that wait for a debuginfo package, oldest first."""
        return self._store().directories_of("waiting")

    def indexed(self) -> dict[Path, str]:
        """The verdicts of all jobs in the index, by directory."""
        return self._store().verdicts()

    def packages(self) -> dict[Path, Known]:
        """What is remembered of every package file."""
        return self._store().known_packages()

    def hosts(self) -> tuple[Host, ...]:
        """The registered analysis hosts, by name."""
        found = read_hosts(self._name)
        return self._hosts().all() if found is None else found

    def put_host(self, host: Host) -> None:
        """Register a host, or replace all that is known of it."""
        self._hosts().put(host)

    def renew_host(self, host: Host) -> bool:
        """Replace a host's facts, if it is registered still; whether it is enabled stays."""
        return self._hosts().renew(host)

    def enable_host(self, name: str, port: int | None, *, is_enabled: bool) -> bool:
        """Use a host, or not; ``False`` when it is not registered."""
        return self._hosts().enable(name, port, is_enabled=is_enabled)

    def remove_host(self, name: str, port: int | None) -> bool:
        """Forget a host; ``False`` when it was not registered."""
        return self._hosts().remove(name, port)

    def damage(self) -> tuple[str, ...]:
        """What is wrong with the database file itself; nothing for a server's."""
        return self._store().damage()

    def _store(self) -> Store:
        with self._opening:
            if self._opened is None:
                # SQLAlchemy takes 0.2 s to import, which not every run has to spend.
                from cas.catalogue.connection import Database
                from cas.catalogue.store import Store

                self._opened = Store(Database(self._name, self._timeout_s))
            return self._opened

    def _hosts(self) -> HostRows:
        return self._store().hosts

    def _find_packaged(self, dump: Dump, progress: Progress) -> Match:
        store = self._store()
        if dump.build_id is not None:
            found = match.by_build_id(dump, _those_there(store.with_build_id(dump.build_id)))
            if found is not None:
                return found
        release = match.release_of(dump)
        candidates = store.with_release(release) if release is not None else []
        candidates = [c for c in candidates if c.kernel.arch == dump.arch]
        there = _those_there(candidates)
        gone = [f"{c.kernel.source} is gone" for c in candidates if c not in there]

        def look_into(candidate: Candidate) -> Candidate:
            progress.say(f"Reading the banner of the kernel in {candidate.kernel.source.name}")
            return _examined(store, candidate)

        return match.by_release(dump, there, look_into, gone)


def _read(store: Store, path: Path, stamp: FileStamp) -> None:
    """Catalogue one file, or the reason why that cannot be done."""
    try:
        store.put_package(path, stamp, sources.read(path))
    except PackageError as error:
        store.put_bad_package(path, stamp, "bad", str(error))
    except OSError as error:
        store.put_bad_package(path, stamp, "unreadable", error.strerror or str(error))


def _examined(store: Store, candidate: Candidate) -> Candidate:
    """The candidate with banner and build-id of its vmlinux, which are looked up only once.

    :raises PackageError: it is damaged, or has another build-id than its header says
    """
    kernel = candidate.kernel
    banner, build_id = examine(kernel)
    if kernel.build_id is not None and build_id not in (None, kernel.build_id):
        raise PackageError(
            f"{kernel.source}: {kernel.member} has build-id {build_id}, "
            f"the package's header says {kernel.build_id}"
        )
    build_id = kernel.build_id or build_id
    store.set_identity(candidate.id, banner, build_id)
    return Candidate(candidate.id, replace(kernel, banner=banner, build_id=build_id), examined=True)


def _by_build_id(kernel: Kernel, where: str) -> Match:
    return Match(
        kernel,
        "build-id",
        f"build-id {kernel.build_id} in the dump and in {kernel.source}, {where}",
    )


def _suddenly_empty(kernels: Path, rpm_filter: str, known: int) -> TryAgain:
    return TryAgain(
        f"kernels: {kernels} has no package that matches {rpm_filter!r}, "
        f"but {known} are catalogued",
        hint="mount it and run the same command again; if the packages are gone for good, "
        "remove the database and run: cas-admin -b",
    )


def _those_there(candidates: Sequence[Candidate]) -> list[Candidate]:
    return [candidate for candidate in candidates if _is_there(candidate.kernel.source)]


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except OSError:
        return False
    return True

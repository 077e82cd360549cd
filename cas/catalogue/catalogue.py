"""The catalogue: which package holds which kernel, and which job crashed how."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cas.catalogue import match
from cas.catalogue.cache.entry import find_cached
from cas.catalogue.current import Current, current
from cas.catalogue.extraction import installed
from cas.catalogue.packages.examine import examine
from cas.database.claims import read_claims
from cas.database.host_list import read_hosts
from cas.database.records import (
    BuildRecord,
    BuildSummary,
    Candidate,
    CataloguedKernel,
    Contest,
    Counts,
    Crashed,
    FileStamp,
    JobRecord,
    Known,
)
from cas.errors import (
    AmbiguousKernel,
    CasError,
    DatabaseDamaged,
    KernelNotFound,
    PackageError,
    TryAgain,
)
from cas.files.patient_calls import answering
from cas.model import Dump, Host, Kernel, Match, Seen
from cas.progress import Progress, Silent
from cas.settings.config import Config
from cas.settings.rules import DebuginfodRules, PackageRules

if TYPE_CHECKING:
    from datetime import datetime

    from cas.catalogue.extraction.debuginfod import Debuginfod
    from cas.database.host_rows import HostRows
    from cas.database.repair import Repair
    from cas.database.store import Store

_ROOT = Path("/")
_FAILED_S = 30.0
"""After a database could not be opened, before that is tried again: a server that is silent would
cost each stage of a job the same time."""


class Lookup(Protocol):
    """Where kernels are looked up."""

    def with_build_id(self, build_id: str) -> list[Candidate]:
        """The kernels that have this build-id."""

    def with_release(self, release: str) -> list[Candidate]:
        """The kernels of this release, of any architecture."""


class Catalogue:
    """A database of packages, kernels and jobs; it is opened when it is first needed."""

    def __init__(
        self,
        database: str | Path,
        *,
        timeout_s: float = 60.0,
        debuginfod: DebuginfodRules | None = None,
        packages: PackageRules | None = None,
    ) -> None:
        """Name it.

        :param database: path of a SQLite file, or a SQLAlchemy URL
        :param timeout_s: how long to wait while another process writes
        :param debuginfod: which servers are asked for what it lacks; ``None``: none
        :param packages: whose signatures count; ``None``: none is checked
        """
        self._name = str(database)
        self._timeout_s = timeout_s
        self._opening = threading.Lock()
        self._opened: Store | None = None
        self._failed: CasError | None = None
        self._failed_until_s = 0.0
        self._debuginfod = debuginfod or DebuginfodRules()
        self._packages = packages or PackageRules()

    @classmethod
    def of(cls, config: Config) -> Catalogue:
        """The configured one."""
        return cls(config.database, debuginfod=config.debuginfod, packages=config.packages)

    @cached_property
    def debuginfod(self) -> Debuginfod:
        """The servers that are asked for what no package has."""
        from cas.catalogue.extraction.debuginfod import (
            Debuginfod,  # http and TLS take their time to load
        )

        is_asked = self._packages.signatures != "require"  # nobody signs what a server sends
        return Debuginfod(self._debuginfod if is_asked else DebuginfodRules())

    @property
    def name(self) -> str:
        """Where it is: a path, or a URL without its secrets."""
        if "://" not in self._name:
            return self._name
        from cas.database.connection import shown, url_of

        return shown(url_of(self._name))

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

        Others see the whole of it or nothing, and wait for nothing; an interrupted run has lost
        nothing. A file is read again when its size, time of modification or inode has changed.

        :param kernels: directory that is searched, symbolic links followed
        :raises ConfigError: the expression is invalid, or there is no such directory
        :raises TryAgain: the directory cannot be read, or is suddenly empty
        """
        from cas.catalogue.building.build import build  # only an administrator's process needs it

        return build(self._store(), kernels, rules, progress)

    def find(
        self,
        dump: Dump,
        *,
        cache: Path | None = None,
        root: Path = _ROOT,
        progress: Progress | None = None,
    ) -> Match:
        """The kernel that crashed: installed here, extracted before, in a package, or on a server.

        A build-id decides where the dump has one, else the banner, else release and build time.

        :param cache: directory of `extract`; for what is in it SQLAlchemy is not loaded. Without
            it no debuginfod server is asked: what it sends would have no place
        :param root: where the file system begins; another one in tests
        :raises KernelNotFound: there is none
        :raises AmbiguousKernel: there are several, and the dump does not tell them apart
        :raises PackageNotTrusted: nobody vouches for its package, and the configuration demands it
        """
        kernel = installed.find_installed(dump, root)
        if kernel is not None:
            return _by_build_id(kernel, "installed on this machine")
        return self._vouched(self._find(dump, cache, progress or Silent()))

    def find_instead(
        self,
        error: CasError,
        dump: Dump,
        *,
        cache: Path,
        progress: Progress,
        failed: Collection[Path],
    ) -> Match:
        """The dump's kernel from another package or a debuginfod server, after one was of no use.

        :param error: what is wrong with the package
        :param failed: all files that were tried
        :raises CasError: there is no other; says so beside what is wrong with the package
        """
        try:
            found = self._packaged(dump, progress, failed)
        except KernelNotFound:
            found = self.debuginfod.instead(error, dump, cache, progress)
        if found.kernel.source in failed:
            raise error
        return self._vouched(found)

    def prospects(
        self, dumps: Iterable[Dump], *, cache: Path, progress: Progress
    ) -> Iterator[bool | AmbiguousKernel]:
        """For each dump, whether `find` is worth the time that it takes to open packages.

        The database is asked once for all of them.

        :param cache: as for `find`; what a server sends is kept there already
        :return: in their order; the error where `find` would raise it without a look at packages
        """
        dumps = list(dumps)
        words = {word for dump in dumps for word in (dump.build_id, match.release_of(dump)) if word}
        shelf = self._store().kernels.shelf(words)
        for dump in dumps:
            try:
                yield self._may_find(dump, shelf, cache, progress)
            except AmbiguousKernel as error:
                yield error

    def record_job(self, job: JobRecord) -> None:
        """Add a job directory to the index of jobs, or replace what the index says of it."""
        self._store().jobs.put(job)

    def forget_job(self, directory: Path) -> None:
        """Take a job directory out of the index."""
        self._store().jobs.remove(directory)

    def seen(self, crash: Crashed) -> Seen:
        """Whether a crash happened before, by the other jobs in the index."""
        return self._store().jobs.seen(crash)

    def named_by(self, version: int) -> frozenset[Path]:
        """Directories of the jobs that have signatures of this version of the rules."""
        return self._store().jobs.named_by(version)

    def indexed(self) -> dict[Path, str]:
        """The verdicts of all jobs in the index, by directory."""
        return self._store().jobs.verdicts()

    def job_times(self) -> dict[Path, datetime]:
        """When all jobs in the index began, by directory."""
        return self._store().jobs.times()

    def packages(self) -> dict[Path, Known]:
        """What is remembered of every package file."""
        return self._store().packages.known()

    def bad_packages(self) -> list[tuple[Path, str]]:
        """The package files that cannot be used, with the reason."""
        return self._store().packages.bad()

    def kmod_packages(self, release: str, arch: str) -> list[Path]:
        """The packages that have kmods' files of a kernel, those with most first.

        Those that are not there now are left out.
        """
        return [
            path for path in self._store().packages.with_kmods(release, arch) if self._has(path)
        ]

    def kernels(self, pattern: str | None = None) -> list[CataloguedKernel]:
        """The kernels that a pattern means, by release; all without one.

        :param pattern: as a shell has them, for the release or the package's name; without
            wildcards, a part of either, or the beginning of a build-id
        """
        return self._store().kernels.listed(pattern)

    def counts(self) -> Counts:
        """How much is catalogued."""
        return self._store().packages.counts()

    def contested(self) -> tuple[Contest, ...]:
        """The build-ids of which different packages say different things."""
        return self._store().kernels.contested()

    def last_builds(self) -> tuple[BuildRecord, ...]:
        """The last runs of `build`, newest first."""
        return self._store().builds.last()

    def all_builds(self) -> tuple[BuildRecord, ...]:
        """The last runs of `build` and purges, and of the time before them one for each day."""
        return self._store().builds.all()

    def note_purge(self, *, is_answered: bool) -> None:
        """Remember that jobs were looked at for their age, and whether somebody was asked."""
        self._store().builds.note_purge(is_answered=is_answered)

    def forget_builds_after(self, time: datetime) -> None:
        """Forget runs of `build` that say they were after a time, as they do of a wrong clock."""
        self._store().builds.forget_after(time)

    def trust_of(self, path: Path, stamp: FileStamp | None = None) -> str | None:
        """What came of the check of a package's signature; ``None`` when there was none.

        :param stamp: of the file now; what was said of other content does not count
        """
        return self._store().packages.trust_of(path, stamp)

    def set_trust(self, path: Path, stamp: FileStamp, text: str) -> None:
        """Remember what came of the check of a package's signature.

        :param stamp: of the file that was checked; nothing is kept when another is catalogued
        """
        self._store().packages.set_trust(path, stamp, text)

    def doubt(self, package: Path) -> str | None:
        """The remark on a package that nobody vouches for; ``None``: somebody does, or need not.

        :raises PackageNotTrusted: nobody does, and the configuration demands it
        """
        if self._packages.signatures == "ignore":
            return None
        from cas.catalogue.trust.vouching import doubt  # and what it starts programs with

        return doubt(package, self._packages, self)

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

    def repair(self, now: datetime, progress: Progress) -> Repair | None:
        """Make a damaged database usable again: tables that are gone, or the file as a whole.

        :return: what was done; ``None`` when nothing is wrong
        :raises ConfigError: it is none of ours
        :raises DatabaseDamaged: a server's, which only its administrator can mend
        :raises TryAgain: it is locked or cannot be reached
        """
        from cas.database.repair import repair

        wait = partial(progress.say, "Waiting for another build of the catalogue")
        with self._opening:
            self._opened = self._failed = None
            return repair(self._name, self._timeout_s, now, wait)

    def damage(self) -> tuple[str, ...]:
        """What is wrong with the database file itself; nothing for a server's."""
        return self._store().damage()

    def lacking(self) -> frozenset[str]:
        """The tables that the database lacks."""
        return self._store().lacking()

    def _store(self) -> Store:
        with self._opening:
            if self._opened is None:
                self._opened = self._open()
            return self._opened

    def _open(self) -> Store:
        if self._failed is not None and time.monotonic() < self._failed_until_s:
            raise self._failed
        # SQLAlchemy takes 0.2 s to import, which not every run has to spend.
        from cas.database.connection import Database
        from cas.database.store import Store

        try:
            return Store(Database(self._name, self._timeout_s))
        except CasError as error:
            self._failed, self._failed_until_s = error, time.monotonic() + _FAILED_S
            raise

    def _hosts(self) -> HostRows:
        return self._store().hosts

    def _find(self, dump: Dump, cache: Path | None, progress: Progress) -> Match:
        cached = find_cached(dump, cache) if cache is not None else None
        try:
            claims = self._claims(dump) if cached is not None else Current()
        except (DatabaseDamaged, TryAgain) as error:
            if cached is None:
                raise
            remark = f"whether packages contradict the extracted kernel is not known: {error}"
            return replace(_by_build_id(cached, "extracted before"), remarks=(remark,))
        if cached is not None and not _is_confirmed(dump, cached, claims):
            cached = None
        if cached is not None and self._is_source(cached, claims):
            return _by_build_id(cached, "extracted before")
        try:
            return self._packaged(dump, progress)
        except KernelNotFound as error:
            if cached is not None:
                where = "extracted before, from a package that is gone or was changed"
                return _by_build_id(cached, where)
            return self.debuginfod.instead(error, dump, cache, progress)
        except DatabaseDamaged as error:  # the job waits until it is mended
            unknown = KernelNotFound(f"kernels cannot be looked up: {error}", hint=error.hint)
            return self.debuginfod.instead(unknown, dump, cache, progress)

    def _packaged(self, dump: Dump, progress: Progress, failed: Collection[Path] = ()) -> Match:
        """The dump's kernel in a catalogued file that is what its row says.

        :param failed: files that are not to be taken
        :raises KernelNotFound: there is none
        """
        look_into = partial(_examined, self._store(), progress)
        return _find_packaged(
            dump, self._store().kernels, look_into, partial(self._current, failed)
        )

    def _current(self, failed: Collection[Path], candidates: Sequence[Candidate]) -> Current:
        """What of the rows is still true; a file's new stamp is noted."""
        found = current(
            [one for one in candidates if one.kernel.source not in failed], self._packages.timeout_s
        )
        for renewal in found.renewals:
            with suppress(CasError):  # the next job asks the file once more
                self._store().packages.renew(renewal)
        return found

    def _claims(self, dump: Dump) -> Current:
        """What packages say of the dump's build-id."""
        build_id = dump.build_id or ""
        claims = read_claims(self._name, build_id)
        if claims is None:
            claims = self._store().kernels.with_build_id(build_id)
        return self._current((), claims)

    def _is_source(self, cached: Kernel, claims: Current) -> bool:
        """Whether an extracted kernel's source is still there, and still has it."""
        if any(one.kernel.source == cached.source for one in claims.candidates):
            return True
        return cached.source not in claims.changed and self._has(cached.source)

    def _has(self, path: Path) -> bool:
        """Whether there is a file that can be opened."""
        try:
            answering(path, self._packages.timeout_s)
        except OSError:
            return False
        return True

    def _may_find(self, dump: Dump, shelf: Lookup, cache: Path, progress: Progress) -> bool:
        if installed.find_installed(dump, _ROOT) is not None:
            return True
        cached = find_cached(dump, cache)
        if cached is not None and _is_confirmed(dump, cached, self._claims(dump)):
            return True
        try:
            _find_packaged(dump, shelf, _promise, partial(self._current, ()))
        except _Promising:
            return True
        except KernelNotFound:
            if not self._debuginfod.urls or self._packages.signatures == "require":
                return False
            return self.debuginfod.kernel(dump, cache, progress) is not None
        return True

    def _vouched(self, found: Match) -> Match:
        if self._packages.signatures == "ignore":
            return found
        from cas.catalogue.trust.vouching import vouched  # and what it starts programs with

        return vouched(found, self._packages, self)


Judge = Callable[[Sequence[Candidate]], Current]
"""Says which rows are still true."""


def _find_packaged(dump: Dump, rows: Lookup, look_into: match.Examine, judge: Judge) -> Match:
    claims = judge(rows.with_build_id(dump.build_id)) if dump.build_id is not None else Current()
    found = match.by_build_id(dump, claims.candidates)
    if found is not None:
        return replace(found, remarks=(*found.remarks, *claims.changed.values()))
    release = match.release_of(dump)
    candidates = rows.with_release(release) if release is not None else []
    there = judge([c for c in candidates if c.kernel.arch == dump.arch])
    changed = {**claims.changed, **there.changed}.values()
    unusable = (*there.gone, *changed)
    found = match.by_release(dump, there.candidates, look_into, unusable)
    return replace(found, remarks=(*found.remarks, *changed))


def _is_confirmed(dump: Dump, cached: Kernel, claims: Current) -> bool:
    """Whether no package contradicts a kernel that was extracted before.

    :raises AmbiguousKernel: packages contradict one another
    """
    kernels = [candidate.kernel for candidate in claims.candidates]
    match.require_agreement(dump, kernels)
    return not match.differing([cached, *kernels])


class _Promising(Exception):
    """A kernel may be the dump's, which only its package tells."""


def _promise(_: Candidate) -> Candidate:
    raise _Promising


def _examined(store: Store, progress: Progress, candidate: Candidate) -> Candidate:
    """The candidate with banner and build-id of its vmlinux, which are looked up only once.

    :raises PackageError: it is damaged, or has another build-id than its header says
    """
    kernel = candidate.kernel
    progress.say(f"Reading the banner of the kernel in {kernel.source.name}")
    banner, build_id = examine(kernel)
    if kernel.build_id is not None and build_id not in (None, kernel.build_id):
        raise PackageError(
            f"{kernel.source}: {kernel.member} has build-id {build_id}, "
            f"the package's header says {kernel.build_id}"
        )
    build_id = kernel.build_id or build_id
    store.kernels.set_identity(candidate.id, banner, build_id)
    return Candidate(candidate.id, replace(kernel, banner=banner, build_id=build_id), examined=True)


def _by_build_id(kernel: Kernel, where: str) -> Match:
    return Match(
        kernel,
        "build-id",
        f"build-id {kernel.build_id} in the dump and in the vmlinux of {kernel.source}, {where}",
    )

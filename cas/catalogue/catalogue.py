"""The catalogue: which package, file or server has the kernel of a dump."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cas.catalogue import match
from cas.catalogue.cache.entry import find_cached
from cas.catalogue.current import Current, current
from cas.catalogue.extraction import installed
from cas.catalogue.packages.examine import examine
from cas.choices import MatchEvidence
from cas.database.records import Candidate
from cas.database.store import Store
from cas.errors import (
    AmbiguousKernel,
    CasError,
    DatabaseDamaged,
    KernelNotFound,
    PackageError,
    TryAgain,
)
from cas.files.patient_calls import answering
from cas.model import Dump, Kernel, Match
from cas.progress import Progress, Silent
from cas.settings.config import Config
from cas.settings.rules import DebuginfodRules, PackageRules

if TYPE_CHECKING:
    from cas.catalogue.extraction.debuginfod import Debuginfod

_ROOT = Path("/")


class Lookup(Protocol):
    """Where kernels are looked up."""

    def with_build_id(self, build_id: str) -> list[Candidate]:
        """The kernels that have this build-id."""

    def with_release(self, release: str) -> list[Candidate]:
        """The kernels of this release, of any architecture."""


class Catalogue:
    """Finds the kernel that crashed, and what there is of its kmods."""

    def __init__(
        self,
        store: Store,
        *,
        debuginfod: DebuginfodRules | None = None,
        packages: PackageRules | None = None,
    ) -> None:
        """Look in a store.

        :param debuginfod: which servers are asked for what it lacks; ``None``: none
        :param packages: whose signatures count; ``None``: none is checked
        """
        self.store = store
        self._debuginfod = debuginfod or DebuginfodRules()
        self._packages = packages or PackageRules()

    @classmethod
    def of(cls, config: Config, store: Store | None = None) -> Catalogue:
        """The configured one.

        :param store: the configured database, where the caller needs it for more
        """
        return cls(
            store or Store.of(config), debuginfod=config.debuginfod, packages=config.packages
        )

    @cached_property
    def debuginfod(self) -> Debuginfod:
        """The servers that are asked for what no package has."""
        from cas.catalogue.extraction.debuginfod import (
            Debuginfod,  # http and TLS take their time to load
        )

        is_asked = self._packages.signatures != "require"  # nobody signs what a server sends
        return Debuginfod(self._debuginfod if is_asked else DebuginfodRules())

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
        return self.vouched(self._find(dump, cache, progress or Silent()))

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
        return self.vouched(found)

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
        shelf = self.store.kernels.shelf(words)
        for dump in dumps:
            try:
                yield self._may_find(dump, shelf, cache, progress)
            except AmbiguousKernel as error:
                yield error

    def kmod_packages(self, release: str, arch: str) -> list[Path]:
        """The packages that have kmods' files of a kernel, those with most first.

        Those that are not there now are left out.
        """
        return [path for path in self.store.packages.with_kmods(release, arch) if self._has(path)]

    def doubt(self, package: Path) -> str | None:
        """The remark on a package that nobody vouches for; ``None``: somebody does, or need not.

        :raises PackageNotTrusted: nobody does, and the configuration demands it
        """
        if self._packages.signatures == "ignore":
            return None
        from cas.catalogue.trust.vouching import doubt  # and what it starts programs with

        return doubt(package, self._packages, self.store)

    def vouched(self, found: Match) -> Match:
        """The match, with a remark where nobody vouches for its package.

        :raises PackageNotTrusted: nobody does, and the configuration demands it
        """
        remark = self.doubt(found.kernel.source)
        return found if remark is None else replace(found, remarks=(*found.remarks, remark))

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
        look_into = partial(_examined, self.store, progress)
        return _find_packaged(dump, self.store.kernels, look_into, partial(self._current, failed))

    def _current(self, failed: Collection[Path], candidates: Sequence[Candidate]) -> Current:
        """What of the rows is still true; a file's new stamp is noted."""
        found = current(
            [one for one in candidates if one.kernel.source not in failed], self._packages.timeout_s
        )
        for renewal in found.renewals:
            with suppress(CasError):  # the next job asks the file once more
                self.store.packages.renew(renewal)
        return found

    def _claims(self, dump: Dump) -> Current:
        """What packages say of the dump's build-id."""
        return self._current((), self.store.claims(dump.build_id or ""))

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
        MatchEvidence.BUILD_ID,
        f"build-id {kernel.build_id} in the dump and in the vmlinux of {kernel.source}, {where}",
    )

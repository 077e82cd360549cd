"""Where kernels and the files of their kmods come from: one class for each place.

`Catalogue` has them in a list, which is the order in which they are asked. A further place is a
further class, and its line in that list.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from cas.catalogue import match
from cas.catalogue.cache.entry import find_cached
from cas.catalogue.current import Current, current
from cas.catalogue.extraction import installed
from cas.catalogue.match import Lack, Promise
from cas.database.records import Candidate
from cas.database.store import Store
from cas.errors import (
    CasError,
    DatabaseDamaged,
    KernelNotFound,
    PackageError,
    PackageNotTrusted,
    TryAgain,
)
from cas.files.patient_calls import answering
from cas.frozen import dataclass
from cas.model.kernel import Kernel, KernelIdentity, Match
from cas.progress import Progress
from cas.settings.rules import DebuginfodRules, PackageRules

if TYPE_CHECKING:
    from cas.catalogue.extraction.debuginfod import Debuginfod
    from cas.catalogue.extraction.kmod_search import Search

ROOT = Path("/")


class Lookup(Protocol):
    """Where the rows of kernels are looked up."""

    def with_build_id(self, build_id: str) -> list[Candidate]:
        """The kernels that have this build-id."""

    def with_release(self, release: str) -> list[Candidate]:
        """The kernels of this release, of any architecture."""


@dataclass(frozen=True, slots=True)
class Sought:
    """A kernel that is looked for."""

    identity: KernelIdentity
    cache: Path | None
    """Directory of the extracted files; ``None``: what is or would be there is left out."""
    progress: Progress
    root: Path = ROOT
    """Where the file system begins; another one in tests."""
    failed: Collection[Path] = ()
    """Files that proved to be of no use."""
    shelf: Lookup | None = None
    """Rows that were read for many dumps at once. With them no package is opened: where its
    content would decide, the answer is a `Promise`."""


class Supplier:
    """A place that may have kernels, files of their kmods, or both."""

    needs_vouching: ClassVar[bool] = True
    """What it gives is looked at for a signature, where the configuration wants that."""

    def kernel(self, sought: Sought) -> Match | Promise | Lack:
        """The kernel that crashed.

        :raises AmbiguousKernel: there are several, and the dump does not tell them apart
        """
        del sought
        return Lack()

    def kmods(self, search: Search) -> None:
        """Take what there is of the kmods that are lacking."""


class InstalledKernels(Supplier):
    """What this machine has for its own kernels; its package manager has checked it."""

    needs_vouching = False

    def kernel(self, sought: Sought) -> Match | Lack:
        """The installed vmlinux with the dump's build-id."""
        kernel = installed.find_installed(sought.identity, sought.root)
        return Lack() if kernel is None else match.by_vmlinux(kernel, "installed on this machine")


class InstalledKmods(Supplier):
    """Files of kmods on this machine, also of kernels of which it has no vmlinux.

    They are asked for after packages: most have no debug information, and compressed ones have to
    be unpacked into the cache.
    """

    def __init__(self, root: Path = ROOT) -> None:
        """Name where the file system begins."""
        self._root = root

    def kmods(self, search: Search) -> None:
        """Use them in place, but for compressed ones."""
        search.look_installed(self._root)


class Packages(Supplier):
    """The catalogued files, as far as they are still what their rows say."""

    def __init__(
        self, store: Store, rules: PackageRules, doubt: Callable[[Path], str | None]
    ) -> None:
        """Nothing is looked up yet.

        :param doubt: the remark on a package that nobody vouches for; raises `PackageNotTrusted`
        """
        self._store = store
        self._rules = rules
        self._doubt = doubt

    def kernel(self, sought: Sought) -> Match | Promise | Lack:
        """The kernel with the dump's build-id, else the one of its release that its words confirm.

        What is remarked names files that changed since they were catalogued.
        """
        identity = sought.identity
        try:
            claims, shelf = Current(), sought.shelf
            if identity.build_id is not None:
                look_up = shelf.with_build_id if shelf else self._store.claims
                claims = self._still_true(look_up(identity.build_id), sought.failed)
            found: Match | Promise | Lack | None = match.by_build_id(identity, claims.candidates)
            changed = dict(claims.changed)
            if found is None:
                in_release = shelf.with_release if shelf else self._store.of_release
                release = match.release_of(identity)
                of_release = in_release(release) if release is not None else []
                of_arch = [one for one in of_release if one.kernel.arch == identity.arch]
                there = self._still_true(of_arch, sought.failed)
                changed |= there.changed
                unusable = (*there.gone, *changed.values())
                look_into = None if sought.shelf else partial(self._looked_into, sought.progress)
                found = match.by_release(identity, there.candidates, look_into, unusable)
        except DatabaseDamaged as error:  # the job waits until it is mended
            unknown = f"kernels cannot be looked up: {error}"
            return Lack(KernelNotFound(unknown, hint=error.hint))
        if isinstance(found, Match):
            return replace(found, remarks=(*found.remarks, *changed.values()))
        return found

    def kmods(self, search: Search) -> None:
        """Open packages with kmods of that kernel, those with most first, as far as is needed."""
        if not search.is_worth_opening:
            return
        kernel = search.kernel
        try:
            packages = self._store.packages.with_kmods(kernel.release, kernel.arch)
        except (DatabaseDamaged, TryAgain) as error:
            search.remark_on_place(
                f"other packages with kernel modules cannot be looked up: {error}"
            )
            return
        search.open_others(
            package
            for package in packages
            if package != kernel.source
            and self._is_there(package)
            and self._may_be_used(package, search)
        )

    def kmod_builds(self, kernel: Kernel, kmods: Collection[str]) -> dict[str, str]:
        """A build of each kmod that a package has for that kernel, as its header says.

        :param kmods: names as the kernel spells them
        :raises CasError: packages cannot be looked up
        """
        from cas.catalogue.extraction.kmod_search import package_listing
        from cas.catalogue.packages import kmod_files

        found: dict[str, str] = {}
        for package in self._store.packages.with_kmods(kernel.release, kernel.arch):
            lacking = set(kmods) - set(found)
            if not lacking:
                break
            if package == kernel.source or not self._is_there(package):
                continue
            with suppress(PackageError, PackageNotTrusted):
                self._doubt(package)
                files = package_listing(package).files
                paths = kmod_files.of_kernel(kernel, files)
                for kmod, named in kmod_files.ranked(paths, lacking).items():
                    for build_id in (files[each.path].build_id for each in named):
                        if build_id is not None:
                            found.setdefault(kmod, build_id)
        return found

    def claims(self, build_id: str) -> Current:
        """What they say of a build-id; SQLAlchemy is not loaded for that."""
        return self._still_true(self._store.claims(build_id), ())

    def have_still(self, kernel: Kernel, claims: Current) -> bool:
        """Whether the file that a kernel was extracted from is there, and still has it."""
        if any(one.kernel.source == kernel.source for one in claims.candidates):
            return True
        return kernel.source not in claims.changed and self._is_there(kernel.source)

    def _still_true(self, candidates: Sequence[Candidate], failed: Collection[Path]) -> Current:
        """What of the rows is still true; a file's new stamp is noted."""
        usable = [one for one in candidates if one.kernel.source not in failed]
        found = current(usable, self._rules.timeout_s)
        for renewal in found.renewals:
            with suppress(CasError):  # the next job asks the file once more
                self._store.packages.renew_stamp(renewal)
        return found

    def _looked_into(self, progress: Progress, candidate: Candidate) -> Candidate:
        """The candidate with banner and build-id of its vmlinux, which are looked up only once.

        :raises PackageError: it is damaged, or has another build-id than its header says
        """
        from cas.catalogue.packages.examine import examine  # and how each kind is read

        kernel = candidate.kernel
        progress.say(f"Reading the banner of the kernel in {kernel.source.name}")
        banner, build_id = examine(kernel)
        if kernel.build_id is not None and build_id not in (None, kernel.build_id):
            raise PackageError(
                f"{kernel.source}: {kernel.member} has build-id {build_id}, "
                f"the package's header says {kernel.build_id}"
            )
        build_id = kernel.build_id or build_id
        self._store.kernels.set_identity(candidate.id, banner, build_id)
        kernel = replace(kernel, banner=banner, build_id=build_id)
        return Candidate(candidate.id, kernel, examined=True)

    def _is_there(self, path: Path) -> bool:
        """Whether there is a file that can be opened."""
        try:
            answering(path, self._rules.timeout_s)
        except OSError:
            return False
        return True

    def _may_be_used(self, package: Path, search: Search) -> bool:
        try:
            remark = self._doubt(package)
        except PackageNotTrusted as error:
            search.remark_on_place(str(error))
            return False
        if remark is not None:
            search.remark_on_place(remark)
        return True


class Extracted(Supplier):
    """What earlier jobs have extracted, unless packages contradict it.

    Its kmods need no look here: every search begins with them.
    """

    def __init__(self, packages: Packages) -> None:
        """Nothing is looked up yet."""
        self._packages = packages

    def kernel(self, sought: Sought) -> Match | Promise | Lack:
        """The extracted kernel; where its package is gone, the same out of another one first.

        That one has its kmods, too.
        """
        cached = find_cached(sought.identity, sought.cache) if sought.cache else None
        if cached is None:
            return Lack()
        try:
            claims = self._packages.claims(sought.identity.build_id or "")
        except (DatabaseDamaged, TryAgain) as error:
            remark = f"whether packages contradict the extracted kernel is not known: {error}"
            return replace(match.by_vmlinux(cached, "extracted before"), remarks=(remark,))
        kernels = [candidate.kernel for candidate in claims.candidates]
        match.require_agreement(sought.identity, kernels)
        if match.differing([cached, *kernels]):
            return Lack()
        if self._packages.have_still(cached, claims):
            return match.by_vmlinux(cached, "extracted before")
        found = self._packages.kernel(sought)
        if isinstance(found, Lack):
            where = "extracted before, from a package that is gone or was changed"
            return match.by_vmlinux(cached, where)
        return found


class Servers(Supplier):
    """The debuginfod servers of the configuration; by default there are none."""

    def __init__(self, rules: DebuginfodRules) -> None:
        """None is asked yet."""
        self._rules = rules

    @cached_property
    def _debuginfod(self) -> Debuginfod:
        """What they said in this run."""
        from cas.catalogue.extraction.debuginfod import Debuginfod  # http and TLS load slowly

        return Debuginfod(self._rules)

    def kernel(self, sought: Sought) -> Match | Lack:
        """The kernel with the dump's build-id, fetched into the cache.

        :raises DiskFull: the cache has no room for it
        """
        if not self._rules.urls or sought.cache is None:
            return Lack()
        found = self._debuginfod.kernel(sought.identity, sought.cache, sought.progress)
        if found is None:
            return Lack(asked=self._debuginfod.answers(sought.identity.build_id))
        return found

    def kmods(self, search: Search) -> None:
        """Fetch those of which the dump names the build-id."""
        if self._rules.urls:
            search.ask_servers(self._debuginfod)

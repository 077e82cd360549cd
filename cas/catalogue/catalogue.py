"""The catalogue: which package, file or server has the kernel of a dump."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cas.catalogue import match
from cas.catalogue.match import Lack, Promise
from cas.catalogue.suppliers import (
    ROOT,
    Extracted,
    InstalledKernels,
    InstalledKmods,
    Packages,
    Servers,
    Sought,
    Supplier,
)
from cas.database.store import Store
from cas.errors import AmbiguousKernel, CasError, KernelMismatch, PackageError
from cas.model.kernel import KernelIdentity, Match
from cas.progress import Progress, Silent
from cas.settings.config import Config
from cas.settings.rules import DebuginfodRules, PackageRules

if TYPE_CHECKING:
    from cas.catalogue.extraction.extract import Extraction
    from cas.catalogue.extraction.kmod_cache import Wanted
    from cas.catalogue.extraction.kmod_search import Found


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
        self._rules = packages or PackageRules()
        self._packages = catalogued = Packages(store, self._rules, self.doubt)
        asks_servers = self._rules.signatures != "require"  # nobody signs what a server sends
        servers = debuginfod if asks_servers and debuginfod else DebuginfodRules()
        self.suppliers: tuple[Supplier, ...] = (
            InstalledKernels(),
            Extracted(catalogued),
            catalogued,
            InstalledKmods(),
            Servers(servers),
        )
        """Where kernels and kmods are looked for, in this order."""

    @classmethod
    def of(cls, config: Config, store: Store | None = None) -> Catalogue:
        """The configured one.

        :param store: the configured database, where the caller needs it for more
        """
        return cls(
            store or Store.of(config), debuginfod=config.debuginfod, packages=config.packages
        )

    def find(
        self,
        identity: KernelIdentity,
        *,
        cache: Path | None = None,
        root: Path = ROOT,
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
        found = self._search(Sought(identity, cache, progress or Silent(), root))
        if isinstance(found, Match):
            return found
        error = found.error if isinstance(found, Lack) else None
        raise _with_answers(error or match.not_found(identity), found)

    def extract(
        self, sought: Sought, found: Match, kmods: Iterable[str], leases: ExitStack
    ) -> tuple[Match, Extraction]:
        """The vmlinux of a match, with the files of some kmods that come with it.

        Where the file of the match proves to be of no use, that is told, and the kernel is looked
        for once more without it.

        :param sought: with a cache
        :param found: what `find` gave
        :param kmods: names
        :param leases: until its end the extracted files stay in the cache
        :return: the match that served in the end, and its files
        :raises CasError: there is no other file; says so beside what is wrong with the last one
        :raises DiskFull: the cache has no room for it
        """
        from cas.catalogue.cache import lease
        from cas.catalogue.extraction import extract  # and its decompressors

        assert sought.cache is not None  # noqa: S101  what is extracted has a place
        cache, names = sought.cache, tuple(kmods)
        while True:
            leases.enter_context(lease.held(cache, found.kernel))
            try:
                return found, extract.extract(found, names, cache, sought.progress)
            except (KernelMismatch, PackageError) as error:
                sought = replace(sought, failed=(*sought.failed, found.kernel.source))
                other = self._search(sought)
                if not isinstance(other, Match):
                    raise _with_answers(error, other) from error
                sought.progress.warn(str(error))
                found = other

    def prospects(
        self, identities: Iterable[KernelIdentity], *, cache: Path, progress: Progress
    ) -> Iterator[bool | AmbiguousKernel]:
        """For each dump, whether `find` is worth the time that it takes to open packages.

        The database is asked once for all of them.

        :param cache: as for `find`; what a server sends is kept there already
        :return: in their order; the error where `find` would raise it without a look at packages
        """
        identities = list(identities)
        words = {
            word
            for identity in identities
            for word in (identity.build_id, match.release_of(identity))
            if word
        }
        shelf = self.store.kernels.shelf(words)
        for identity in identities:
            try:
                found = self._search(Sought(identity, cache, progress, shelf=shelf))
                yield not isinstance(found, Lack)
            except AmbiguousKernel as error:
                yield error

    def kmods(self, found: Match, wanted: Wanted, *, cache: Path, progress: Progress) -> Found:
        """Files of exactly the wanted kmods of a kernel, from wherever one is.

        Raises what `cas.catalogue.extraction.extract.extract_kmods` raises.

        :param wanted: their build-ids; hyphens and underscores in names mean the same
        """
        from cas.catalogue.extraction.extract import extract_kmods  # and its decompressors

        return extract_kmods(found, wanted, cache, progress, self.suppliers)

    def guessed_kmods(
        self, match: Match, wanted: Wanted, there: Found, *, cache: Path, progress: Progress
    ) -> Found:
        """Files of kmods that are lacking and whose build nobody knows, of whatever a package has.

        Whoever uses them has to see whether they are of the right build.

        :param wanted: their build-ids, by names as the kernel spells them
        :param there: what `kmods` gave
        """
        from cas.catalogue.extraction.kmod_search import Found

        unknown = [kmod for kmod in wanted if wanted[kmod] is None and kmod not in there.debuginfo]
        if not unknown:  # and the database need not be opened for it
            return Found()
        try:
            builds = self._packages.kmod_builds(match.kernel, unknown)
            if builds:
                return self.kmods(match, builds, cache=cache, progress=progress)
        except CasError as error:
            said = f"other packages with kernel modules cannot be looked up: {error}"
            return Found(remarks=(said,))
        return Found()

    def doubt(self, package: Path) -> str | None:
        """The remark on a package that nobody vouches for; ``None``: somebody does, or need not.

        :raises PackageNotTrusted: nobody does, and the configuration demands it
        """
        if self._rules.signatures == "ignore":
            return None
        from cas.catalogue.trust.vouching import doubt  # and what it starts programs with

        return doubt(package, self._rules, self.store)

    def vouched(self, found: Match) -> Match:
        """The match, with a remark where nobody vouches for its package.

        :raises PackageNotTrusted: nobody does, and the configuration demands it
        """
        remark = self.doubt(found.kernel.source)
        return found if remark is None else replace(found, remarks=(*found.remarks, remark))

    def _search(self, sought: Sought) -> Match | Promise | Lack:
        """What the first supplier says that has it.

        :return: where nobody has it, why: the first error, and what servers answered
        """
        lack = Lack()
        for supplier in self.suppliers:
            found = supplier.kernel(sought)
            if isinstance(found, Lack):
                lack = Lack(lack.error or found.error, lack.asked + found.asked)
            elif isinstance(found, Promise):
                return found
            elif found.kernel.source not in sought.failed:
                is_checked = supplier.needs_vouching and sought.shelf is None
                return self.vouched(found) if is_checked else found
        return lack


def _with_answers(error: CasError, found: Promise | Lack) -> CasError:
    """The error, of the same class, that says which servers were asked."""
    if isinstance(found, Promise) or not found.asked:
        return error
    return type(error)(f"{error}; asked debuginfod: {'; '.join(found.asked)}", hint=error.hint)

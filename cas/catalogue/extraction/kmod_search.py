"""The files of exactly the kernel modules that were loaded, wherever they are.

They are sought in the cache, then with the kernel itself: in its own package, or beside its
vmlinux. Then the suppliers of the catalogue are asked, in their order. A file is taken only if its
build-id is the one that the dump names. Where the dump names none, only what comes with the kernel
itself is believed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cas.catalogue.cache.entry import Entry
from cas.catalogue.cache.placing import make_directory
from cas.catalogue.extraction import installed
from cas.catalogue.extraction.kmod_cache import Held, Shelf, Wanted, is_of_build, read_kmod_file
from cas.catalogue.extraction.unpacking import (
    OtherBuild,
    Target,
    Unfit,
    Unpacking,
    kmod_target,
    store_file,
)
from cas.catalogue.packages import kmod_files
from cas.catalogue.packages.archive import Listing
from cas.catalogue.packages.kmod_files import NAME, KmodFile
from cas.errors import PackageError, plain_reason
from cas.files.patient_calls import answering
from cas.files.permission import unread
from cas.frozen import dataclass
from cas.model.kernel import Kernel
from cas.progress import Progress, Silent
from cas.text import count, short_line

if TYPE_CHECKING:
    from cas.catalogue.extraction.debuginfod import Debuginfod

_SHOWN = 80
"""Characters of a kmod's name in a sentence."""


class KmodSupplier(Protocol):
    """A place that may have kmods which did not come with the kernel."""

    def kmods(self, search: Search) -> None:
        """Take what there is of the kmods that are lacking."""


@dataclass(frozen=True, slots=True)
class Found:
    """Kernel modules' files."""

    files: Mapping[str, Path] = field(default_factory=dict)
    """By the names that were asked for; one that there is no file of is left out."""
    debuginfo: frozenset[str] = frozenset()
    """The names of those whose file has debug information."""
    remarks: tuple[str, ...] = ()
    """Why some were left out, e.g. files of another build."""

    @property
    def debug_files(self) -> dict[str, Path]:
        """Those that have debug information."""
        return {name: path for name, path in self.files.items() if name in self.debuginfo}


class Search:
    """What was found so far of the kmods of one kernel."""

    def __init__(self, kernel: Kernel, wanted: Wanted, cache: Path, progress: Progress) -> None:
        """Look into the cache.

        :param wanted: by names in any spelling
        """
        self.kernel = kernel
        self.entry = Entry(cache, kernel)
        self.shelf = Shelf(self.entry)
        self._progress = progress
        self._names = {kmod_files.kernel_spelling(name): name for name in wanted}
        self._wanted = {kmod: wanted[name] for kmod, name in self._names.items()}
        self._held: dict[str, Held] = {}
        self._remarks: dict[str, list[str]] = {}
        self._notes: list[str] = []
        self.look_again()

    @property
    def lacking(self) -> dict[str, str | None]:
        """Kmods of which no debug information was found yet, in the kernel's spelling."""
        return {
            kmod: build_id
            for kmod, build_id in self._wanted.items()
            if kmod not in self._held or not self._held[kmod].has_debuginfo
        }

    def look_again(self) -> None:
        """Take what the cache has."""
        for kmod, file in self.shelf.best_files(self.lacking).items():
            self._take_kmod(kmod, file)

    def outcome(self) -> Found:
        """All that was found, and why the rest was not."""
        return Found(
            {self._names[kmod]: file.path for kmod, file in self._held.items()},
            frozenset(self._names[kmod] for kmod, file in self._held.items() if file.has_debuginfo),
            tuple(
                f"{short_line(self._names[kmod], _SHOWN)}: {'; '.join(dict.fromkeys(reasons))}"
                for kmod, reasons in self._remarks.items()
                if kmod in self.lacking
            )
            + tuple(self._notes),
        )

    def remark_on_place(self, remark: str) -> None:
        """Have a remark on a place where was looked, told with all that was found."""
        self._notes.append(remark)

    def sought_in(self, source: Path) -> dict[str, str | None]:
        """The lacking kmods that a package may have, as far as is remembered of it."""
        lacking, offer = self._believed_in(source), self.shelf.noted_offer(str(source))
        if offer is None:
            return lacking
        for kmod, build_id in lacking.items():
            self._remark_other_builds(kmod, build_id, offer.get(kmod, ()), source)
        return {
            kmod: build_id
            for kmod, build_id in lacking.items()
            if {None, build_id} & set(offer.get(kmod, ())) or (build_id is None and kmod in offer)
        }

    def targets(self, source: Path, listing: Listing) -> dict[str, Target]:
        """Members of a package that may be the lacking kmods' files, and where they go."""
        lacking = self._believed_in(source)
        targets = {}
        for kmod, files in self._kmod_files(listing, lacking).items():
            build_id = lacking[kmod]
            if build_id is None:
                to_try = files[:1]
            else:  # one that is known to be of the loaded build, else all unknown ones
                by_link = [file for file in files if listing.files[file.path].build_id == build_id]
                to_try = by_link[:1] or [
                    file for file in files if listing.files[file.path].build_id is None
                ]
            for file in to_try:
                path = self.shelf.path_for(file.plain_name, build_id)
                digest = listing.files[file.path].digest
                targets[file.path] = kmod_target(path, build_id, digest, packed=file.packed)
        return targets

    def note_content(self, source: Path, listing: Listing, unfit: Mapping[str, Unfit]) -> None:
        """Remember what a package has, after all of it that may be of use was taken."""
        self.look_again()
        offer: dict[str, list[str | None]] = {}
        paths = kmod_files.of_kernel(self.kernel, listing.files)
        for kmod, files in self._kmod_files(listing, kmod_files.kmod_names(paths)).items():
            errors = [unfit.get(file.path) for file in files]
            offer[kmod] = [
                # empty: it was looked into, and has none
                error.build_id or ""
                if isinstance(error, OtherBuild)
                else listing.files[file.path].build_id
                for file, error in zip(files, errors, strict=True)
            ]
            self._remark_other_builds(kmod, self._wanted.get(kmod), offer[kmod], source)
            for error in errors:
                if error is not None and not isinstance(error, OtherBuild):
                    self._remark(kmod, f"{source.name}: {short_line(str(error), 200)}")
        # a bare one that was taken: debug information is not sought here again
        bare = self._held.keys() & self.lacking.keys()
        self.shelf.remember(str(source), {k: ids for k, ids in offer.items() if k not in bare})

    def open_package(self, source: Path) -> None:
        """Take what a package has of the lacking kmods, in one pass.

        :raises PackageError: it is damaged or gone
        """
        if not self.sought_in(source):
            return
        with self.entry.locked(self._progress):
            self.look_again()  # another process may have been faster
            if not self.sought_in(source):
                return
            listing = package_listing(source)
            unpacking = Unpacking(source, self.entry, self.targets(source, listing))
            if unpacking.targets:
                what = count(len(unpacking.targets), "kernel module")
                text = f"Extracting {what} of {self.kernel.release}"
                with self._progress.bar(text, listing.payload_bytes) as advance:
                    unpacking.run(listing, advance)
            self.note_content(source, listing, unpacking.unfit)

    @property
    def is_worth_opening(self) -> bool:
        """Whether another package may have what is lacking: of a build that the dump names."""
        return any(self.lacking.values())

    def open_others(self, packages: Iterable[Path]) -> None:
        """Take what is lacking from packages that are not the kernel's own; a failure is told.

        :param packages: taken one by one, as long as one more is worth it
        :raises DiskFull: the cache has no room
        """
        others = iter(packages)
        while self.is_worth_opening and (package := next(others, None)):
            try:
                self.open_package(package)
            except PackageError as error:
                self._progress.warn(str(error))

    def look_with_kernel(self) -> None:
        """Take what came with the kernel itself: in its package, or beside its vmlinux.

        :raises PackageError: the package is damaged or gone
        """
        if self.kernel.member is None:
            self.look_installed(None)
        elif self.lacking:
            self.open_package(self.kernel.source)

    def _believed_in(self, source: Path) -> dict[str, str | None]:
        """The lacking kmods for which a package's word is enough."""
        if source == self.kernel.source:
            return self.lacking
        return {kmod: build_id for kmod, build_id in self.lacking.items() if build_id is not None}

    def _kmod_files(self, listing: Listing, kmods: Collection[str]) -> dict[str, list[KmodFile]]:
        return kmod_files.ranked(kmod_files.of_kernel(self.kernel, listing.files), kmods)

    def look_installed(self, root: Path | None) -> None:
        """Take what stands on this machine; it is used in place unless it is compressed.

        :param root: where the file system begins; ``None``: only what is beside the kernel counts
        """
        paths = map(str, installed.kmod_paths(self.kernel, root)) if self.lacking else ()
        for kmod, files in kmod_files.ranked(paths, self.lacking).items():
            build_id = self._wanted[kmod]
            for file in files:
                path = Path(file.path)
                if build_id is None and not installed.is_beside(self.kernel, path):
                    continue
                if file.packed and kmod in self._held:
                    continue
                there = self._unpack_installed(kmod, file) if file.packed else read_kmod_file(path)
                if there is not None and is_of_build(there, build_id):
                    self._take_kmod(kmod, there)

    def _unpack_installed(self, kmod: str, file: KmodFile) -> Held | None:
        """An installed file that is compressed, in the cache."""
        build_id = self._wanted[kmod]
        path = self.shelf.path_for(file.plain_name, build_id)
        try:
            with self.entry.locked(self._progress), Path(file.path).open("rb", 0) as stream:
                content = iter(partial(stream.read, 1 << 20), b"")
                store_file(self.entry, kmod_target(path, build_id, None, packed=True), 0, content)
        except OtherBuild as error:
            self._remark_other_builds(kmod, build_id, [error.build_id], Path(file.path))
            return None
        except (Unfit, OSError) as error:
            self._remark(kmod, f"{file.path}: {short_line(plain_reason(error), 200)}")
            return None
        return read_kmod_file(path)

    def ask_servers(self, servers: Debuginfod) -> None:
        """Have debuginfod servers send what is lacking and of a build that the dump names.

        :raises DiskFull: the cache has no room
        """
        for kmod, build_id in self.lacking.items():
            if build_id is None or not NAME.fullmatch(kmod):
                continue
            with self.entry.locked(self._progress):
                path = self.shelf.path_for(f"{kmod}.ko.debug", build_id)
                make_directory(path.parent)
                fetched = servers.kmod(kmod, build_id, path, self._progress, entry=self.entry)
            there = read_kmod_file(fetched) if fetched is not None else None
            if there is not None and is_of_build(there, build_id):
                self._take_kmod(kmod, there)

    def _take_kmod(self, kmod: str, file: Held) -> None:
        if kmod not in self._held or file.has_debuginfo > self._held[kmod].has_debuginfo:
            self._held[kmod] = file

    def _remark_other_builds(
        self, kmod: str, loaded: str | None, there: Sequence[str | None], source: Path
    ) -> None:
        """Remark that a source has other builds only."""
        if loaded is not None and there and not {loaded, None} & set(there):
            builds = ", ".join(build_id or "none" for build_id in there)
            self._remark(kmod, f"build-id {loaded} was loaded, {source.name} has {builds}")

    def _remark(self, kmod: str, reason: str) -> None:
        self._remarks.setdefault(kmod, []).append(reason)


def in_cache(kernel: Kernel, wanted: Wanted, cache: Path) -> Found:
    """What of the wanted kmods the cache has; nothing is extracted."""
    return Search(kernel, wanted, cache, Silent()).outcome()


def package_listing(source: Path) -> Listing:
    """What a package lists.

    :raises PackageError: it is damaged or gone
    """
    from cas.catalogue.packages import package_kinds  # and how each kind is read

    try:
        answering(source)
        return package_kinds.listing(source)
    except OSError as error:
        raise PackageError(unread(source, error)) from error

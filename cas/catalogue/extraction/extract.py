"""vmlinux and kernel modules, out of a package and into the cache: streamed, in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

from cas.catalogue.cache.entry import verify_vmlinux
from cas.catalogue.extraction.kmod_cache import Wanted
from cas.catalogue.extraction.kmod_search import Found, KmodSupplier, Search, package_listing
from cas.catalogue.extraction.unpacking import Target, Unpacking
from cas.frozen import dataclass
from cas.model.kernel import Kernel, Match
from cas.progress import Progress
from cas.text import count


@dataclass(frozen=True, slots=True)
class Extraction:
    """What was asked for."""

    vmlinux: Path
    found: Found
    """Files of the kmods; the builds that were loaded were not known yet."""

    @property
    def kmods(self) -> Mapping[str, Path]:
        """By the names that were asked for; a kmod that there is no file of is left out."""
        return self.found.files


def extract_vmlinux(match: Match, cache: Path, progress: Progress) -> Path:
    """The vmlinux of a match.

    :raises KernelMismatch: the package holds another one than its header says
    :raises PackageError: the package is damaged or gone
    :raises DiskFull: the cache has no room for it
    """
    return extract(match, (), cache, progress).vmlinux


def extract_kmods(
    match: Match,
    wanted: Wanted,
    cache: Path,
    progress: Progress,
    suppliers: Iterable[KmodSupplier] = (),
) -> Found:
    """Files of exactly the wanted kmods, by the names they were asked for.

    :param wanted: their build-ids; hyphens and underscores in names mean the same
    :param suppliers: who is asked in turn for what comes not with the kernel
    :raises PackageError: the kernel's own package is damaged or gone
    :raises DiskFull: the cache has no room for them
    """
    search = Search(match.kernel, wanted, cache, progress)
    search.look_with_kernel()
    for supplier in suppliers:
        if search.lacking:
            supplier.kmods(search)
    return search.outcome()


def extract(match: Match, names: Iterable[str], cache: Path, progress: Progress) -> Extraction:
    """The vmlinux of a match and the files of the named kmods, in one pass over the package.

    The kmods' builds are not known here: who uses the files compares them.
    Raises what `extract_vmlinux` and `extract_kmods` raise.
    """
    kernel = match.kernel
    search = Search(kernel, dict.fromkeys(names), cache, progress)
    if kernel.member is None:
        verify_vmlinux(kernel, kernel.source)  # it may be changed at any time
        search.look_with_kernel()
        return Extraction(kernel.source, search.outcome())
    if not _is_complete(kernel, search):
        with search.entry.locked(progress):
            search.look_again()  # another process may have been faster
            if not _is_complete(kernel, search):
                _extract_lacking(kernel, search, progress)
    return Extraction(search.entry.vmlinux, search.outcome())


def _is_complete(kernel: Kernel, search: Search) -> bool:
    return search.entry.has_vmlinux() and not search.sought_in(kernel.source)


def _extract_lacking(kernel: Kernel, search: Search, progress: Progress) -> None:
    entry, source = search.entry, kernel.source
    needs_vmlinux = not entry.has_vmlinux()
    listing = package_listing(source)
    targets = search.targets(source, listing) if search.lacking else {}
    what = "vmlinux" if needs_vmlinux else count(len(targets), "kernel module")
    if needs_vmlinux and kernel.member is not None:
        in_list = listing.files.get(kernel.member)
        digest = in_list.digest if in_list else None
        verify = partial(verify_vmlinux, kernel)
        targets[kernel.member] = Target(entry.vmlinux, verify, digest)
    unpacking = Unpacking(source, entry, targets)
    if targets:
        text = f"Extracting {what} of {kernel.release}"
        with progress.bar(text, listing.payload_bytes) as advance:
            unpacking.run(listing, advance)
    if needs_vmlinux:
        entry.remember_kernel()
    if search.lacking:
        search.note_content(source, listing, unpacking.unfit)

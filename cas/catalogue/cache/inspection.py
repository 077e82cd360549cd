"""Whether what the cache holds is what was extracted: every file, against its noted digest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from cas import elf
from cas.catalogue.cache import lease, limits, placing, seals, useless
from cas.catalogue.cache.entry import (
    GROWN,
    RECORDS,
    Entry,
    cache_entries,
    closed,
    flaw_of_vmlinux,
    is_entry_name,
    kernel_of,
    lock_file_of,
    read_seals,
    remove_unfinished,
    renew_seals,
    unfinished,
)
from cas.catalogue.cache.listing import visible_files
from cas.catalogue.cache.seals import Seal
from cas.catalogue.packages import kmod_files
from cas.errors import NotADump, NotPermitted
from cas.files.lease import IN_USE
from cas.frozen import dataclass

VMLINUX = "vmlinux"
_OURS = {VMLINUX, seals.RECORD, IN_USE, *RECORDS}

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in the cache that is not as it should be."""

    path: Path
    what: str
    is_ours: bool = True
    """It may be removed: it is extracted again when it is needed."""
    obstacle: Path | None = None
    """What keeps this user from looking into it."""


@dataclass(frozen=True, slots=True)
class _Look:
    """How closely is looked."""

    with_digests: bool
    advance: Advance = lambda _: None


def entry_flaws(cache: Path, *, with_digests: bool = True) -> Iterator[Fault]:
    """What of the entries cannot be used as it is; nothing is changed.

    :param with_digests: read every file; else sizes and build-ids must do
    """
    for entry in cache_entries(cache):
        if (why := closed(entry)) is not None:
            yield _closed(entry, why)
            continue
        yield from _unfinished(entry)
        yield from _changed_files(entry, _Look(with_digests))


def bytes_to_verify(cache: Path) -> int:
    """How much `verify` reads."""
    total = 0
    for entry in cache_entries(cache):
        if closed(entry) is None:
            for path in _sealable(entry):
                with suppress(OSError):
                    total += path.lstat().st_size
    return total


def verify(cache: Path, advance: Advance, *, repair: bool) -> Iterator[Fault]:
    """Recompute all digests; note those that were never noted.

    :param advance: told how many bytes were read
    :param repair: remove the wrong files of entries that nobody uses
    :raises ConfigError: the cache cannot be written
    """
    if repair:
        limits.finish_removals(cache)
    yield from _foreign_files(cache)
    for entry in cache_entries(cache):
        if (why := closed(entry)) is not None:
            yield _closed(entry, why)
            continue
        with lease.watched(entry):
            found = [*_unfinished(entry), *_changed_files(entry, _Look(True, advance))]
            # digests of files that were extracted before any were noted
            wrong = {fault.path for fault in found}
            sealed, new = read_seals(entry), {}
            for path in _sealable(entry):
                name = path.relative_to(entry).as_posix()
                if name in sealed or path in wrong:
                    continue
                try:
                    elf.build_id(path)
                except (OSError, NotADump):
                    continue
                new[name] = seals.sealed(path, advance)
            renew_seals(entry, new)
        if repair:
            found = [_repaired(entry, fault) for fault in found]
        yield from found
        for path in visible_files(entry):
            name = path.relative_to(entry).as_posix()
            if name not in _OURS and (
                path.parent == entry or kmod_files.parse_kmod_name(path.name) is None
            ):
                yield Fault(path, "is nothing that cas puts there", is_ours=False)


def _changed_files(entry: Path, look: _Look) -> Iterator[Fault]:
    """Files of an entry with another content than was extracted."""
    sealed = read_seals(entry)
    for path in _sealable(entry):
        name = path.relative_to(entry).as_posix()
        what = _not_as_sealed(path, sealed.get(name), look)
        if what is None and name == VMLINUX:
            what = _not_as_promised(entry)
        # another process may have replaced it while it was read
        if what is not None and sealed.get(name) == read_seals(entry).get(name):
            yield Fault(path, what)


def _not_as_sealed(path: Path, seal: Seal | None, look: _Look) -> str | None:
    if seal is None:
        return None
    try:
        size = path.lstat().st_size
        if size != seal.size_bytes:
            return f"has {size:,} bytes, {seal.size_bytes:,} were extracted"
        if look.with_digests and not seal.fits(path, look.advance):
            return "has another content than was extracted"
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None


def _not_as_promised(entry: Path) -> str | None:
    """What the vmlinux itself says against its entry."""
    try:
        flaw = flaw_of_vmlinux(entry)
    except NotADump as error:
        return f"its vmlinux cannot be read: {error}"
    if flaw is not None:
        return f"its vmlinux {flaw}"
    kernel = kernel_of(entry)
    if kernel is not None and not Entry(entry.parent, kernel).fits_kernel():
        return "its vmlinux is not the one that kernel.json names"
    return None


def _closed(entry: Path, why: NotPermitted) -> Fault:
    return Fault(entry, str(why).removeprefix(f"{entry} "), False, why.obstacle)


def _repaired(entry: Path, fault: Fault) -> Fault:
    try:
        with placing.writing_to(entry, 0), limits.not_being_filled(entry) as is_ours:
            if not is_ours:
                return Fault(fault.path, f"{fault.what}; it stays, the entry is being filled")
            with lease.unused(entry) as is_unused:
                if not is_unused:
                    return Fault(fault.path, f"{fault.what}; it stays, it is in use")
                remove_unfinished(entry)
                fault.path.unlink(missing_ok=True)
    except NotPermitted as error:  # somebody else's; the others are repaired
        return Fault(fault.path, f"{fault.what}; it stays: {error}", False, error.obstacle)
    return Fault(fault.path, f"{fault.what}; it was removed")


def _sealable(entry: Path) -> Iterator[Path]:
    if (entry / VMLINUX).is_file():
        yield entry / VMLINUX
    yield from visible_files(entry / "kmods")


def _unfinished(entry: Path) -> Iterator[Fault]:
    left = sorted(unfinished(entry))
    if not left:
        return
    try:
        with placing.writing_to(entry, 0), limits.not_being_filled(entry) as is_free:
            doomed = left if is_free else []
    except NotPermitted as error:  # the lock is somebody else's
        yield Fault(left[0], f"may be unfinished: {error}", False, error.obstacle)
        return
    for path in doomed:
        yield Fault(path, "was being extracted when a run was stopped")


def _foreign_files(cache: Path) -> Iterator[Fault]:
    """What lies in the cache and is none of its entries."""
    known = {
        GROWN,
        useless.DIRECTORY,
        *(lock_file_of(entry).name for entry in cache_entries(cache)),
    }
    for path in sorted(cache.glob("*")):
        name = path.name
        if limits.is_half_removed(path):
            yield Fault(path, "is half removed")
        elif name not in known and not is_entry_name(name.removesuffix(".lock")):
            yield Fault(path, "is nothing that cas puts there", is_ours=False)

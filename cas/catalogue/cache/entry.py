"""The directory of extracted files that all jobs share.

It has a directory for each kernel, named by its build-id: ``vmlinux``, ``kernel.json`` (where it
came from), ``kmods/``, ``kmods.json`` (see `cas.catalogue.extraction.kmod_cache`), ``digests.json``
(see `cas.catalogue.cache.seals`) and ``in-use`` (see `cas.catalogue.cache.lease`). A file there is
whole and verified, or it is not there.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cas import elf
from cas.catalogue.cache import placing, seals
from cas.catalogue.cache.seals import Seal
from cas.catalogue.packages import debug_info
from cas.errors import (
    CasError,
    KernelMismatch,
    NotADump,
    NotPermitted,
    PackageError,
    TryAgain,
)
from cas.files.permission import not_permitted
from cas.model.kernel import Kernel, KernelIdentity
from cas.progress import Progress
from cas.streams.flow import Piece

if TYPE_CHECKING:
    from filelock import FileLock

_LOCK_TIMEOUT_S = 1800
"""Longer than an extraction takes on a slow disk."""
_KERNEL_RECORD, _KMODS_RECORD = "kernel.json", "kmods.json"
_VMLINUX = "vmlinux"
RECORDS = (_KERNEL_RECORD, _KMODS_RECORD)
GROWN = ".grown"
"""A file of the cache, there when something was added since its limits were last looked at."""
_RECORD_LIMIT = 4 << 20
_MANY = 500
"""Kernels in a cache, of which one is looked for before anything is known: a tenth of a second."""
_BUILD_ID = re.compile(r"[0-9a-f]{8,128}")
_NO_BUILD_ID = "no-build-id-"
_NAME = re.compile(rf"{_BUILD_ID.pattern}|{_NO_BUILD_ID}[0-9a-f]{{40}}")


class Entry:
    """What the cache has of one kernel."""

    def __init__(self, cache: Path, kernel: Kernel) -> None:
        self._kernel = kernel
        self._cache = cache
        self._added: dict[str, Seal] = {}
        self._spoiled: set[Path] = set()
        self.directory = cache / key(kernel)
        self.vmlinux = self.directory / _VMLINUX
        self.kmods = self.directory / "kmods"

    @contextmanager
    def locked(self, progress: Progress) -> Iterator[None]:
        """Keep other processes from filling this entry; what a killed one left unfinished goes.

        Files that `has_vmlinux` or `sound` found to be spoiled go too, and a useless vmlinux.

        :raises TryAgain: another process has been at it for half an hour
        """
        from filelock import Timeout  # a warm cache needs no lock

        placing.make_directory(self.kmods)
        path = lock_file_of(self.directory)
        lock = new_lock(self.directory)
        with placing.writing_to(path, 0):
            try:
                try:
                    lock.acquire(timeout=0)
                except Timeout:
                    progress.say(f"Waiting for another job that extracts {self._kernel.release}")
                    lock.acquire(timeout=_LOCK_TIMEOUT_S)
            except Timeout as error:
                raise TryAgain(f"{path} has been locked for {_LOCK_TIMEOUT_S} s") from error
        try:
            placing.make_directory(self.kmods)  # somebody may have removed it until now
            remove_unfinished(self.directory)
            self._remove_unfit(progress)
            try:
                yield
            finally:
                self._note_added()
        finally:
            lock.release()

    def put(self, target: placing.Place, content: Iterable[Piece]) -> None:
        """Place a file of this entry, which is locked, and have its digest noted.

        Raises what `placing.place` raises.
        """
        sha256 = placing.place(target, content)
        with placing.writing_to(target.path, target.size_bytes):
            self._added[self._name_of(target.path)] = Seal.of(target.path, sha256)

    def has_vmlinux(self) -> bool:
        """Whether there is a vmlinux, it is the right one, and nobody has changed it.

        One whose source is not noted was put there by a process that was killed right then.

        :raises NotPermitted: the entry is somebody else's, who keeps it to himself
        """
        with placing.writing_to(self.directory, 0):
            is_noted = (self.directory / _KERNEL_RECORD).is_file()
        return is_noted and bool(self.sound([self.vmlinux])) and self.fits_kernel()

    def fits_kernel(self) -> bool:
        """Whether the vmlinux has the size, build-id and banner that it should have."""
        try:
            now = self.vmlinux.stat()
            if self._kernel.size_bytes not in (None, now.st_size):
                return False
            state = now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns
            _verify_once(self._kernel, self.vmlinux, state)
        except (OSError, CasError):
            return False
        # it may come from a package that promised another content than ours
        promised, noted = self._kernel.digest, kernel_of(self.directory)
        seal = read_seals(self.directory).get(self.vmlinux.name)
        known = [noted.digest if noted else None, f"{placing.OURS}:{seal.sha256}" if seal else None]
        return promised is None or not any(
            digest is not None
            and digest.partition(":")[0] == promised.partition(":")[0]
            and digest.lower() != promised.lower()
            for digest in known
        )

    def sound(self, paths: Iterable[Path]) -> set[Path]:
        """Those files of the entry that are there, and as they were put there.

        One that was put there before digests were noted counts as sound.
        """
        sound, spoiled = _judged(self.directory, paths)
        self._spoiled |= spoiled
        return sound

    def remember_kernel(self) -> None:
        """Note where the vmlinux came from."""
        self._note_added()
        record = dataclasses.asdict(self._kernel) | {"source": str(self._kernel.source)}
        _write_json(self.directory / _KERNEL_RECORD, record)

    def _remove_unfit(self, progress: Progress) -> None:
        """Remove what has changed, and a vmlinux that was no good from the beginning."""
        sealed = read_seals(self.directory)
        for path in self._spoiled:
            seal = sealed.get(self._name_of(path))
            # another process may have put the right one there since
            with placing.writing_to(path, 0), suppress(FileNotFoundError):
                if seal is not None and not seal.is_untouched(path):
                    progress.warn(f"{path} has changed since it was extracted: it is made anew")
                    path.unlink()
        self._spoiled.clear()
        try:
            flaw = flaw_of_vmlinux(self.directory)
        except NotADump as error:
            if isinstance(error.__cause__, OSError):  # there is none, or it is not ours to judge
                return
            flaw = f"is of no use: {error}"
        if flaw is not None:
            progress.warn(f"{self.vmlinux} {flaw}: it is sought anew")
            with placing.writing_to(self.vmlinux, 0):
                self.vmlinux.unlink(missing_ok=True)

    def _note_added(self) -> None:
        if not self._added:
            return
        write_seals(self.directory, read_seals(self.directory) | self._added)
        self._added.clear()
        with placing.writing_to(self._cache, 0):
            _touch(self._cache / GROWN)

    def _name_of(self, path: Path) -> str:
        return path.relative_to(self.directory).as_posix()


def flaw_of_vmlinux(entry: Path) -> str | None:
    """What an entry's vmlinux itself says against its use, in a phrase.

    :raises NotADump: it is no ELF file, or cannot be read
    """
    vmlinux = entry / "vmlinux"
    build_id = elf.build_id(vmlinux)
    if not entry.name.startswith(_NO_BUILD_ID) and build_id != entry.name:
        return f"has build-id {build_id or '(none)'}"
    return debug_info.flaw(vmlinux)


def lock_file_of(entry: Path) -> Path:
    """The file that is locked by whoever fills or removes an entry; it stays when that goes."""
    return entry.with_name(f"{entry.name}.lock")


def new_lock(entry: Path) -> FileLock:
    """A lock on that file, which is not taken yet."""
    from filelock import FileLock

    path = lock_file_of(entry)
    if placing.is_for_group(path.parent):
        with suppress(OSError):  # who takes the lock says what is wrong with its file
            _touch(path)
    return FileLock(path)


def may_be_full(cache: Path, limit_bytes: int) -> bool:
    """Whether something was added to a cache since its limits were last looked at, and all files
    of its file system together are more than it may have.

    :raises NotPermitted: this user may not look into the cache
    """
    with placing.writing_to(cache, 0):
        if not (cache / GROWN).exists():
            return False
        state = os.statvfs(cache)
        return (state.f_blocks - state.f_bfree) * state.f_frsize > limit_bytes


def entry_of(cache: Path, path: Path) -> Path | None:
    """The directory of the entry that a file belongs to; ``None`` for a file from elsewhere."""
    try:
        name = path.absolute().relative_to(cache.absolute()).parts[0]
    except (ValueError, IndexError):
        return None
    return cache / name if _NAME.fullmatch(name) else None


def is_sound(cache: Path, path: Path) -> bool:
    """Whether a file is there, and as it was put there if it is one of the cache."""
    entry = entry_of(cache, path)
    if entry is None:
        return path.exists()
    return path in _judged(entry, [path])[0]


def _judged(entry: Path, paths: Iterable[Path]) -> tuple[set[Path], set[Path]]:
    """Which files of an entry are sound, and which have another content than was put there."""
    sealed, renewed = read_seals(entry), {}
    sound, spoiled = set[Path](), set[Path]()
    for path in paths:
        name = path.relative_to(entry).as_posix()
        try:
            seal = sealed.get(name) or Seal.of(path, "")
            looks = Seal.of(path, seal.sha256)
            if looks != seal:
                renewed[name] = looks
            is_sound = looks == seal or seal.fits(path)
        except OSError:  # gone
            continue
        (sound if is_sound else spoiled).add(path)
    renew_seals(entry, {name: seal for name, seal in renewed.items() if entry / name in sound})
    return sound, spoiled


def is_entry_name(name: str) -> bool:
    """Whether a directory of that name may be an entry."""
    return bool(_NAME.fullmatch(name))


def cache_entries(cache: Path) -> list[Path]:
    """The directories of all entries, by name; what else is in the cache is none of ours.

    :raises NotPermitted: this user may not look into the cache
    """
    with placing.writing_to(cache, 0):
        try:
            found = sorted(cache.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [
            path
            for path in found
            if _NAME.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
        ]


def closed(entry: Path) -> NotPermitted | None:
    """Why this user cannot look into an entry; ``None`` when he can, or it is gone."""
    try:
        os.scandir(entry).close()
        (entry / _KERNEL_RECORD).is_file()
    except PermissionError as error:
        return not_permitted(entry, error, "read")
    except OSError:
        return None
    return None


def remove_unfinished(entry: Path) -> None:
    """Remove what a killed process left of an entry that we have locked."""
    for path in unfinished(entry):
        path.unlink(missing_ok=True)


def unfinished(entry: Path) -> list[Path]:
    """Files of an entry that are being written, or were when a process was killed."""
    return [
        Path(parent, name)
        for parent, _, names in os.walk(entry)  # which does not mind when the entry goes
        for name in names
        if name.startswith(placing.TEMPORARY)
    ]


def read_seals(entry: Path) -> dict[str, Seal]:
    """What is noted of an entry's files, by their paths in it; nothing of before this was done."""
    return seals.from_record(_read_json(entry / seals.RECORD))


def write_seals(entry: Path, sealed: Mapping[str, Seal]) -> None:
    """Note that of the files of an entry that we have locked."""
    _write_json(entry / seals.RECORD, seals.as_record(sealed))


def renew_seals(entry: Path, renewed: Mapping[str, Seal]) -> None:
    """Note them, unless the entry is locked or cannot be written: that only saves work."""
    if not renewed:
        return
    from filelock import Timeout

    with suppress(Timeout, OSError, CasError), new_lock(entry).acquire(timeout=0):
        sealed = read_seals(entry)
        current = {name: seal for name, seal in renewed.items() if seal.is_untouched(entry / name)}
        write_seals(entry, sealed | current)


def kernel_of(entry: Path) -> Kernel | None:
    """Where an entry's vmlinux came from; ``None`` when that is not noted."""
    return _read_record(entry / _KERNEL_RECORD)


def find_cached(identity: KernelIdentity, cache: Path) -> Kernel | None:
    """The kernel with the dump's build-id whose vmlinux is in the cache."""
    if identity.build_id is None or not _BUILD_ID.fullmatch(identity.build_id):
        return None
    kernel = _read_record(cache / identity.build_id / _KERNEL_RECORD)
    if kernel is None or kernel.build_id != identity.build_id:
        return None
    return kernel if Entry(cache, kernel).has_vmlinux() else None


def extracted_with_banner(banner: str, cache: Path) -> Path | None:
    """A vmlinux in the cache with a banner; whether nobody has changed it is not looked at.

    :raises NotPermitted: this user may not look into the cache
    """
    for entry in cache_entries(cache)[:_MANY]:
        kernel, vmlinux = kernel_of(entry), entry / _VMLINUX
        if kernel and banner.startswith(f"Linux version {kernel.release} "):
            with suppress(NotADump):
                if banner == (kernel.banner or elf.linux_banner(vmlinux)) and vmlinux.is_file():
                    return vmlinux
    return None


def verify_vmlinux(kernel: Kernel, path: Path) -> None:
    """Let only the vmlinux pass that the catalogue promised.

    :raises KernelMismatch: it is another one
    :raises PackageError: it is none
    """
    what = f"{kernel.source}: {kernel.member}" if kernel.member else f"{kernel.source}"
    try:
        build_id, banner = elf.build_id(path), elf.linux_banner(path)
        wrong = debug_info.flaw(path)
    except NotADump as error:
        raise PackageError(f"{what} is no vmlinux: {error}") from error
    if kernel.build_id is not None and build_id != kernel.build_id:
        promise = "the package's header" if kernel.member else "the catalogue"
        raise KernelMismatch(
            f"{what} has build-id {build_id or '(none)'}, {promise} says {kernel.build_id}"
        )
    if kernel.build_id is None and kernel.banner is not None and banner != kernel.banner:
        raise KernelMismatch(
            f"{what} has the banner {banner or '(none)'}, the catalogue says {kernel.banner}"
        )
    if banner is not None and not banner.startswith(f"Linux version {kernel.release} "):
        raise KernelMismatch(f"{what} says it is {banner[:120]!r}, not {kernel.release}")
    if wrong is not None:
        raise PackageError(f"{what} {wrong}")


@functools.lru_cache(maxsize=16)
def _verify_once(kernel: Kernel, path: Path, _state: tuple[int, ...]) -> None:
    """The same, once for a file that is not touched: it is asked for when it is found, and used."""
    verify_vmlinux(kernel, path)


def vmlinux_in(cache: Path, build_id: str) -> Path:
    """Where the vmlinux of a build-id stands, or would stand."""
    return cache / build_id / _VMLINUX


def key(kernel: Kernel) -> str:
    """The name of a kernel's entry: its build-id; without one, a digest of what is known."""
    if kernel.build_id is not None and _BUILD_ID.fullmatch(kernel.build_id):
        return kernel.build_id
    facts = "\0".join((str(kernel.source), kernel.member or "", kernel.banner or ""))
    return _NO_BUILD_ID + hashlib.sha256(facts.encode("utf-8", "surrogateescape")).hexdigest()[:40]


def _write_json(path: Path, record: object) -> None:
    content = json.dumps(record).encode()
    placing.place(placing.Place(path, len(content)), [content])


def _touch(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with suppress(PermissionError):  # somebody else's, who has made it so
            os.fchmod(descriptor, placing.mode(path.parent, 0o600))
        os.utime(descriptor)
    finally:
        os.close(descriptor)


def _read_record(path: Path) -> Kernel | None:
    record = _read_json(path)
    try:
        return Kernel(**record | {"source": Path(record["source"])})
    except (TypeError, LookupError):
        return None


def _read_json(path: Path) -> Any:
    """A record that cannot be read counts as none: the cache can always be filled again."""
    try:
        with path.open("rb") as file:
            return json.loads(file.read(_RECORD_LIMIT))
    except (OSError, ValueError, RecursionError):
        return None

"""The directory of extracted files that all jobs share.

It has a directory for each kernel, named by its build-id: ``vmlinux``, ``kernel.json`` (where it
came from), ``kmods/`` and ``kmods.json`` (which of them the package has). A file there is whole
and verified, or it is not there.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cas import elf
from cas.catalogue import placing
from cas.errors import CasError, KernelMismatch, NotADump, PackageError, TryAgain
from cas.model import Dump, Kernel
from cas.progress import Progress

_LOCK_TIMEOUT_S = 1800
"""Longer than an extraction takes on a slow disk."""
_KERNEL_RECORD, _KMODS_RECORD = "kernel.json", "kmods.json"
_RECORD_LIMIT = 4 << 20
_BUILD_ID = re.compile(r"[0-9a-f]{8,128}")


class Entry:
    """What the cache has of one kernel."""

    def __init__(self, cache: Path, kernel: Kernel) -> None:
        self._kernel = kernel
        self._lock = cache / f"{_key(kernel)}.lock"
        self.directory = cache / _key(kernel)
        self.vmlinux = self.directory / "vmlinux"
        self.kmods = self.directory / "kmods"

    @contextmanager
    def locked(self, progress: Progress) -> Iterator[None]:
        """Keep other processes from filling this entry; what a killed one left unfinished goes.

        :raises TryAgain: another process has been at it for half an hour
        """
        from filelock import FileLock, Timeout  # a warm cache needs no lock

        placing.make_directory(self.kmods)
        lock = FileLock(self._lock)
        with placing.writing_to(self._lock, 0):
            try:
                try:
                    lock.acquire(timeout=0)
                except Timeout:
                    progress.say(f"Waiting for another job that extracts {self._kernel.release}")
                    lock.acquire(timeout=_LOCK_TIMEOUT_S)
            except Timeout as error:
                raise TryAgain(f"{self._lock} has been locked for {_LOCK_TIMEOUT_S} s") from error
        try:
            self._remove_unfinished()
            yield
        finally:
            lock.release()

    def has_vmlinux(self) -> bool:
        """Whether there is a vmlinux, and it is the right one."""
        try:
            if self._kernel.size_bytes not in (None, self.vmlinux.stat().st_size):
                return False
            verify_vmlinux(self._kernel)(self.vmlinux)
        except (OSError, CasError):
            return False
        return True

    def remember_kernel(self) -> None:
        """Note where the vmlinux came from."""
        record = dataclasses.asdict(self._kernel) | {"source": str(self._kernel.source)}
        self._write(_KERNEL_RECORD, record)

    def remember_kmods(self, kmods: Iterable[str]) -> None:
        """Note which kmods the package has, so that one it lacks is not sought in it again."""
        self._write(_KMODS_RECORD, sorted(kmods))

    def packaged_kmods(self) -> frozenset[str] | None:
        """The kmods that the package has; ``None`` when that is not noted."""
        kmods = _read_json(self.directory / _KMODS_RECORD)
        if not isinstance(kmods, list) or not all(isinstance(kmod, str) for kmod in kmods):
            return None
        return frozenset(kmods)

    def _write(self, name: str, record: object) -> None:
        content = json.dumps(record).encode()
        placing.place(placing.Place(self.directory / name, len(content)), [content])

    def _remove_unfinished(self) -> None:
        for directory in (self.directory, self.kmods):
            for path in directory.glob(placing.TEMPORARY + "*"):
                path.unlink(missing_ok=True)


def flaws(cache: Path) -> Iterator[tuple[Path, str]]:
    """What of the cache is not as it should be: the path, and what is wrong with it."""
    for directory in sorted(path for path in cache.glob("*") if path.is_dir()):
        for left in sorted(directory.rglob(placing.TEMPORARY + "*")):
            if not _is_locked(cache / f"{directory.name}.lock"):
                yield left, "was being extracted when a run was stopped"
        flaw = _flaw(directory)
        if flaw:
            yield directory, flaw


def _flaw(directory: Path) -> str | None:
    vmlinux = directory / "vmlinux"
    if not vmlinux.exists():
        return None
    record = _read_record(directory / _KERNEL_RECORD)
    if record is not None and not Entry(directory.parent, record).has_vmlinux():
        return f"its vmlinux is not the one that {_KERNEL_RECORD} names"
    try:
        build_id = elf.build_id(vmlinux)
    except (OSError, NotADump) as error:
        return f"its vmlinux cannot be read: {error}"
    if _BUILD_ID.fullmatch(directory.name) and build_id != directory.name:
        return f"its vmlinux has build-id {build_id or '(none)'}"
    return None


def _is_locked(path: Path) -> bool:
    from filelock import FileLock, Timeout

    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True


def find_cached(dump: Dump, cache: Path) -> Kernel | None:
    """The kernel with the dump's build-id whose vmlinux is in the cache."""
    if dump.build_id is None or not _BUILD_ID.fullmatch(dump.build_id):
        return None
    kernel = _read_record(cache / dump.build_id / _KERNEL_RECORD)
    if kernel is None or kernel.build_id != dump.build_id:
        return None
    return kernel if Entry(cache, kernel).has_vmlinux() else None


def verify_vmlinux(kernel: Kernel) -> Callable[[Path], None]:
    """A check that a file is the vmlinux which the catalogue promised.

    It raises `KernelMismatch` when it is another one, `PackageError` when it is none.
    """
    return lambda path: _verify(kernel, path)


def _verify(kernel: Kernel, path: Path) -> None:
    try:
        build_id, banner = elf.build_id(path), elf.linux_banner(path)
    except NotADump as error:
        raise PackageError(f"{kernel.source}: {kernel.member} is no vmlinux: {error}") from error
    if kernel.build_id is not None and build_id != kernel.build_id:
        raise KernelMismatch(
            f"{kernel.source}: {kernel.member} has build-id {build_id or '(none)'}, "
            f"the package's header says {kernel.build_id}"
        )
    if kernel.build_id is None and kernel.banner is not None and banner != kernel.banner:
        raise KernelMismatch(
            f"{kernel.source}: {kernel.member} has the banner {banner or '(none)'}, "
            f"the catalogue says {kernel.banner}"
        )
    if banner is not None and not banner.startswith(f"Linux version {kernel.release} "):
        raise KernelMismatch(
            f"{kernel.source}: {kernel.member} says it is {banner[:120]!r}, not {kernel.release}"
        )


def _key(kernel: Kernel) -> str:
    """The build-id; without one, a digest of what is known."""
    if kernel.build_id is not None and _BUILD_ID.fullmatch(kernel.build_id):
        return kernel.build_id
    facts = "\0".join((str(kernel.source), kernel.member or "", kernel.banner or ""))
    return (
        "no-build-id-" + hashlib.sha256(facts.encode("utf-8", "surrogateescape")).hexdigest()[:40]
    )


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

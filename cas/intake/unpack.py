"""The dump out of its wrapping, into a file of our own naming; the upload stays as it is."""

from __future__ import annotations

import fcntl
import io
import os
import re
import stat
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cas.errors import NotADump, UnpackError
from cas.files import require_room, sync_directory
from cas.intake.space import writing
from cas.intake.wrapping import BUFFER_BYTES, PEEK_BYTES, Stream, peek, sound, unwrap, wrapping
from cas.progress import Advance, Progress

FICLONE = 0x40049409  # include/uapi/linux/fs.h: share the blocks of another file
MAX_MEMBERS = 10_000
SIDECAR_BYTES = 64 << 20
_SUFFIXES = re.compile(r"(\.(gz|bz2|xz|zst|zstd|lzma|tar|tgz|tbz2?|txz|tzst))+$", re.IGNORECASE)
_PLAIN_NAME = re.compile(r"(?!crash|report\.|result\.|job\.)[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SIDECAR = re.compile(r"(^|/)([^/]*dmesg[^/]*|[^/]+\.(txt|log|json))$", re.IGNORECASE)

IsDump = Callable[[bytes], bool]
"""Whether a file that begins with these 512 bytes is a kernel dump."""


@dataclass(frozen=True, slots=True)
class Upload:
    """What arrived, and what it will be called in the job directory."""

    path: Path
    size_bytes: int
    wrapping: str | None
    """Outermost compression or archive format; ``None`` for a plain dump."""
    vmcore_name: str


def check(path: Path) -> None:
    """Make sure that there is a regular, readable, non-empty file.

    :raises NotADump: with the reason
    """
    try:
        state = path.stat()
        with path.open("rb"):
            pass
    except OSError as error:
        hint = "check the path given with -f"
        raise NotADump(f"cannot read {path}: {error.strerror}", hint=hint) from error
    if not stat.S_ISREG(state.st_mode):
        raise NotADump(f"{path} is not a regular file")
    if state.st_size == 0:
        raise NotADump(f"{path} is empty", hint="the transfer failed: ask for the file again")


def plan(path: Path) -> Upload:
    """What the upload is, by its content.

    :raises NotADump: there is nothing to read
    """
    check(path)
    with path.open("rb") as stream:
        kind = wrapping(stream.read(PEEK_BYTES))
    name = _SUFFIXES.sub("", path.name) if kind else path.name
    return Upload(
        path,
        path.stat().st_size,
        kind,
        name if _PLAIN_NAME.fullmatch(name) else "vmcore",
    )


def store(upload: Upload, directory: Path, is_dump: IsDump, progress: Progress) -> Path:
    """Put the dump into a directory, unpacked; the upload is only read.

    :return: the vmcore, not yet known to be on the disk (see :func:`settle`)
    :raises UnpackError: the wrapping is damaged
    :raises NotADump: an archive without a dump, or with several
    :raises DiskFull: nothing half-written is left behind
    """
    target = directory / upload.vmcore_name
    if upload.wrapping is None:
        _copy(upload, target)
        return target
    with (
        sound(str(upload.path)),
        upload.path.open("rb", buffering=BUFFER_BYTES) as raw,
        progress.bar(f"Unpacking {upload.path.name}", upload.size_bytes) as advance,
    ):
        counted: Stream = io.BufferedReader(_Counted(raw, advance), BUFFER_BYTES)
        stream, _ = unwrap(counted, str(upload.path))
        if wrapping(peek(stream)) == "tar":
            _unpack_tar(stream, target, is_dump, upload)
        else:
            _write(stream, target, upload)
    return target


def settle(path: Path) -> None:
    """Make sure that a file and its name survive a power cut."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    sync_directory(path.parent)


class _Counted(io.RawIOBase):
    """A file whose reading moves a progress bar."""

    def __init__(self, file: IO[bytes], advance: Advance) -> None:
        self._file = file
        self._advance = advance

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        count: int = self._file.readinto(buffer)  # type: ignore[attr-defined]
        self._advance(count)
        return count


def _copy(upload: Upload, target: Path) -> None:
    need = upload.path.stat().st_blocks * 512
    with (
        writing(target, need, f"a copy of {upload.path.name}"),
        upload.path.open("rb") as source,
        target.open("wb") as copy,
    ):
        if not _share_blocks(source, copy):
            require_room(target.parent, need, f"a copy of {upload.path.name}")
            for start, end in _data_ranges(source.fileno(), upload.size_bytes):
                _copy_range(source.fileno(), copy.fileno(), start, end)
            copy.truncate(upload.size_bytes)


def _share_blocks(source: IO[bytes], copy: IO[bytes]) -> bool:
    try:
        fcntl.ioctl(copy.fileno(), FICLONE, source.fileno())
    except OSError:  # another file system, or one that cannot
        return False
    return True


def _data_ranges(descriptor: int, size_bytes: int) -> Iterator[tuple[int, int]]:
    """The parts of a sparse file that hold data, as (start, end)."""
    end = 0
    while end < size_bytes:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError:  # ENXIO: only a hole is left
            return
        end = min(os.lseek(descriptor, start, os.SEEK_HOLE), size_bytes)
        yield start, end


def _copy_range(source: int, copy: int, start: int, end: int) -> None:
    while start < end:
        done = os.copy_file_range(source, copy, min(end - start, 1 << 30), start, start)
        if done == 0:
            raise UnpackError("the dump became shorter while it was copied")
        start += done


def _write(stream: IO[bytes], target: Path, upload: Upload, limit: int | None = None) -> None:
    """Stream into a new file, leaving holes where there are only zeros."""
    with writing(target, None, upload.path.name), target.open("wb") as file:
        left = limit
        while data := stream.read(BUFFER_BYTES if left is None else min(BUFFER_BYTES, left)):
            if data.count(0) == len(data):
                file.seek(len(data), os.SEEK_CUR)
            else:
                file.write(data)
            left = None if left is None else left - len(data)
        file.truncate(file.tell())


def _unpack_tar(stream: IO[bytes], target: Path, is_dump: IsDump, upload: Upload) -> None:
    dumps: list[str] = []
    with tarfile.open(fileobj=stream, mode="r|", errors="surrogateescape") as archive:
        for number, member in enumerate(_members(archive, upload)):
            file = archive.extractfile(member) if member.isreg() else None
            if file is None:
                continue
            inner, _ = unwrap(io.BufferedReader(file, BUFFER_BYTES), member.name)
            if is_dump(peek(inner)):
                dumps.append(member.name)
                if len(dumps) == 1:
                    _write(inner, target, upload)
            elif _SIDECAR.search(member.name):
                _keep_sidecar(inner, target.parent, member.name, number, upload)
    _exactly_one(dumps, target, upload)


def _members(archive: tarfile.TarFile, upload: Upload) -> Iterator[tarfile.TarInfo]:
    try:
        for number, member in enumerate(archive):
            if number >= MAX_MEMBERS:
                raise UnpackError(f"{upload.path} holds more than {MAX_MEMBERS} files")
            yield member
    except tarfile.TarError as error:
        raise UnpackError(f"{upload.path} is damaged and cannot be unpacked: {error}") from error


def _keep_sidecar(
    stream: IO[bytes], directory: Path, name: str, number: int, upload: Upload
) -> None:
    sidecars = directory / "sidecars"
    sidecars.mkdir(exist_ok=True)
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", name.rpartition("/")[2])[-80:].lstrip(".") or "file"
    _write(stream, sidecars / f"{number:04d}-{safe}", upload, limit=SIDECAR_BYTES)


def _exactly_one(dumps: list[str], target: Path, upload: Upload) -> None:
    if len(dumps) == 1:
        return
    target.unlink(missing_ok=True)
    if not dumps:
        raise NotADump(f"{upload.path} holds no kernel dump")
    raise NotADump(
        f"{upload.path} holds {len(dumps)} kernel dumps: {', '.join(dumps)}",
        hint="unpack it and run cas once for each of them",
    )

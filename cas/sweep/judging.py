"""Whether a file of a host is missing in the archive: by kilobytes of it and the crash's record."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import paramiko
from msgspec.structs import replace

from cas.archive.archive import Archive
from cas.archive.crash_directories import NotArchived
from cas.archive.record import File, file_rank
from cas.dump import kind_of
from cas.dump.crash_id import HEAD_BYTES, id_without_notes
from cas.dump.identify import headers_of
from cas.dump.log_file import is_log, read_log_file
from cas.dump.memory import Source
from cas.errors import NotADump
from cas.fetch.ranged_file import TooMuch
from cas.fetch.url import Url
from cas.frozen import dataclass
from cas.intake import PEEK_BYTES, wrapping
from cas.model.dump import KERNEL_LOG
from cas.panic import told_crash
from cas.sweep.far_file import FarFile
from cas.sweep.walk import Found, Kind

HEADERS_BYTES = 4 << 20
"""The notes of 8,000 processors and VMCOREINFO take less."""
LOG_BYTES = 16 << 20
"""Of a kernel log, which is read whole; the largest log buffer is 2 GiB, a usual one 1 MiB."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a file of a host says of itself."""

    crash_id: str
    is_weak: bool
    format: str
    dump_level: int | None
    is_whole: bool
    """Nothing is known to be missing."""
    read_bytes: int


class Useless(NotADump):
    """A file of a host that is not fetched, however often it is looked at."""

    hint = ""


def seen_there(found: Found, file: paramiko.SFTPFile, url: Url) -> Seen:
    """What a file says of itself, by as little of it as may be.

    :raises Useless: it tells of no crash, or not by so little
    :raises Broken: the connection broke
    """
    is_named_log = found.kind is Kind.LOG
    limit = LOG_BYTES if is_named_log else HEADERS_BYTES
    source = FarFile(file, url, found.state.size_bytes, limit)
    try:
        headers = None if is_named_log else headers_of(str(url), source)
        if headers is None:
            seen = log_there(found, source)
            return dataclasses.replace(seen, read_bytes=source.read_bytes)
    except TooMuch as error:
        raise Useless(
            "too much of it would have to be read to know its crash", hint=f"cas upload {url}"
        ) from error
    except NotADump as error:
        head = source.read(0, PEEK_BYTES)
        if wrapping(head) and not kind_of(head):
            raise Useless("it is packed", hint=f"cas upload {url}") from error
        said = str(error).removeprefix(f"{url}: ").removeprefix(f"{url} ")
        raise Useless(said) from error
    is_whole = headers.is_whole and b"incomplete" not in found.name
    return Seen(
        headers.id.value,
        headers.id.is_weak,
        headers.format,
        headers.dump_level,
        is_whole,
        source.read_bytes,
    )


def log_there(found: Found, source: Source) -> Seen:
    """What a kernel log says of itself.

    :raises Useless: it tells of no crash
    """
    if source.size > LOG_BYTES:
        raise Useless("it is too large for a kernel log")
    if not is_log(source):
        raise Useless("it has no registers and no VMCOREINFO, and is no kernel log")
    dump = read_log_file(Path(found.name.decode("utf-8", "replace")), source)
    if not dump.dmesg or not told_crash(dump.dmesg).is_fatal:  # as of a shutdown that was recorded
        raise Useless("this kernel log tells of no crash")
    named = id_without_notes(dump.log_digest, source.read(0, HEAD_BYTES))
    return Seen(named.value, named.is_weak, KERNEL_LOG, None, True, 0)


def why_known(found: Found, seen: Seen, archive: Archive) -> str | None:
    """Why a file need not be fetched; ``None``: it is missing.

    Of a crash that the archive knows a better file is missing, too. What was purged was there.

    :raises ArchiveDamaged: the record of its crash cannot be read
    """
    try:
        info = archive.read(seen.crash_id)
    except NotArchived:
        return None
    had = [each for each in info.files if each.digest is not None]
    size = found.state.size_bytes
    if any((each.size_bytes, each.format) == (size, seen.format) for each in had):
        return "the archive has it"
    if not had or info.is_weak or seen.is_weak:
        return None
    best = max(map(_rank_as_kept, had))
    if _rank_as_kept(_as_file(found, seen)) > best:
        return None
    return f"the archive has a better file of {info.id}"


def _as_file(found: Found, seen: Seen) -> File:
    """The file as the archive would have it, as far as can be told."""
    return File(
        name=found.shown,
        digest=None,
        size_bytes=found.state.size_bytes,
        format=seen.format,
        dump_level=seen.dump_level,
        is_whole=seen.is_whole,
        added_s=0,
    )


def _rank_as_kept(file: File) -> tuple[object, ...]:
    """How good a file is, or was before it was purged; when it came does not count."""
    return file_rank(replace(file, purged_s=None, added_s=0))

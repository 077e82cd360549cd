"""An export on the disk: a directory or an archive of one, whole or not there."""

from __future__ import annotations

import errno
import gzip
import os
import re
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import BinaryIO, cast

import zstandard

from cas.errors import UsageError
from cas.files.whole import PART, create, sync, sync_directory, writing_below
from cas.supervise import locked_room, remove_left

ENDS = (".tar", ".tar.gz", ".tgz", ".tar.zst")
ROOT = "cas-export"
"""What the directory in an archive is called: the archive's own name may be told to others."""


class Exists(UsageError):
    """Something has the name that an export was to have."""

    hint = "give another name, or remove that one"


@contextmanager
def exporting(target: Path, now: datetime) -> Iterator[Path]:
    """A directory, whose files are the export once the context is left without an error.

    :param target: a directory that is not there, or a file that ends with one of `ENDS`
    :raises Exists: there is something of this name
    :raises CasError: it cannot be written
    """
    require_absent(target)
    begun = f".{target.name}-"
    remove_left(target.parent, re.compile(f"{re.escape(begun)}[a-z0-9_]{{8}}{re.escape(PART)}"))
    with writing_below(target.parent):
        room = Path(mkdtemp(prefix=begun, suffix=PART, dir=target.parent))
        try:
            with writing_below(target.parent), locked_room(room):  # told before it is emptied
                place = room / ROOT
                place.mkdir(mode=0o700)
                yield place
                for path in sorted(place.rglob("*")):
                    sync(path) if path.is_file() else sync_directory(path)
                if target.name.endswith(ENDS):
                    _publish_file(_packed(place, target, now), target)
                else:
                    _publish_directory(place, target)
                sync_directory(target.parent)
        finally:
            shutil.rmtree(room, ignore_errors=True)


def require_absent(target: Path) -> None:
    """Make sure that an export takes nobody's place.

    :raises Exists: there is something of this name
    """
    if os.path.lexists(target):
        raise Exists(f"{target} is there already")


def _publish_directory(place: Path, target: Path) -> None:
    try:
        target.mkdir(mode=0o700)  # fails where somebody was quicker; rename would not
    except FileExistsError as error:
        raise Exists(f"{target} is there already") from error
    place.replace(target)  # which is empty


def _publish_file(part: Path, target: Path) -> None:
    try:
        target.hardlink_to(part)
    except FileExistsError as error:
        raise Exists(f"{target} is there already") from error
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
            raise
        require_absent(target)
        part.replace(target)


def _packed(place: Path, target: Path, now: datetime) -> Path:
    part = place.with_name("packed")
    with create(part) as file:
        with (
            _compressed(file, target.name) as stream,
            tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar,
        ):
            tar.add(place, ROOT, filter=_Nobodys(now))
        file.flush()
        os.fsync(file.fileno())
    return part


@contextmanager
def _compressed(file: BinaryIO, name: str) -> Iterator[BinaryIO]:
    if name.endswith((".gz", ".tgz")):
        with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
            yield cast("BinaryIO", packed)
    elif name.endswith(".zst"):
        with zstandard.ZstdCompressor().stream_writer(file, closefd=False) as writer:
            yield cast("BinaryIO", writer)
    else:
        yield file


class _Nobodys:
    """Members of an archive without who made them."""

    def __init__(self, now: datetime) -> None:
        self._now = int(now.timestamp())

    def __call__(self, member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mtime = self._now
        return member

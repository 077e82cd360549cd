"""A packaged vmlinux's own word on what it is, for packages whose header does not say."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import BinaryIO

from cas import elf
from cas.catalogue import sources
from cas.catalogue.archive import Listing
from cas.errors import NotADump, PackageError
from cas.model import Kernel

_PREFIX = 96 << 20
"""Text, read-only data and notes stand before the debug information, and end at 60 MB or less."""


def examine(kernel: Kernel) -> tuple[str | None, str | None]:
    """Banner and build-id of a packaged vmlinux, from the payload.

    :raises PackageError: the package is damaged or gone
    """
    try:
        listing = sources.listing(kernel.source)
        # Unnamed, gone with this process whatever happens.
        with tempfile.TemporaryFile() as prefix:
            _copy_beginning(kernel.source, listing, kernel.member or "", prefix)
            return _identity(prefix)
    except OSError as error:
        raise PackageError(f"{kernel.source} cannot be examined: {error.strerror}") from error
    except NotADump as error:
        raise PackageError(f"{kernel.source}: {kernel.member} is no vmlinux: {error}") from error


def _copy_beginning(source: Path, listing: Listing, path: str, to: BinaryIO) -> None:
    with listing.opened(lambda _: None) as members:
        for member in members:
            if member.path == path:
                for piece in members.content():
                    to.write(piece)
                    if to.tell() >= _PREFIX:
                        break
                to.flush()
                return
    raise PackageError(f"{source}: the payload lacks {path}")


def _identity(file: BinaryIO) -> tuple[str | None, str | None]:
    def read(offset: int, size: int) -> bytes:
        # No offset beyond the beginning: the section headers, at the end, are not there.
        return os.pread(file.fileno(), size, offset) if 0 <= offset < _PREFIX and size > 0 else b""

    return elf.linux_banner_of(read), elf.build_id_of(read)

"""What a file that may hold debug information is, told by its first bytes, and what is in it."""

from __future__ import annotations

from pathlib import Path

from cas.catalogue import deb, payload, plain, rpm
from cas.catalogue.archive import Listing
from cas.catalogue.facts import Package

_ELF_MAGIC = b"\x7fELF"


def read(path: Path) -> Package:
    """The kernels, and the kmods, that a file holds debug information of.

    :return: without kernels for a package that has no vmlinux
    :raises PackageError: the content is of no known kind, or is damaged
    :raises OSError: the file cannot be read
    """
    magic = _magic(path)
    if magic == deb.MAGIC:
        return deb.read_package(path)
    if magic.startswith(_ELF_MAGIC):
        return plain.read_vmlinux(path)
    return rpm.read_package(path)


def listing(path: Path) -> Listing:
    """What a package lists without its payload.

    :raises PackageError: the content is no package, or is damaged
    :raises OSError: the file cannot be read
    """
    return deb.listing(path) if _magic(path) == deb.MAGIC else payload.listing(path)


def _magic(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(deb.MAGIC))

"""A Debian package of debug information: an ar archive of two tar archives.

Source: deb(5), ar(5); Debian policy 3.0 on md5sums.
"""

from __future__ import annotations

from pathlib import Path

from cas.catalogue.archive import Listing
from cas.catalogue.facts import Package
from cas.errors import PackageError

MAGIC = b"!<arch>\n"


def read_package(path: Path) -> Package:
    """The kernels that a package holds debug information of.

    :raises PackageError: the content is not a DEB, or is damaged
    :raises OSError: the file cannot be read
    """
    raise PackageError(f"{path} is a DEB")


def listing(path: Path) -> Listing:
    """What a package lists.

    :raises PackageError: the content is not a DEB, or is damaged
    :raises OSError: the file cannot be read
    """
    raise PackageError(f"{path} is a DEB")

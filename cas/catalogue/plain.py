"""A vmlinux that lies somewhere as a plain file, with its debug information."""

from __future__ import annotations

from pathlib import Path

from cas.catalogue.facts import Package
from cas.errors import PackageError


def read_vmlinux(path: Path) -> Package:
    """What a vmlinux says about itself.

    :raises PackageError: it is no vmlinux, has no debug information, or is damaged
    :raises OSError: the file cannot be read
    """
    raise PackageError(f"{path} is a plain file")

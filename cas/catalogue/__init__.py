"""Packages of debug information: which kernels they hold, which one crashed, and its vmlinux."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cas.catalogue.catalogue import Catalogue

__all__ = ["Catalogue"]


def __getattr__(name: str) -> object:
    """The catalogue; only then its suppliers are imported, which the cache does without."""
    if name == "Catalogue":
        from cas.catalogue.catalogue import Catalogue

        return Catalogue
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

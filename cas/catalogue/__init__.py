"""Packages of debug information: which kernels they hold, which one crashed, and its vmlinux."""

from cas.catalogue.catalogue import Catalogue

__all__ = ["Catalogue"]

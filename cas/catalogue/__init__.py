"""Packages of debug information: which kernels they hold, which one crashed, and its vmlinux."""

from cas.catalogue.catalogue import Catalogue
from cas.database.records import BuildSummary, Crashed, JobRecord

__all__ = ["BuildSummary", "Catalogue", "Crashed", "JobRecord"]

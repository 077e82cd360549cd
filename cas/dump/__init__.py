"""Readers of dump formats: from a file to what it says about itself."""

from __future__ import annotations

from cas.dump.banner import SEARCH_BYTES
from cas.dump.claims import require_modest
from cas.dump.glance import glance
from cas.dump.identify import identify, identify_by_ranges
from cas.dump.reassemble import reassemble
from cas.dump.recognise import is_dump, is_for_ranges, kind_of, recognise_file, recognise_source

__all__ = [
    "SEARCH_BYTES",
    "glance",
    "identify",
    "identify_by_ranges",
    "is_dump",
    "is_for_ranges",
    "kind_of",
    "reassemble",
    "recognise_file",
    "recognise_source",
    "require_modest",
]

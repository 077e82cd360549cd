"""Readers of dump formats: from a file to what it says about itself."""

from __future__ import annotations

from cas.dump.banner import SEARCH_BYTES
from cas.dump.identify import identify
from cas.dump.recognise import is_dump, recognise

__all__ = ["SEARCH_BYTES", "identify", "is_dump", "recognise"]

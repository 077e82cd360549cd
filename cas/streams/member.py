"""The files of an archive, as whoever reads it from beginning to end meets them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

CONTENT_LIMIT = 16 << 30
"""Bytes that a payload may unpack to; Debian's largest kernel has 6 GB of debug information."""


@dataclass(frozen=True, slots=True)
class Member:
    """The head of one regular file in the payload."""

    path: str
    """Absolute, also where the package spells it relative."""
    size_bytes: int


class Members(Protocol):
    """The payload's members, in order; each can be read until the next is asked for."""

    def __iter__(self) -> Iterator[Member]: ...

    def content(self) -> Iterator[memoryview]:
        """What is left of the current member, in pieces that stay valid."""

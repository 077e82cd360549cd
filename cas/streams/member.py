"""A file in an archive that is read from its beginning to its end."""

from __future__ import annotations

from cas.frozen import dataclass
from cas.streams.flow import Flow


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file in an archive; it can be read until the next is asked for."""

    name: str
    """As the archive spells it; never a path of ours."""
    flow: Flow
    """Its contents."""


@dataclass(frozen=True, slots=True)
class SizedMember(Member):
    """One whose size stands before its contents."""

    size_bytes: int

    @property
    def path(self) -> str:
        """Absolute, also where the archive spells it relative; any text, even for a database."""
        name = self.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        return "/" + name.removeprefix(".").lstrip("/")

"""A package of either kind: what it lists without its payload, and the payload's members in order.

RPM and DEB differ in how much they list. Who extracts need not know which it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from cas.errors import PackageError
from cas.frozen import dataclass
from cas.streams.flow import Damaged, Flow
from cas.streams.layer import Layer
from cas.streams.member import SizedMember
from cas.streams.unpacked import unpacked_stretch
from cas.streams.xz_blocks import AHEAD_BYTES


@dataclass(frozen=True, slots=True)
class Listed:
    """A regular file, as the package lists it."""

    digest: tuple[str, str] | None = None
    """hashlib's name of an algorithm, and the hex digest of the content."""
    build_id: str | None = None
    """Where a ``.build-id`` link of the list points to the file."""
    size_bytes: int | None = None
    """``None``: the list does not say."""

    def size_contradiction(self, size_bytes: int) -> str | None:
        """What is wrong with a member of the payload that has this size; ``None``: nothing.

        Of several hard links all but one are empty in a payload.
        """
        if not size_bytes or self.size_bytes in (None, size_bytes):
            return None
        return f"it has {size_bytes:,} bytes, {self.size_bytes:,} are listed"


@dataclass(frozen=True, slots=True)
class Listing:
    """What a package says of its content before the payload is read."""

    files: Mapping[str, Listed]
    """Regular files by their absolute path."""
    payload_bytes: int
    """Bytes of the payload as it stands in the package, compressed."""
    opened: Callable[[Callable[[int], None]], AbstractContextManager[Iterator[SizedMember]]]
    """Opens the payload; the argument is told how many compressed bytes have been read. At any
    point it raises `PackageError` where the payload turns out to be damaged or unreadable."""


@contextmanager
def payload_of(
    path: Path,
    place: tuple[int, int],
    layer: Layer,
    advance: Callable[[int], None],
    ahead_bytes: int = AHEAD_BYTES,
) -> Iterator[Flow]:
    """A payload, unpacked, for the length of a ``with`` block.

    :param path: of the package; the other parameters are those of `unpacked_stretch`
    :raises PackageError: at any point where it turns out to be damaged or unreadable
    """
    with (
        path.open("rb", buffering=0) as file,
        unpacked_stretch(file, place, layer, advance, ahead_bytes) as flow,
    ):
        try:
            yield flow
        except Damaged as error:
            where = f"at byte {flow.position:,} of its archive"
            raise PackageError(
                f"{path}: the payload is damaged: {error.reason}, {where}"
            ) from error

"""What stands in a file behind the end of a dump."""

from __future__ import annotations

from cas.dump.flattened import MAGIC
from cas.dump.memory import Source
from cas.units import human_size

_HEAD_BYTES = 64 << 10
_STEP = 512
"""A second dump may begin at the next sector or page of a partition."""
_LEAST = 4096
"""Less is not worth a word: QEMU's names of sections whose headers somebody took out, say."""
_MAGICS = (b"KDUMP   ", b"DISKDUMP", MAGIC)
_ELF, _CORES = b"\x7fELF", (b"\x04\0", b"\0\x04")


def trailing_remarks(source: Source, end: int) -> tuple[str, ...]:
    """A remark on the bytes behind a dump; zeros, as in a partition, need none.

    :param end: where the dump ends, by its headers
    """
    head = source.read(end, _HEAD_BYTES)
    if len(head) < _LEAST or not head.strip(b"\0"):
        return ()
    places = (0, *range(-end % _STEP, len(head), _STEP))
    cores = (at for at in places if head.startswith(_ELF, at) and head[at + 16 : at + 18] in _CORES)
    others = (at for at in places if head.startswith(_MAGICS, at))
    second = min((*cores, *others), default=None)
    size = human_size(source.size - end)
    if second is None:
        return (f"{size} stand behind the end of the dump, at {end}, and are no part of it",)
    begins = f"another dump begins at {end + second}, behind the end of the first"
    return (f"{begins}: only the first is read, {size} are left out",)

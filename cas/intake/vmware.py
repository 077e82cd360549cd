"""The two halves of a VMware snapshot: its state, and the memory in a file of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable

from cas.errors import UnsupportedFormat
from cas.text import printable

COMPRESSED = re.compile(
    r"(\.(gz|bz2|xz|zst|zstd|lzma|lz4|lzo|z|zip|7z|rar|cpio|tar|tgz|tbz2?|txz|tzst|tlz|crash))+$",
    re.I,
)
"""What a name ends with that tells how the file is packed."""
_MEMORY = ".vmem"


def is_memory(name: str) -> bool:
    """Whether a file is called as VMware calls the memory of a guest, packed or not."""
    return _unpacked_name(name).lower().endswith(_MEMORY)


def require_one_file(where: str, states: Iterable[str], memories: Iterable[str]) -> None:
    """Pass unless both halves of a snapshot are there: they have to be made one dump.

    :param where: they are, for the message
    :param states: names of files that hold a snapshot without its memory
    :param memories: names for which `is_memory` is true
    :raises UnsupportedFormat: both are there
    """
    by_stem = {_unpacked_name(name)[: -len(_MEMORY)]: _unpacked_name(name) for name in memories}
    for name in states:
        state = _unpacked_name(name)
        memory = by_stem.get(state.rpartition(".")[0])
        if memory:
            half, other = printable(state), printable(memory)
            raise UnsupportedFormat(
                f"{where} holds the two halves of a VMware snapshot: {half}, {other}",
                hint=f"make one dump of them: vmss2core -N6 {half} {other}",
            )


def _unpacked_name(name: str) -> str:
    return COMPRESSED.sub("", name)

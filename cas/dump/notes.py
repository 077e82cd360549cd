"""Zeros in the notes of a dump, where the kernel and the writer of the dump put something."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from cas import elf
from cas.model import Cause, Missing

_HEAD_BYTES = 12
_ALIGNMENT = 4


def lost_notes(data: bytes, order: str, at: int) -> Iterator[Missing]:
    """What of the notes was overwritten by zeros, as far as that shows.

    Notes follow one another without a gap, and VMCOREINFO is text (kernel/crash_core.c).

    :param at: offset of the notes in the file
    """
    offset = 0
    for note in elf.notes(data, order):
        head = data[offset : offset + _HEAD_BYTES]
        if not head.strip(b"\0"):
            if data[offset:].strip(b"\0"):
                yield _zeros("the notes are", at + offset)
            return
        name_size, size, _ = struct.unpack(order + "III", head)
        offset = _up(offset + _HEAD_BYTES + name_size)
        zero = note.desc.find(b"\0")
        if note.name == "VMCOREINFO" and zero >= 0 and note.desc[zero:].strip(b"\0"):
            yield _zeros("VMCOREINFO is", at + offset + zero)
            return
        offset = _up(offset + size)


def _zeros(what: str, at: int) -> Missing:
    return Missing(f"{what} overwritten by zeros", at, Cause.DAMAGED)


def _up(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT

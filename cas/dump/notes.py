"""Damage in the notes of a dump, which begins with zeros where the next note should."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from cas import elf
from cas.choices import Cause
from cas.model.dump import Missing

_HEAD_BYTES = 12
_ALIGNMENT = 4
_ERASED = b"ERASEINFO\0"
"""makedumpfile puts this note behind those of the kernel, and these may end in zeros."""


def lost_notes(data: bytes, order: str, at: int) -> Iterator[Missing]:
    """What of the notes is damaged, as far as that shows.

    Notes follow one another without a gap, and VMCOREINFO is text (kernel/crash_core.c).

    :param at: offset of the notes in the file
    """
    offset = 0
    for note in elf.notes(data, order):
        head = data[offset : offset + _HEAD_BYTES]
        if not head.strip(b"\0"):
            rest = data[offset:]
            if rest.strip(b"\0") and _ERASED not in rest:
                yield Missing("the notes are damaged", at + offset, Cause.DAMAGED)
            return
        name_size, size, _ = struct.unpack(order + "III", head)
        offset = _aligned(offset + _HEAD_BYTES + name_size)
        zero = note.desc.find(b"\0")
        if note.name == "VMCOREINFO" and zero >= 0 and note.desc[zero:].strip(b"\0"):
            place = at + offset + zero
            yield Missing("VMCOREINFO is overwritten by zeros", place, Cause.DAMAGED)
            return
        offset = _aligned(offset + size)


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT

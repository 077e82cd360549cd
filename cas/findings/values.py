"""What a value that was used as an address gives away: pure functions.

Source: ``include/linux/poison.h``, ``include/linux/err.h``, ``arch/*/include/asm/memory.h``, from
Linux 2.6 to 7.x.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

PAGE_BYTES = 4096
MAX_ERRNO = 4095
NEAR_BYTES = 4096
"""How far behind a poison an access can be whose pointer it was: the size of a structure."""


class Sort(StrEnum):
    """What a value can be."""

    NULL = "null"
    SMALL = "small"
    ERROR = "error"
    POISON = "poison"
    TEXT = "text"
    NON_CANONICAL = "non-canonical"
    USER = "user"


class Meaning(NamedTuple):
    """What a value is."""

    sort: Sort
    text: str
    """A phrase that follows "is": ``LIST_POISON1, which list_del() leaves …``."""


WIDE = frozenset({"x86_64", "aarch64", "ppc64", "ppc64le", "s390x", "riscv64"})
_DELTAS = (0xDEAD_0000_0000_0000, 0x5DEA_DBEE_F000_0000)
"""CONFIG_ILLEGAL_POINTER_VALUE: of most architectures, of powerpc."""
_REMOVED = "which list_del() leaves in an entry that it removed"
_OFFSETS: Mapping[int, str] = {
    0x100: f"LIST_POISON1, {_REMOVED}: its `next`",
    0x122: f"LIST_POISON2, {_REMOVED}: its `prev` (`pprev` of a hlist)",
    0x100100: f"LIST_POISON1, {_REMOVED}: its `next`",
    0x200: f"LIST_POISON2, {_REMOVED}: its `prev` (`pprev` of a hlist)",
    0x200200: f"LIST_POISON2, {_REMOVED}: its `prev` (`pprev` of a hlist)",
    0x300: "TIMER_ENTRY_STATIC, the entry of a timer that is not pending",
    0x400: "TAIL_MAPPING, the mapping of a page that is not the first of its folio",
}
"""0x100100 and 0x200200 before Linux 4.3 (8a5e5e02fc83), 0x200 until 5.3. All of them have the
offset of the architecture since Linux 4.5 (b8a0255db958)."""
FREED = "the pattern of freed slab memory"
_BYTES: Mapping[int, str] = {
    0x6B: f"{FREED} (6b, POISON_FREE)",
    0x5A: "the pattern of slab memory that was allocated and not set yet (5a, POISON_INUSE)",
    0xA5: "the pattern at the end of a freed slab object (a5, POISON_END)",
    0xAA: "the pattern of freed pages, or of local variables that were not set (aa)",
    0xBB: "the red zone of a freed slab object (bb, SLUB_RED_INACTIVE)",
    0xCC: "a red zone of the slab allocator, or memory that was freed after boot (cc)",
    0xA7: "the pattern of freed memory of a DMA pool (a7, POOL_POISON_FREED)",
    0xA9: "the pattern of allocated memory of a DMA pool (a9, POOL_POISON_ALLOCATED)",
}
_USER_END: Mapping[str, int] = {
    "x86_64": 0x7FFF_FFFF_F000,
    "aarch64": 1 << 48,
    "riscv64": 1 << 38,
    "ppc64": 1 << 52,
    "ppc64le": 1 << 52,
}
_KERNEL_ERRORS = {
    512: "ERESTARTSYS",
    513: "ERESTARTNOINTR",
    514: "ERESTARTNOHAND",
    515: "ENOIOCTLCMD",
    516: "ERESTART_RESTARTBLOCK",
    517: "EPROBE_DEFER",
    518: "EOPENSTALE",
    519: "ENOPARAM",
    521: "EBADHANDLE",
    522: "ENOTSYNC",
    523: "EBADCOOKIE",
    524: "ENOTSUPP",
    525: "ETOOSMALL",
    526: "ESERVERFAULT",
    527: "EBADTYPE",
    528: "EJUKEBOX",
    529: "EIOCBQUEUED",
    530: "ERECALLCONFLICT",
    531: "ENOGRACE",
}
"""``include/linux/errno.h``; the others are the same on all our architectures."""
KASAN_SHADOWS: Mapping[str, int] = {
    "x86_64": 0xDFFF_FC00_0000_0000,
    "aarch64": 0xDFFF_8000_0000_0000,
}
"""CONFIG_KASAN_SHADOW_OFFSET; arm64's with 48 bits of virtual addresses."""
_SHADOWED_BYTES = 8


def error_name(value: int, bits: int) -> str | None:
    """The name of an error that a pointer can carry (``ERR_PTR()``); ``None``: it carries none."""
    number = (1 << bits) - value
    if not 0 < number <= MAX_ERRNO:
        return None
    return _KERNEL_ERRORS.get(number) or errno.errorcode.get(number)


def meaning_of(value: int, arch: str) -> Meaning | None:
    """What a pointer's value gives away; ``None``: it may be any pointer."""
    bits = 64 if arch in WIDE else 32
    if value == 0:
        return Meaning(Sort.NULL, "NULL")
    if poison := _poison_text(value, bits):
        return Meaning(Sort.POISON, poison)
    if (1 << bits) - value <= MAX_ERRNO:
        number, name = (1 << bits) - value, error_name(value, bits)
        if name is None:
            return Meaning(Sort.ERROR, f"-{number:,}: no pointer; an offset was taken from NULL")
        if number % (bits // 8):
            return Meaning(Sort.ERROR, f"ERR_PTR(-{name}), an error and not a pointer")
        # container_of() of NULL gives the same
        text = f"-{number}: ERR_PTR(-{name}), an error and not a pointer"
        return Meaning(Sort.ERROR, f"{text}, or what container_of() makes of NULL")
    if value < PAGE_BYTES:
        text = f"{value:#x}: no pointer, or NULL to which an offset was added"
        return Meaning(Sort.SMALL, text)
    return _wide_meaning(value, arch) if bits == 64 else None


def _wide_meaning(value: int, arch: str) -> Meaning | None:
    if (1 << 32) - MAX_ERRNO <= value < 1 << 32:
        return Meaning(Sort.SMALL, f"{value:#x}, {value - (1 << 32)} in 32 bits and no pointer")
    # eight printable characters, most of them letters and digits
    octets = value.to_bytes(8, "big" if arch in ("ppc64", "s390x") else "little")
    if all(0x20 <= octet < 0x7F for octet in octets) and len(set(octets)) >= 3:
        text = octets.decode("ascii")
        if sum(map(str.isalnum, text)) >= 5:
            return Meaning(Sort.TEXT, f'the text "{text}"')
    if arch == "x86_64" and is_non_canonical(value):
        return Meaning(Sort.NON_CANONICAL, f"{value:#x}, which is no address (not canonical)")
    if value < _USER_END.get(arch, 0):
        return Meaning(Sort.USER, f"{value:#x}, an address in the part that user space has")
    return None


def _poison_text(value: int, bits: int) -> str | None:
    if bits == 64:
        for delta in _DELTAS:
            if found := _OFFSETS.get(value - delta):
                return found
    octets = value.to_bytes(bits // 8, "little")
    if octets == b"\x6b" * 7 + b"\xa5" or octets == b"\xa5" + b"\x6b" * 7:
        return _BYTES[0x6B]
    return _BYTES.get(octets[0]) if len(set(octets)) == 1 else None


def near_poison(address: int, bits: int) -> tuple[int, str] | None:
    """The poison that an address lies shortly behind, and what it is."""
    if bits != 64:
        return None
    for delta in _DELTAS:
        for offset in (0x122, 0x100):
            if 0 <= address - delta - offset < 0x100:
                return delta + offset, _OFFSETS[offset]
    for octet, text in _BYTES.items():
        pattern = int.from_bytes(bytes([octet]) * 8, "little")
        if 0 <= address - pattern < NEAR_BYTES:
            return pattern, text
    return None


FIRST_BIT, LAST_BIT, LAST_UNTAGGED_BIT = 32, 62, 54
"""Lower bits of a pointer differ between neighbours in memory; the upper ones can be tags of it,
which x86_64's kernel has none of."""


def is_one_bit(difference: int, arch: str) -> bool:
    """Whether two pointers differ in one bit, which does not tell neighbours apart."""
    is_one = difference and not difference & (difference - 1)
    last = LAST_BIT if arch == "x86_64" else LAST_UNTAGGED_BIT
    return bool(is_one) and 1 << FIRST_BIT <= difference <= 1 << last


def is_non_canonical(value: int) -> bool:
    """Whether no x86_64, with four or five levels of page tables, has such an address."""
    return value >> 56 not in (0, 0xFF)


def shadowed(address: int, arch: str) -> int | None:
    """The address that generic KASAN was checking when it read its shadow at another one.

    Whoever asks has seen the offset of the shadow in a register.
    """
    offset = KASAN_SHADOWS.get(arch)
    return None if offset is None else ((address - offset) * _SHADOWED_BYTES) & ((1 << 64) - 1)

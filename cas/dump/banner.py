"""Finding the kernel's own words in physical memory when no header leads to them.

Source: init/version.c (linux_banner, in the kernel's read-only data); kernel/crash_core.c
(vmcoreinfo_data, a page of its own; vmcoreinfo_note, where a note's header stands before the text).
"""

from __future__ import annotations

from collections.abc import Iterator

from cas.dump.memory import Memory
from cas.dump.vmcoreinfo import TEXT_LIMIT
from cas.elf import banner_in
from cas.frozen import dataclass

IMAGE_BYTES = 64 << 20
"""How far behind the kernel's text its read-only data is looked for."""
SEARCH_BYTES = 4 << 30
"""Most bytes of memory that are searched when nothing tells where to look."""
_CHUNK_COST = 16 << 10  # a compressed page takes as long as so many plain bytes
_OVERLAP = 1024
_KEY = b"OSRELEASE="
_NOTE_HEAD = 24
_PAGE = 4096


@dataclass(frozen=True, slots=True)
class Found:
    """What a search of memory gave."""

    banner: str | None = None
    vmcoreinfo: bytes | None = None
    is_exhausted: bool = False
    """The search was given up at its limit."""


def banner_of_image(memory: Memory, text: int) -> str | None:
    """The ``Linux version …`` line in the read-only data behind the kernel's text.

    :param text: physical address of the text
    """
    for _, data in _joined_chunks(memory, text, text + IMAGE_BYTES):
        banner = banner_in(data)
        if banner is not None:
            return banner
    return None


def search_memory(memory: Memory, limit_bytes: int = SEARCH_BYTES) -> Found:
    """The banner and the text of VMCOREINFO, anywhere in memory, upwards from its beginning."""
    banner: str | None = None
    vmcoreinfo: bytes | None = None
    seen = 0
    for address, data in _joined_chunks(memory, 0, 1 << 64):
        banner = banner or banner_in(data)
        vmcoreinfo = vmcoreinfo or vmcoreinfo_in(address, data)
        seen += len(data) + _CHUNK_COST
        if banner and vmcoreinfo:
            break
        if seen >= limit_bytes:
            return Found(banner, vmcoreinfo, is_exhausted=True)
    return Found(banner, vmcoreinfo)


def vmcoreinfo_in(address: int, data: bytes) -> bytes | None:
    """The text of VMCOREINFO in bytes of memory that begin at an address.

    At a page boundary only: the same words elsewhere are a program's copy.
    """
    at = data.find(_KEY)
    while at >= 0:
        is_aligned = (address + at) % _PAGE in (0, _NOTE_HEAD)
        text = data[at : at + TEXT_LIMIT].split(b"\0")[0] if is_aligned else b""
        if b"\nPAGESIZE=" in text:
            return text
        at = data.find(_KEY, at + 1)
    return None


def _joined_chunks(memory: Memory, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Chunks, each after the end of the one before it, so that nothing is missed between them."""
    tail, expected = b"", start
    for address, data in memory.chunks(start, end):
        if address != expected:
            tail = b""
        yield address - len(tail), tail + data
        tail, expected = (tail + data[-_OVERLAP:])[-_OVERLAP:], address + len(data)

"""KDUMP files: makedumpfile's and QEMU's compressed format, and its ancestor DISKDUMP.

Block 0 holds the header, then come the sub-header, two bitmaps (the second tells which pages are in
the file), a descriptor for each such page, and the pages.

Source: makedumpfile 1.7.2, IMPLEMENTATION and diskdump_mod.h; crash 8.0.2, diskdump.h.
"""

from __future__ import annotations

from cas import elf
from cas.dump import pages
from cas.dump.kdump_header import Header, read_header
from cas.dump.kdump_memory import DESCRIPTOR_BYTES, KdumpMemory
from cas.dump.memory import Image, Source, cut, moment
from cas.dump.vmcoreinfo import TEXT_LIMIT
from cas.model import Missing

_INCOMPLETE = 0x8
_TAIL_BYTES = DESCRIPTOR_BYTES << 15
_TAIL_STEPS = 32
_PRSTATUS_BYTES = {
    ("<", 336): "x86_64",
    ("<", 392): "aarch64",
    ("<", 504): "ppc64le",
    ("<", 376): "riscv64",
    ("<", 480): "loongarch64",
    ("<", 144): "i686",
    ("<", 148): "arm",
    (">", 336): "s390x",
    (">", 504): "ppc64",
}
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "i386": "i686", "i486": "i686", "i586": "i686"}


def open_kdump(source: Source) -> Image:
    """The image of a KDUMP or DISKDUMP.

    :raises NotADump: the header makes no sense in either byte order
    """
    header = read_header(source)
    memory = KdumpMemory(source, header)
    flags, missing = _survey(source, header, memory)
    notes = _notes(source, header)
    return Image(
        format="KDUMP",
        arch=_arch(header, notes),
        order=header.order,
        memory=memory,
        page_size=header.block_size,
        phys_base=header.phys_base,
        vmcoreinfo=_vmcoreinfo(source, header, notes),
        osrelease=header.utsname[2] or None,
        written=moment(header.timestamp_s),
        dump_level=header.dump_level,
        compression=pages.name(flags, header.status),
        missing=tuple(missing),
    )


def _survey(source: Source, header: Header, memory: KdumpMemory) -> tuple[int, list[Missing]]:
    """The compression flags of the last descriptors, and what the file lacks."""
    missing: list[Missing] = []
    if header.status & _INCOMPLETE:
        missing.append(Missing("makedumpfile marked the dump as incomplete"))
    if header.split:
        what = f"is one part of a split dump: page frames {header.start_pfn} to {header.end_pfn}"
        missing.append(Missing(what))
    parts = (header.vmcoreinfo, header.notes, header.eraseinfo)
    declared = max(sum(part) for part in parts)
    declared = max(declared, header.bitmap_offset + header.bitmap_bytes)
    flags = 0
    if declared <= source.size:
        declared = max(declared, memory.descriptors_end)
    if declared <= source.size:
        flags, end = _last_pages(memory)
        declared = max(declared, end)
    if declared > source.size:
        missing.append(cut(declared, source.size))
    return flags, missing


def _last_pages(memory: KdumpMemory) -> tuple[int, int]:
    """Compression flags and the end of the page data, from the last descriptors.

    Pages of zeros share one page at the very beginning of the data: such descriptors say nothing,
    and the search goes back to the last one that has its own.
    """
    flags, end, first = 0, 0, memory.first_page
    stop = memory.descriptors_end
    for _ in range(_TAIL_STEPS):
        start = max(stop - _TAIL_BYTES, memory.descriptors_offset)
        for offset, size, flag, _ in memory.descriptors(start, stop):
            flags |= flag
            end = max(end, offset + size)
        if end > first or start == memory.descriptors_offset:
            break
        stop = start
    return flags, end


def _notes(source: Source, header: Header) -> list[elf.Note]:
    data = source.read(header.notes[0], min(header.notes[1], elf.NOTES_LIMIT))
    return list(elf.notes(data, header.order))


def _vmcoreinfo(source: Source, header: Header, notes: list[elf.Note]) -> bytes | None:
    offset, size = header.vmcoreinfo
    text = source.read(offset, min(size, TEXT_LIMIT))
    return text or next((note.desc for note in notes if note.name == "VMCOREINFO"), None)


def _arch(header: Header, notes: list[elf.Note]) -> str | None:
    """Of the utsname; QEMU leaves it empty or ``Unknown``, then the register notes' size tells."""
    machine = header.utsname[4]
    name = "arm" if machine.startswith("armv") else _MACHINES.get(machine, machine)
    if name == "x86_64" and header.bits == 32:
        return "i686"
    if name in elf.ARCHES:
        return name
    sizes = (len(note.desc) for note in notes if note.name == "CORE" and note.type == 1)
    return next((_PRSTATUS_BYTES.get((header.order, size)) for size in sizes), None)

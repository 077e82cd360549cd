"""KDUMP files: makedumpfile's and QEMU's compressed format, and its ancestor DISKDUMP.

Block 0 holds the header, then come the sub-header, two bitmaps (the second tells which pages are in
the file), a descriptor for each such page, and the pages.

Source: makedumpfile 1.7.2, IMPLEMENTATION and diskdump_mod.h; crash 8.0.2, diskdump.h.
"""

from __future__ import annotations

from cas import elf
from cas.dump import claims, pages
from cas.dump.kdump_header import read_kdump_header
from cas.dump.kdump_memory import KdumpMemory
from cas.dump.kdump_survey import Survey, survey_kdump
from cas.dump.memory import Image, Source, moment
from cas.dump.notes import lost_notes
from cas.dump.registers import arch_of
from cas.dump.trailing import trailing_remarks
from cas.dump.vmcoreinfo import TEXT_LIMIT

_MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "i386": "i686", "i486": "i686", "i586": "i686"}


_NAMELESS = ("", "(none)", "Unknown")
"""In place of a machine's name: ``UTS_NODENAME`` of a kernel that was given none, and QEMU's."""


def open_kdump(source: Source, *, checked: bool = True, is_far: bool = False) -> Image:
    """The image of a KDUMP or DISKDUMP.

    :param checked: whether pages and descriptors are looked at for damage
    :param is_far: each read costs time: of them only the last are looked at
    :raises NotADump: the header makes no sense in either byte order
    """
    header = read_kdump_header(source)
    memory = KdumpMemory(source, header)
    seen = Survey(header.status, ())
    if checked:
        seen = survey_kdump(source, header, memory, is_far=is_far)
    at, size = header.notes
    data = source.read(at, min(size, elf.NOTES_LIMIT))
    notes = list(elf.notes(data, header.order))
    # a file that ends in its notes is cut, which is told
    lost = lost_notes(data, header.order, at) if at + size <= source.size else ()
    offset, size = header.vmcoreinfo
    vmcoreinfo = source.read(offset, min(size, TEXT_LIMIT)) or next(
        (note.desc for note in notes if note.name == "VMCOREINFO"), None
    )
    # QEMU leaves the utsname empty or says Unknown there: then the register notes' size tells
    arch = arch_of_utsname(header.utsname[4], header.bits) or arch_of(notes, header.order)
    return Image(
        format="KDUMP",
        arch=arch,
        order=header.order,
        memory=memory,
        page_size=header.block_size,
        phys_base=header.phys_base,
        vmcoreinfo=vmcoreinfo,
        osrelease=header.utsname[2] or None,
        nodename=header.utsname[1] if header.utsname[1] not in _NAMELESS else None,
        written=moment(header.timestamp_s),
        dump_level=header.dump_level,
        compression=pages.compression_name(seen.flags, header.status),
        notes=tuple(notes),
        missing=(*claims.of_kdump(header), *seen.missing, *lost),
        remarks=trailing_remarks(source, seen.end) if seen.end else (),
        checked=seen.checked,
        pages=memory.bitmap.count if checked else None,
        pages_checked=seen.pages_checked,
    )


def arch_of_utsname(machine: str, bits: int) -> str | None:
    """The architecture that a utsname's machine means; ``None`` for ``Unknown`` and the like."""
    name = "arm" if machine.startswith("armv") else _MACHINES.get(machine, machine)
    if name == "x86_64" and bits == 32:
        return "i686"
    return name if name in elf.ARCHES else None

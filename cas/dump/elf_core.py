"""ELF vmcores: of /proc/vmcore, makedumpfile -E and QEMU's dump-guest-memory.

Source: elf(5); Linux fs/proc/vmcore.c; makedumpfile 1.7.2 elf_info.c; QEMU dump/dump.c.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import islice

from cas import elf
from cas.dump import claims
from cas.dump.elf_survey import survey_elf
from cas.dump.memory import Absent, Foreign, Image, Source
from cas.dump.page_table import X86_IMAGE_BYTES, X86_KERNEL_MAP
from cas.dump.trailing import trailing_remarks
from cas.errors import NotADump, UnsupportedFormat
from cas.model.dump import Missing

NT_PRPSINFO, NT_TASKSTRUCT, NT_AUXV = 3, 4, 6
NT_FILE, NT_SIGINFO = 0x46494C45, 0x53494749
_OSABI_FREEBSD, _OSABI_STANDALONE = b"\x09", b"\xff"
_CHUNK = 4 << 20


class ElfMemory:
    """Physical memory in the PT_LOAD segments of a core."""

    def __init__(self, source: Source, segments: list[elf.Segment]) -> None:
        """Keep what each segment holds in the file; where two overlap, the lower one counts.

        /proc/vmcore has the kernel's text in a segment of its own and in the memory around it.
        """
        self._source = source
        self._segments = segments
        self._zeros: list[tuple[int, int]] = []
        self._extents: list[tuple[int, int, int]] = []
        covered = 0
        for segment in sorted(segments, key=lambda s: (s.paddr, -s.filesz)):
            start, end = max(segment.paddr, covered), segment.paddr + segment.filesz
            if segment.paddr not in elf.NO_ADDRESS and start < end:
                self._extents.append((start, end, segment.offset + start - segment.paddr))
                covered = end
        self._starts = [start for start, _, _ in self._extents]

    def with_zeros(self) -> ElfMemory:
        """The same memory, with zeros where a segment is longer in memory than in the file.

        makedumpfile leaves pages of zeros out so, and others too: nothing tells them apart.
        """
        filled = ElfMemory(self._source, self._segments)
        filled._zeros = sorted(
            (one.paddr + one.filesz, one.paddr + one.memsz)
            for one in self._segments
            if one.paddr not in elf.NO_ADDRESS and one.filesz < one.memsz
        )
        return filled

    def read(self, address: int, size: int) -> bytes:
        """See `Memory.read`."""
        result = b""
        while len(result) < size:
            at = address + len(result)
            index = bisect_right(self._starts, at) - 1
            start, end, offset = self._extents[index] if index >= 0 else (0, 0, 0)
            part = min(size - len(result), end - at)
            if part > 0:
                data = self._source.read(offset + at - start, part)
            else:
                data = self._zeros_at(at, size - len(result))
            if not data:
                raise Absent(f"physical address {at:#x} is not in the dump")
            result += data
        return result

    def _zeros_at(self, address: int, size: int) -> bytes:
        """Zeros up to where the file has bytes again; none where it does not mean zeros."""
        index = bisect_right(self._zeros, (address, 1 << 64)) - 1
        if index < 0 or not self._zeros[index][0] <= address < self._zeros[index][1]:
            return b""
        following = bisect_right(self._starts, address)
        ends = [self._zeros[index][1], *self._starts[following : following + 1]]
        return bytes(min(size, min(ends) - address))

    def chunks(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """See `Memory.chunks`; holes of a sparse file are not read.

        Segments of a damaged dump may all show the same bytes: no more are given than there are.
        """
        left = self._source.size
        for low, high, offset in self._extents[max(bisect_right(self._starts, start) - 1, 0) :]:
            if low >= end:
                return
            first, last = max(low, start), min(high, end)
            for begin, stop in self._source.data(offset + first - low, offset + last - low):
                for at in range(begin, stop, _CHUNK):
                    if left <= 0:
                        return
                    data = self._source.read(at, min(_CHUNK, stop - at))
                    left -= len(data)
                    yield low + at - offset, data


def open_core(source: Source, *, checked: bool = True) -> Image:
    """The image of an ELF vmcore.

    :param checked: whether what its headers promise is compared with what is there
    :raises NotADump: an ELF file that is no core, or a core of a userland process
    :raises UnsupportedFormat: a core of the Xen hypervisor or of netdump
    """
    header = elf.header(source.read)
    if header.type != elf.ET_CORE:
        raise NotADump(f"an ELF file of type {header.type} is not a core")
    segments = elf.segments(source.read, header)
    notes: list[elf.Note] = []
    left = elf.NOTES_LIMIT
    for segment in [s for s in segments if s.type == elf.PT_NOTE][:16]:
        data = source.read(segment.offset, min(segment.filesz, left))
        left -= len(data)
        # Kernel notes are always padded to 4, whatever p_align says.
        notes += islice(elf.notes(data, header.order), elf.NOTE_LIMIT - len(notes))
    vmcoreinfo = next((n.desc for n in notes if n.name == "VMCOREINFO"), None)
    if vmcoreinfo is None:
        _refuse_foreign(source, header, notes)
    if not segments:
        raise NotADump("an ELF core without program headers")
    loads = [s for s in segments if s.type == elf.PT_LOAD]
    # The segment with the kernel's text tells phys_base: makedumpfile, arch/x86_64.c.
    text = (s for s in loads if X86_KERNEL_MAP <= s.vaddr < X86_KERNEL_MAP + X86_IMAGE_BYTES)
    phys_base = next((s.paddr - (s.vaddr - X86_KERNEL_MAP) for s in text), None)
    missing: tuple[Missing, ...] = ()
    remarks: tuple[str, ...] = ()
    if checked:
        missing = (*claims.of_elf(segments), *survey_elf(source, header, segments))
        remarks = trailing_remarks(source, _end_of_content(source, header, segments))
    return Image(
        format="ELF",
        arch=elf.arch(header),
        order=header.order,
        memory=ElfMemory(source, loads),
        loads=tuple(loads),
        phys_base=phys_base,
        vmcoreinfo=vmcoreinfo,
        notes=tuple(notes),
        missing=missing,
        remarks=remarks,
    )


def _end_of_content(source: Source, header: elf.Header, segments: Sequence[elf.Segment]) -> int:
    """Where the last of what the headers tell of ends in the file."""
    sections = [s for s in elf.sections(source.read, header) if s.type != elf.SHT_NOBITS]
    ends = [segment.offset + segment.filesz for segment in segments]
    ends += [section.offset + section.size for section in sections]
    return max(*ends, header.shoff + header.shnum * header.shentsize)


def _refuse_foreign(source: Source, header: elf.Header, notes: list[elf.Note]) -> None:
    kinds = {(note.name, note.type) for note in notes}
    if any(name == "Xen" for name, _ in kinds):
        raise UnsupportedFormat(
            "a core of a Xen hypervisor", hint="analyse it with crash and xen-syms"
        )
    if elf.section_named(source.read, header, ".note.Xen"):
        raise UnsupportedFormat(
            "a core of a Xen domain", hint="open it with crash and the vmlinux of the domain"
        )
    if source.read(7, 1) in (_OSABI_FREEBSD, _OSABI_STANDALONE):
        raise UnsupportedFormat(
            "a core of a FreeBSD kernel", hint="open it with kgdb of that FreeBSD"
        )
    if ("CORE", NT_TASKSTRUCT) in kinds and ("CORE", NT_AUXV) not in kinds:
        raise UnsupportedFormat("a dump of netdump", hint="open it with crash of that time")
    if any(kind in (NT_AUXV, NT_FILE, NT_SIGINFO, NT_PRPSINFO) for _, kind in kinds):
        # The last 96 bytes of struct elf_prpsinfo are the process's name and arguments.
        info = next((note.desc for note in notes if note.type == NT_PRPSINFO), b"")
        field = info[-96:-80] if len(info) in (124, 128, 136) else b""
        name = field.split(b"\0")[0].decode("ascii", "replace")
        raise Foreign(
            f"a core of a userland process{name and f' ({name})'}, not of the kernel",
            hint="open it with gdb and the program that dumped it",
        )

"""ELF vmcores: of /proc/vmcore, makedumpfile -E and QEMU's dump-guest-memory.

Source: elf(5); Linux fs/proc/vmcore.c; makedumpfile 1.7.2 elf_info.c; QEMU dump/dump.c.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from cas import elf
from cas.dump.memory import Absent, Image, Source, cut
from cas.dump.page_table import X86_IMAGE_BYTES, X86_KERNEL_MAP
from cas.errors import NotADump, UnsupportedFormat
from cas.model import Missing

NT_PRPSINFO, NT_TASKSTRUCT, NT_AUXV = 3, 4, 6
NT_FILE, NT_SIGINFO = 0x46494C45, 0x53494749
_INCOMPLETE = 1
_CHUNK = 4 << 20
_NO_ADDRESS = (1 << 64) - 1, (1 << 32) - 1


class ElfMemory:
    """Physical memory in the PT_LOAD segments of a core."""

    def __init__(self, source: Source, segments: list[elf.Segment]) -> None:
        """Keep what each segment holds in the file; where two overlap, the lower one counts.

        /proc/vmcore has the kernel's text in a segment of its own and in the memory around it.
        """
        self._source = source
        self._extents: list[tuple[int, int, int]] = []
        covered = 0
        for segment in sorted(segments, key=lambda s: (s.paddr, -s.filesz)):
            start, end = max(segment.paddr, covered), segment.paddr + segment.filesz
            if segment.paddr not in _NO_ADDRESS and start < end:
                self._extents.append((start, end, segment.offset + start - segment.paddr))
                covered = end
        self._starts = [start for start, _, _ in self._extents]

    def read(self, address: int, size: int) -> bytes:
        """See `Memory.read`."""
        result = b""
        while len(result) < size:
            at = address + len(result)
            index = bisect_right(self._starts, at) - 1
            start, end, offset = self._extents[index] if index >= 0 else (0, 0, 0)
            part = min(size - len(result), end - at)
            data = self._source.read(offset + at - start, part) if part > 0 else b""
            if not data:
                raise Absent(f"physical address {at:#x} is not in the dump")
            result += data
        return result

    def chunks(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """See `Memory.chunks`; holes of a sparse file are not read."""
        for low, high, offset in self._extents[max(bisect_right(self._starts, start) - 1, 0) :]:
            if low >= end:
                return
            first, last = max(low, start), min(high, end)
            for begin, stop in self._source.data(offset + first - low, offset + last - low):
                for at in range(begin, stop, _CHUNK):
                    address = low + at - offset
                    yield address, self._source.read(at, min(_CHUNK, stop - at))


def open_core(source: Source) -> Image:
    """The image of an ELF vmcore.

    :raises NotADump: an ELF file that is no core, or a core of a userland process
    :raises UnsupportedFormat: a core of the Xen hypervisor or of netdump
    """
    header = elf.header(source.read)
    if header.type != elf.ET_CORE:
        raise NotADump(f"an ELF file of type {header.type} is not a core")
    segments = elf.segments(source.read, header)
    notes = list(_notes(source, header, segments))
    vmcoreinfo = next((n.desc for n in notes if n.name == "VMCOREINFO"), None)
    if vmcoreinfo is None:
        _refuse_foreign(notes, header)
    loads = [s for s in segments if s.type == elf.PT_LOAD]
    return Image(
        format="ELF",
        arch=elf.arch(header),
        order=header.order,
        memory=ElfMemory(source, loads),
        phys_base=_phys_base(loads),
        vmcoreinfo=vmcoreinfo,
        missing=tuple(_missing(source, header, segments)),
    )


def _notes(
    source: Source, header: elf.Header, segments: tuple[elf.Segment, ...]
) -> Iterator[elf.Note]:
    for segment in [s for s in segments if s.type == elf.PT_NOTE][:16]:
        data = source.read(segment.offset, min(segment.filesz, elf.NOTES_LIMIT))
        # Kernel notes are always padded to 4, whatever p_align says.
        yield from elf.notes(data, header.order)


def _refuse_foreign(notes: list[elf.Note], header: elf.Header) -> None:
    kinds = {(note.name, note.type) for note in notes}
    if any(name == "Xen" for name, _ in kinds):
        raise UnsupportedFormat(
            "a core of a Xen hypervisor or domain", hint="analyse it with crash and xen-syms"
        )
    if ("CORE", NT_TASKSTRUCT) in kinds and ("CORE", NT_AUXV) not in kinds:
        raise UnsupportedFormat("a dump of netdump", hint="open it with crash of that time")
    if any(kind in (NT_AUXV, NT_FILE, NT_SIGINFO, NT_PRPSINFO) for _, kind in kinds):
        raise NotADump(
            "a core of a userland process, not of the kernel",
            hint="open it with gdb and the program that dumped it",
        )
    if not notes and header.phnum == 0:
        raise NotADump("an ELF core without program headers")


def _phys_base(loads: list[elf.Segment]) -> int | None:
    """Of the segment with the kernel's text, as makedumpfile has it (arch/x86_64.c)."""
    text = (s for s in loads if X86_KERNEL_MAP <= s.vaddr < X86_KERNEL_MAP + X86_IMAGE_BYTES)
    return next((s.paddr - (s.vaddr - X86_KERNEL_MAP) for s in text), None)


def _missing(
    source: Source, header: elf.Header, segments: tuple[elf.Segment, ...]
) -> Iterator[Missing]:
    if len(segments) < header.phnum:
        what = f"only {len(segments)} of {header.phnum} program headers are there"
        yield Missing(what, offset=source.size)
    declared = max((s.offset + s.filesz for s in segments), default=0)
    if declared > source.size:
        yield cut(declared, source.size)
    # RISC-V uses the bit for its compressed instructions (EF_RISCV_RVC).
    if header.flags & _INCOMPLETE and header.machine != 243:
        yield Missing("makedumpfile marked the dump as incomplete")

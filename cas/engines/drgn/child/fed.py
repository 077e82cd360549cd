"""A dump that drgn reads through our readers, because it is blind to it or cannot open the file.

drgn is given a core of headers and notes alone, which tells it of kernel and processors as the
whole dump would, and reads every byte of memory by asking us. It walks the page tables itself where
it knows how to; elsewhere, and where a walk could not begin, we translate.

Source: drgn 0.3.0, libdrgn/program.c, drgn_program_set_core_dump_fd_internal().
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from tempfile import TemporaryFile

from drgn import FaultError, Platform, Program

from cas import elf
from cas.dump.elf_core import ElfMemory
from cas.dump.flattened import MAGIC, Flattened
from cas.dump.image import open_image
from cas.dump.memory import Image
from cas.dump.page_table import X86_IMAGE_BYTES, X86_KERNEL_MAP
from cas.dump.served_source import source_behind
from cas.dump.translate import Kernel, Machine, kernel_order, page_size_of
from cas.dump.vmcoreinfo import VmcoreInfo, parse_vmcoreinfo
from cas.errors import NotADump, plain_reason

WALKED = frozenset({"x86_64", "aarch64", "arm", "ppc64", "ppc64le", "s390x"})
"""Architectures of which drgn walks the page tables."""
NOTES = ("CORE", "LINUX")
"""Names of the notes that say something of a processor."""
PAGE_BYTES = 4096
MemoryRead = Callable[[int, int, int, bool], bytes]
"""Address, size, offset in the segment, and whether the address is physical."""


class FedDump:
    """A dump that we have opened."""

    def __init__(self, descriptor: int, arch: str | None) -> None:
        """Read its headers.

        :param descriptor: of the file, or of a socket to a `SourceServer`
        :param arch: what is known of it otherwise
        :raises NotADump: they make no sense
        :raises OSError: they cannot be read
        """
        source = source_behind(descriptor)
        if source.read(0, len(MAGIC)) == MAGIC:
            source = Flattened(source)
        self._image = open_image(source, checked=False)
        memory = self._image.memory
        self._memory = memory.with_zeros() if isinstance(memory, ElfMemory) else memory
        self._arch = arch or self._image.arch

    def program(self, platform: Platform | None, vmcoreinfo: str | None) -> Program:
        """drgn with this dump.

        :param vmcoreinfo: in place of what the dump's headers say
        :raises NotADump: nothing tells of which kernel it is, or where its memory is mapped
        """
        text = vmcoreinfo.encode() if vmcoreinfo else self._image.vmcoreinfo
        if not text or self._arch is None:
            raise NotADump("neither its headers nor its memory have VMCOREINFO")
        info = parse_vmcoreinfo(text)
        order = kernel_order(self._image, info)
        prog = Program(platform)
        prog.set_enabled_debug_info_finders([])
        with TemporaryFile(buffering=0) as core:
            core.write(core_of_notes(self._image, self._arch, order, text))
            prog.set_core_dump(os.dup(core.fileno()))  # drgn closes it
        prog.add_memory_segment(0, elf.MAX_ADDRESS, _answering(self._memory.read), True)
        for start, size in self._translated(info):
            kernel = Kernel(self._machine(order, info))
            prog.add_memory_segment(start, size, _answering(kernel.read))
        for segment in self._image.loads:
            # what QEMU has not looked up is 0, or the physical address once more
            if segment.filesz and segment.vaddr not in (0, segment.paddr):
                prog.add_memory_segment(segment.vaddr, segment.memsz, self._moved(segment))
        return prog

    def _translated(self, info: VmcoreInfo) -> Iterator[tuple[int, int]]:
        """The virtual addresses that drgn cannot look up, as start and size in bytes."""
        # drgn takes the bit that marks memory as encrypted for one of the address
        if self._arch not in WALKED or info.number("sme_mask"):
            yield 0, elf.MAX_ADDRESS
        elif self._arch == "x86_64" and info.number("phys_base") is None:
            # without it, which is told since Linux 4.10 (401721ecd1dc), no walk begins
            yield X86_KERNEL_MAP, X86_IMAGE_BYTES

    def _machine(self, order: str, info: VmcoreInfo) -> Machine:
        assert self._arch is not None  # noqa: S101
        page_size = page_size_of(self._image, info) or PAGE_BYTES
        phys_base = self._image.phys_base
        return Machine(self._arch, order, page_size, self._memory, phys_base, info)

    def _moved(self, segment: elf.Segment) -> MemoryRead:
        """Reads virtual addresses of a segment."""
        distance = segment.paddr - segment.vaddr
        return _answering(lambda address, size: self._memory.read(address + distance, size))


def _answering(read: Callable[[int, int], bytes]) -> MemoryRead:
    """What drgn calls for memory: what is not there is a fault, whatever the reason."""

    def read_or_fault(address: int, size: int, _offset: int, _physical: bool) -> bytes:
        try:
            return read(address, size)
        except (NotADump, OSError) as error:
            raise FaultError(plain_reason(error), address) from None

    return read_or_fault


def core_of_notes(image: Image, arch: str, order: str, vmcoreinfo: bytes) -> bytes:
    """An ELF core without memory, with VMCOREINFO and what the dump's notes say of processors."""
    machine, bits = elf.machine_of_arch(arch)
    kept = [note for note in image.notes if note.name in NOTES and image.order == order]
    kept.append(elf.Note("VMCOREINFO", 0, vmcoreinfo))
    notes = b"".join(_note(order, note) for note in kept)
    ident = b"\x7fELF" + bytes((bits // 32, 1 if order == "<" else 2, 1)) + bytes(9)
    header, segment = (52, 32) if bits == 32 else (64, 56)
    start = header + segment
    word = "I" if bits == 32 else "Q"
    head = struct.pack(
        f"{order}HHI{word * 3}IHHHHHH",
        *(elf.ET_CORE, machine, 1, 0, header, 0, 0, header, segment, 1, 0, 0, 0),
    )
    size = len(notes)
    row = (elf.PT_NOTE, 0, start, 0, 0, size, size, 4)
    if bits == 32:
        row = (elf.PT_NOTE, start, 0, 0, size, size, 0, 4)
    table = struct.pack(order + ("IIIIIIII" if bits == 32 else "IIQQQQQQ"), *row)
    return ident + head + table + notes


def _note(order: str, note: elf.Note) -> bytes:
    name = note.name.encode() + b"\0"
    head = struct.pack(order + "III", len(name), len(note.desc), note.type)
    padded = (data + bytes(-len(data) % 4) for data in (name, note.desc))
    return head + b"".join(padded)

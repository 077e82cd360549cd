"""What can be read from a dump whose headers are damaged: words and notes, wherever they stand.

The beginning of the file is searched, and windows spread over the rest. Compressed pages say
nothing here; but a KDUMP has its VMCOREINFO and notes uncompressed, near the beginning.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cas import elf
from cas.choices import Cause
from cas.dump.kdump import arch_of_utsname
from cas.dump.log_search import LOG_BYTES, log_start, loose_log
from cas.dump.memory import Source, moment
from cas.dump.registers import arch_of, registers_of_notes
from cas.dump.vmcoreinfo import TEXT_LIMIT, VmcoreInfo, arch_told, build_id, parse_vmcoreinfo
from cas.errors import NotADump
from cas.klog.log_digest import log_digest
from cas.model.dump import Dump, Missing
from cas.panic import panic_message

BEGINNING_BYTES = 64 << 20
WINDOW_BYTES = 1 << 20
WINDOWS = 64
_CHUNK = 4 << 20
_OVERLAP = 1 << 17
_KEY = b"OSRELEASE="
_CORE_NAME = b"CORE\0\0\0\0"
_NOTE_BYTES = 1024
_NOTES_LIMIT = 8192
_UTSNAME = 12, 65


@dataclass
class _Finds:
    """What the search has come across so far."""

    info: VmcoreInfo = field(default_factory=VmcoreInfo)
    banner: str | None = None
    log_at: int | None = None
    """Offset in the file of the first record of a log."""
    notes: dict[int, elf.Note] = field(default_factory=dict)
    order: str = "<"

    def look(self, at: int, data: bytes) -> None:
        """Take what some bytes hold.

        :param at: their offset in the file
        """
        self.info = self.info if self.info.lines else _whole_vmcoreinfo(data)
        self.banner = self.banner or elf.banner_in(data)
        if self.log_at is None:
            start = log_start(data, self.order)
            self.log_at = None if start is None else at + start
        for place, note in _register_notes(data, self.order):
            if len(self.notes) < _NOTES_LIMIT:
                self.notes[at + place] = note


def salvage_dump(path: Path, source: Source, reason: NotADump, cause: Cause) -> Dump | None:
    """A dump by what is left of it.

    :param reason: why it cannot be opened
    :param cause: of that
    :return: ``None`` when nothing names both the architecture and the kernel
    """
    head = source.read(0, 464)
    # The byte order: of ELF by its header, of KDUMP by its version, which is a small number.
    is_elf = head.startswith(b"\x7fELF")
    is_big = head[5:6] == b"\x02" if is_elf else head[8:10] == bytes(2) and head[8:12] != bytes(4)
    finds = _Finds(order=">" if is_big else "<")
    for at, data in _file_windows(source):
        finds.look(at, data)
    log = None
    if finds.log_at is not None:
        log = loose_log(source.read(finds.log_at, LOG_BYTES), finds.order)
    arch, release = _arch_of_finds(head, finds), _release_of_finds(head, finds)
    if arch is None or release is None:
        return None
    at = min(reason.offset or 0, source.size)
    is_kdump = head.startswith((b"KDUMP   ", b"DISKDUMP"))
    kind = "ELF" if is_elf else "KDUMP" if is_kdump else "flattened dump"
    return Dump(
        path=path,
        format=f"damaged {kind}",
        size_bytes=source.size,
        arch=arch,
        osrelease=release,
        build_id=build_id(finds.info),
        banner=finds.banner,
        crash_time=moment(finds.info.decimal("CRASHTIME") or 0),
        kaslr_offset=finds.info.hexadecimal("KERNELOFFSET"),
        missing=(Missing(f"its headers cannot be read: {reason}", at, cause),),
        panic_message=panic_message(log) if log else None,
        dmesg=log,
        log_digest=log_digest(log),
        vmcoreinfo=finds.info.lines,
        registers=registers_of_notes(
            [note for _, note in sorted(finds.notes.items())], arch, finds.order
        ),
        remarks=("what is told of this dump was found by a search of the damaged file",),
    )


def _file_windows(source: Source) -> Iterator[tuple[int, bytes]]:
    """The file's beginning in steps that overlap, then samples of the rest; holes are skipped."""
    beginning = min(source.size, BEGINNING_BYTES)
    for begin, end in source.data(0, beginning):
        for at in range(begin, end, _CHUNK):
            yield at, source.read(at, min(_CHUNK + _OVERLAP, end - at))
    step = max((source.size - beginning) // WINDOWS, WINDOW_BYTES)
    for at in range(beginning, source.size, step):
        for begin, end in source.data(at, at + WINDOW_BYTES):
            yield begin, source.read(begin, end - begin)


def _whole_vmcoreinfo(data: bytes) -> VmcoreInfo:
    at = data.find(_KEY)
    for _ in range(_NOTES_LIMIT):
        if at < 0:
            break
        text = data[at : at + TEXT_LIMIT].split(b"\0")[0]
        if b"\nPAGESIZE=" in text:
            return parse_vmcoreinfo(text)
        at = data.find(_KEY, at + 1)
    return VmcoreInfo()


def _register_notes(data: bytes, order: str) -> Iterator[tuple[int, elf.Note]]:
    """Register notes: the name CORE, and before it three words."""
    at = data.find(_CORE_NAME)
    for _ in range(_NOTES_LIMIT):
        if at < 0:
            return
        if at >= 12:
            name_size, size, kind = struct.unpack_from(order + "III", data, at - 12)
            if name_size == 5 and kind == 1 and size < _NOTE_BYTES:
                yield at, elf.Note("CORE", kind, data[at + 8 : at + 8 + size])
        at = data.find(_CORE_NAME, at + 1)


def _arch_of_finds(head: bytes, finds: _Finds) -> str | None:
    told = arch_told(finds.info) or arch_of(finds.notes.values(), finds.order)
    told = told or arch_of_utsname(_utsname_word(head, 4), 64)
    if not told and head.startswith(b"\x7fELF") and len(head) >= 20:
        (machine,) = struct.unpack_from(finds.order + "H", head, 18)
        told = elf.arch_of_machine(machine, 32 if head[4] == 1 else 64)
    last = (_release_of_finds(head, finds) or "").rpartition(".")[2]
    told = told or (last if last in elf.ARCHES else None)
    return "ppc64le" if told == "ppc64" and finds.order == "<" else told


def _release_of_finds(head: bytes, finds: _Finds) -> str | None:
    words = (finds.banner or "").split(None, 3)
    said = words[2] if len(words) > 2 else None
    return said or finds.info.lines.get("OSRELEASE") or _utsname_word(head, 2) or None


def _utsname_word(head: bytes, index: int) -> str:
    """A word of the utsname in the header of a KDUMP."""
    if not head.startswith((b"KDUMP   ", b"DISKDUMP")):
        return ""
    start = _UTSNAME[0] + index * _UTSNAME[1]
    word = head[start : start + _UTSNAME[1]].split(b"\0")[0]
    return word.decode("ascii", "replace") if word.isascii() else ""

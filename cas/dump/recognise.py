"""What a file is, by its content: a dump that can be read, or something else with advice."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from cas import elf
from cas.dump import flattened
from cas.dump.foreign import HEAD_BYTES, foreign, raw_memory
from cas.dump.kdump_header import read_kdump_header
from cas.dump.memory import Source
from cas.dump.source import Bytes, opened_source
from cas.errors import NotADump, UnsupportedFormat
from cas.model.dump import KERNEL_LOG

_KDUMP = (b"KDUMP   ", b"DISKDUMP")
_TEXT_BYTES = 512
_OF_NOTE = "give it as a file, which is no pipe, to: cas upload NOTE.json"
_ELF_TYPES = {1: "a relocatable object", 2: "an executable", 3: "a shared object or program"}


def is_dump(head: bytes) -> bool:
    """Whether a file that begins so is a dump of a machine, readable here or not.

    A core of a userland process counts too: only its notes tell, and they come later.

    :param head: the first 512 bytes; 4104 for backups of sadump
    """
    if head.startswith(b"\x7fELF") and len(head) >= 18:
        return head[16:18] in (b"\x04\0", b"\0\x04")
    if head.startswith((*_KDUMP, flattened.MAGIC)):
        return True
    kind = foreign(head)
    return kind is not None and kind.is_dump


def kind_of(head: bytes) -> str | None:
    """What a stream that begins so holds: ``dump``, or more exactly ``part`` or ``vmware``.

    :param head: up to the first 128 KiB; the sub-header that tells a part is behind up to 64 KiB
    :return: ``part``: of a split KDUMP; ``vmware``: a ``.vmss`` or ``.vmsn``, useless without its
        ``.vmem``; ``None``: no dump
    """
    if not is_dump(head):
        return None
    kind = foreign(head)
    if kind is not None:
        return "vmware" if kind.is_vmware else "dump"
    if head.startswith(_KDUMP):
        with suppress(NotADump):
            return "part" if read_kdump_header(Bytes(head)).split else "dump"
    return "dump"


def is_for_ranges(head: bytes) -> bool:
    """Whether a dump that begins so leads by its headers to what is asked for, wherever it is.

    :param head: up to the first 128 KiB, see `kind_of`
    """
    return head.startswith((b"\x7fELF", *_KDUMP)) and kind_of(head) == "dump"


def recognise_file(path: Path) -> str:
    """Which format of dump a file has: ``ELF``, ``KDUMP``, ``flattened`` or ``kernel log``.

    :raises UnsupportedFormat: a dump that nothing here opens
    :raises NotADump: anything else, by its name
    """
    with opened_source(path) as source:
        return recognise_source(source, str(path))


def recognise_source(source: Source, name: str) -> str:
    """See `recognise_file`.

    :param name: of the file, for messages
    """
    head = source.read(0, HEAD_BYTES)
    if not head:
        raise NotADump(f"{name} is empty", hint="look whether the transfer failed")
    if head.startswith(b"\x7fELF"):
        try:
            header = elf.header(source.read)
        except NotADump:
            return "ELF"  # it may be a damaged dump's: its reader tells
        if header.type not in _ELF_TYPES:
            return "ELF"
        what = _ELF_TYPES[header.type]
        if header.type == elf.ET_REL:
            what = "a kernel module" if elf.section_named(source.read, header, ".modinfo") else what
        elif elf.section_named(source.read, header, "__ksymtab"):
            what = "a vmlinux"
        raise NotADump(f"{name} is {what}, not a dump")
    if head.startswith(_KDUMP):
        return "KDUMP"
    if head.startswith(flattened.MAGIC):
        return "flattened"
    kind = foreign(head) or raw_memory(source)
    if kind is None:
        from cas.dump import log_file  # most files are dumps

        if log_file.is_log(source):
            return KERNEL_LOG
        from cas.archive.noting import is_note

        if is_note(head):
            raise NotADump(f"{name} is a note, without a dump", hint=_OF_NOTE)
        raise NotADump(f"{name} is {_unknown_content(head[:_TEXT_BYTES])}")
    if kind.is_dump:
        raise UnsupportedFormat(f"{name} {kind.predicate}", hint=kind.advice)
    raise NotADump(f"{name} is {kind.what}, not a dump", hint=kind.advice)


def _unknown_content(first: bytes) -> str:
    text = first.decode("utf-8", "ignore")
    controls = sum(not letter.isprintable() and letter not in "\r\n\t\f\x1b" for letter in text)
    if not first.strip(b"\0"):
        return "filled with zeros at its beginning, not a dump"
    # Text cut inside a letter loses at most three bytes.
    if controls == 0 and len(text.encode()) >= len(first) - 3:
        return "a text, neither a dump nor a kernel log"
    return "data of an unknown kind, not a dump"

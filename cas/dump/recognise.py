"""What a file is, by its content: a dump that can be read, or something else with advice.

Sources of the magic numbers: crash 8.0.2 (lkcd_vmdump_v*.h, vmware_vmss.h, sadump.h, netdump.h,
s390_dump.c), libvirt qemu_saveimage.h, QEMU migration/savevm.c, magic(5).
"""

from __future__ import annotations

from pathlib import Path

from cas import elf
from cas.dump import flattened
from cas.dump.memory import Source
from cas.dump.source import opened
from cas.errors import NotADump, UnsupportedFormat

HEAD_BYTES = 512
_KDUMP = (b"KDUMP   ", b"DISKDUMP")

_UNPACK = "unpack it, then give the vmcore"
_CONVERT = "convert it to an ELF vmcore where it was taken, or open it with crash"
_MEMORY_ONLY = "take the dump again with: virsh dump --memory-only"

_FOREIGN: tuple[tuple[bytes, str, str], ...] = (
    (b"\xed\x23\x8f\x61\x73\x01\x19\xa8", "a dump of LKCD", _CONVERT),
    (b"\xa8\x19\x01\x73\x61\x8f\x23\xed", "a dump of LKCD", _CONVERT),
    (
        b"\xa8\x19\x01\x73\x61\x8f\x23\xfd",
        "an s390 stand-alone dump",
        "convert it: zgetdump -f elf",
    ),
    (
        b"\xa8\x19\x01\x73\x61\x8f\x23\xfe",
        "an s390 stand-alone dump",
        "convert it: zgetdump -f elf",
    ),
    (b"sadump\0\0", "a dump of sadump", "convert it: makedumpfile -E --diskset or crash"),
    (b"\xd0\xbe\xd0\xbe", "a VMware snapshot", "convert it: vmss2core -N6 FILE.vmss FILE.vmem"),
    (b"\xd0\xbe\xd2\xbe", "a VMware snapshot", "convert it: vmss2core -N6 FILE.vmss FILE.vmem"),
    (b"\xd2\xbe\xd2\xbe", "a VMware snapshot", "convert it: vmss2core -N6 FILE.vmss FILE.vmem"),
    (b"\xd3\xbe\xd3\xbe", "a VMware snapshot", "convert it: vmss2core -N6 FILE.vmss FILE.vmem"),
    (b"\xd1\xba\xd1\xba", "a VMware snapshot", "convert it: vmss2core -N6 FILE.vmss FILE.vmem"),
    (b"\xed\xeb\x0f\xf0", "a core of a Xen domain in the old format", _CONVERT),
    (b"LinuxGuestRecord", "a saved Xen domain", "take a dump with: xl dump-core"),
    (b"Xen saved domain", "a saved Xen domain", "take a dump with: xl dump-core"),
    (b"LibvirtQemudSave", "a guest saved by libvirt", _MEMORY_ONLY),
    (b"LibvirtQemudPart", "an unfinished save of a guest by libvirt", _MEMORY_ONLY),
    (b"QEVM", "a QEMU migration stream", _MEMORY_ONLY),
    (b"\x14\x20\x28\x01", "a saved state of Hyper-V", "convert it: vm2core"),
    (b"EMiL", "a memory image of LiME", "open it with crash"),
)

_OTHER: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"MDMP", "a Windows minidump", "open it with WinDbg"),
    (0, b"PAGEDU", "a Windows crash dump", "open it with WinDbg"),
    (0, b"\x1f\x8b", "a gzip file", _UNPACK),
    (0, b"BZh", "a bzip2 file", _UNPACK),
    (0, b"\xfd7zXZ\0", "an xz file", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "a zstd file", _UNPACK),
    (0, b"\x04\x22\x4d\x18", "an lz4 file", _UNPACK),
    (0, b"\x02\x21\x4c\x18", "an lz4 file", _UNPACK),
    (0, b"\x89LZO\0\r\n\x1a\n", "an lzop file", _UNPACK),
    (0, b"\x5d\0\0", "an lzma file", _UNPACK),
    (0, b"\x1f\x9d", "a file of compress", _UNPACK),
    (0, b"PK\x03\x04", "a zip archive", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (0, b"Rar!\x1a\x07", "a rar archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"07070", "a cpio archive", _UNPACK),
    (0, b"\xc7\x71", "a cpio archive", _UNPACK),
    (
        0,
        b"!<arch>\ndebian",
        "a Debian package",
        "give the vmcore, and the package to the catalogue",
    ),
    (0, b"\xed\xab\xee\xdb", "an RPM package", "give the vmcore, and the package to the catalogue"),
    (0, b"QFI\xfb", "a qcow2 disk image", "give the vmcore on it"),
    (0, b"KDMV", "a VMware disk image", "give the vmcore on it"),
    (0, b"vhdxfile", "a Hyper-V disk image", "give the vmcore on it"),
    (0, b"MZ", "a bootable kernel image or a Windows program", NotADump.hint),
    (514, b"HdrS", "a bootable kernel image", NotADump.hint),
)

_ELF_TYPES = {1: "a relocatable object", 2: "an executable", 3: "a shared object or program"}


def is_dump(head: bytes) -> bool:
    """Whether a file that begins so is a dump of a machine, readable here or not.

    A core of a userland process counts too: only its notes tell, and they come later.

    :param head: the first 512 bytes
    """
    if head.startswith(b"\x7fELF") and len(head) >= 18:
        return head[16:18] in (b"\x04\0", b"\0\x04")
    if head.startswith((*_KDUMP, flattened.MAGIC)):
        return True
    return any(head.startswith(magic) for magic, _, _ in _FOREIGN)


def recognise(path: Path) -> str:
    """Which format of dump a file has: ``ELF``, ``KDUMP`` or ``flattened``.

    :raises UnsupportedFormat: a dump that nothing here opens
    :raises NotADump: anything else, by its name
    """
    with opened(path) as source:
        return recognise_source(source, str(path))


def recognise_source(source: Source, name: str) -> str:
    """See `recognise`.

    :param name: of the file, for messages
    """
    head = source.read(0, HEAD_BYTES + 8)
    if not head:
        raise NotADump(f"{name} is empty", hint="look whether the transfer failed")
    if head.startswith(b"\x7fELF"):
        return _elf(source, name)
    if head.startswith(_KDUMP):
        return "KDUMP"
    if head.startswith(flattened.MAGIC):
        return "flattened"
    for magic, what, advice in _FOREIGN:
        if head.startswith(magic):
            raise UnsupportedFormat(f"{name} is {what}", hint=advice)
    for offset, magic, what, advice in _OTHER:
        if head.startswith(magic, offset):
            raise NotADump(f"{name} is {what}, not a dump", hint=advice)
    raise NotADump(f"{name} is {_nameless(head)}, not a dump")


def _elf(source: Source, name: str) -> str:
    try:
        header = elf.header(source.read)
    except NotADump as error:
        raise NotADump(f"{name} is a damaged ELF file: {error}", offset=error.offset) from error
    if header.type == elf.ET_CORE:
        return "ELF"
    raise NotADump(f"{name} is {_elf_kind(source, header)}, not a dump")


def _elf_kind(source: Source, header: elf.Header) -> str:
    if elf.section_named(source.read, header, ".modinfo") and header.type == elf.ET_REL:
        return "a kernel module"
    if elf.section_named(source.read, header, "__ksymtab") and header.type != elf.ET_REL:
        return "a vmlinux"
    return _ELF_TYPES.get(header.type, "an ELF file of unknown type")


def _nameless(head: bytes) -> str:
    if not head.strip(b"\0"):
        return "filled with zeros at its beginning"
    text = head.decode("utf-8", "ignore")
    controls = sum(not letter.isprintable() and letter not in "\r\n\t\f\x1b" for letter in text)
    # Text cut inside a letter loses at most three bytes.
    if controls == 0 and len(text.encode()) >= len(head) - 3:
        return "a text"
    return "data of an unknown kind"

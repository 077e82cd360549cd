"""Files that are no dump that can be read here: their names, and what to do with them.

Sources of the magic numbers: crash 8.0.2 (lkcd_vmdump_v*.h, vmware_vmss.h, sadump.h, netdump.h,
s390_dump.c, xendump.h, ramdump.c), s390-tools (zgetdump, df_s390.h), Xen (tools/libs/light,
docs/specs/libxc-migration-stream), libvirt qemu_saveimage.h, QEMU migration/savevm.c and
docs/interop/qcow2.txt, FreeBSD sys/vmparam and minidump.h, magic(5).
"""

from __future__ import annotations

import struct

from cas.dump.banner import vmcoreinfo_in
from cas.dump.memory import Source
from cas.dump.vmcoreinfo import parse_vmcoreinfo
from cas.elf import banner_in
from cas.errors import NotADump
from cas.frozen import dataclass

RAW_SEARCH_BYTES = 1 << 30
"""Most bytes of a file without a magic number that are searched for a kernel's words."""
_CHUNK = 4 << 20
_OVERLAP = 1 << 16


@dataclass(frozen=True, slots=True)
class Kind:
    """What a file is."""

    what: str
    """A noun, or a predicate for what only seems to be a dump."""
    advice: str
    is_dump: bool = False
    """It is a dump of a machine."""
    is_vmware: bool = False
    """It is the half of a VMware snapshot that does not hold the memory."""
    is_seeming: bool = False
    """`what` is a predicate."""

    @property
    def predicate(self) -> str:
        """What the file is, behind its name."""
        return self.what if self.is_seeming else f"is {self.what}"


def _kind_of_dump(what: str, advice: str) -> Kind:
    return Kind(what, advice, is_dump=True)


_UNPACK = "unpack it, then give the vmcore"
_CONVERT = "convert it to an ELF vmcore where it was taken, or open it with crash"
_MEMORY_ONLY = "take the dump again with: virsh dump --memory-only"
_CATALOGUE = "give the vmcore, and the package to the catalogue"
_ON_IT = "give the vmcore on it"
_LKCD = _kind_of_dump("a dump of LKCD", _CONVERT)
_S390 = _kind_of_dump("an s390 stand-alone dump", "convert it: zgetdump -f elf DUMP > vmcore")
_SADUMP = _kind_of_dump(
    "a dump of sadump, one partition", "convert it: makedumpfile -c -d 31 SADUMP vmcore"
)
_SADUMP_SET = _kind_of_dump(
    "a dump of sadump, one disk of a set",
    "convert all disks of the set at once: makedumpfile -c -d 31 --diskset=DISK1 --diskset=DISK2 "
    "vmcore",
)
_SADUMP_MEDIA = _kind_of_dump(
    "a dump of sadump, a media backup", "convert it: makedumpfile -c -d 31 BACKUP vmcore"
)
_VMWARE = Kind(
    "a VMware snapshot without the memory, which is in its .vmem",
    "convert both together: vmss2core -N6 FILE.vmss FILE.vmem",
    is_dump=True,
    is_vmware=True,
)
_XEN_SAVE = _kind_of_dump("a saved Xen domain", "take a dump with: xl dump-core")
_QCOW2 = Kind("a qcow2 disk image", _ON_IT)

_MAGICS: tuple[tuple[int, bytes, Kind], ...] = (
    (0, b"\xed\x23\x8f\x61\x73\x01\x19\xa8", _LKCD),
    (0, b"\xa8\x19\x01\x73\x61\x8f\x23\xed", _LKCD),
    (0, b"\xa8\x19\x01\x73\x61\x8f\x23\xfd", _S390),
    (0, b"\xa8\x19\x01\x73\x61\x8f\x23\xfe", _S390),
    (0, b"sadump\0\0", _SADUMP),
    (0, bytes.fromhex("d0bed0be"), _VMWARE),
    (0, bytes.fromhex("d2bed2be"), _VMWARE),
    (0, bytes.fromhex("d3bed3be"), _VMWARE),
    (0, bytes.fromhex("d1bad1ba"), _VMWARE),
    (0, bytes.fromhex("d2bad2ba"), _VMWARE),
    (0, b"\xed\xeb\x0f\xf0", _kind_of_dump("a core of a Xen domain in the old format", _CONVERT)),
    (0, b"\xee\xeb\x0f\xf0", _kind_of_dump("a core of a Xen domain in the old format", _CONVERT)),
    (0, b"LinuxGuestRecord", _XEN_SAVE),
    (0, b"Xen saved domain", _XEN_SAVE),
    (0, b"\xff" * 8 + b"XENF", _XEN_SAVE),
    (0, b"LibvirtQemudSave", _kind_of_dump("a guest saved by libvirt", _MEMORY_ONLY)),
    (
        0,
        b"LibvirtQemudPart",
        _kind_of_dump("an unfinished save of a guest by libvirt", _MEMORY_ONLY),
    ),
    (0, b"QEVM", _kind_of_dump("a QEMU migration stream", _MEMORY_ONLY)),
    (
        0,
        b"\x14\x20\x28\x01",
        _kind_of_dump(
            "a saved state of Hyper-V", "convert it together with its .bin or .vmrs: vm2core"
        ),
    ),
    (
        0,
        b"minidump FreeBSD/",
        _kind_of_dump("a minidump of FreeBSD", "open it with kgdb of that FreeBSD"),
    ),
    (0, b"EMiL", _kind_of_dump("a memory image of LiME", "open it with crash")),
    (0, b"PAGEDU", Kind("a Windows crash dump", "open it with WinDbg")),
    (0, b"MDMP", Kind("a Windows minidump", "open it with WinDbg")),
    (0, b"\x1f\x8b", Kind("a gzip file", _UNPACK)),
    (0, b"BZh", Kind("a bzip2 file", _UNPACK)),
    (0, b"\xfd7zXZ\0", Kind("an xz file", _UNPACK)),
    (0, b"\x28\xb5\x2f\xfd", Kind("a zstd file", _UNPACK)),
    (0, b"\x04\x22\x4d\x18", Kind("an lz4 file", _UNPACK)),
    (0, b"\x02\x21\x4c\x18", Kind("an lz4 file", _UNPACK)),
    (0, b"\x89LZO\0\r\n\x1a\n", Kind("an lzop file", _UNPACK)),
    (0, b"\x5d\0\0", Kind("an lzma file", _UNPACK)),
    (0, b"\x1f\x9d", Kind("a file of compress", _UNPACK)),
    (0, b"PK\x03\x04", Kind("a zip archive", _UNPACK)),
    (0, b"7z\xbc\xaf\x27\x1c", Kind("a 7z archive", _UNPACK)),
    (0, b"Rar!\x1a\x07", Kind("a rar archive", _UNPACK)),
    (257, b"ustar", Kind("a tar archive", _UNPACK)),
    (0, b"07070", Kind("a cpio archive", _UNPACK)),
    (0, b"\xc7\x71", Kind("a cpio archive", _UNPACK)),
    (
        0,
        b"ProblemType: ",
        Kind("a crash report of apport", "unpack it (apport-unpack), then give its VmCore"),
    ),
    (0, b"!<arch>\ndebian", Kind("a Debian package", _CATALOGUE)),
    (0, b"\xed\xab\xee\xdb", Kind("an RPM package", _CATALOGUE)),
    (0, b"QFI\xfb", _QCOW2),
    (0, b"KDMV", Kind("a VMware disk image", _ON_IT)),
    (0, b"vhdxfile", Kind("a Hyper-V disk image", _ON_IT)),
    (0, b"MZ", Kind("a bootable kernel image or a Windows program", NotADump.hint)),
    (514, b"HdrS", Kind("a bootable kernel image", NotADump.hint)),
    (4096, b"sadump\0\0", _SADUMP_MEDIA),
)
HEAD_BYTES = 4104
"""How much of a file's beginning `foreign` looks at."""


def foreign(head: bytes) -> Kind | None:
    """What a file that begins so is; ``None``: a dump that can be read, or nothing known.

    :param head: the first `HEAD_BYTES`
    """
    found = next((kind for at, magic, kind in _MAGICS if head.startswith(magic, at)), None)
    if found is _SADUMP and head[152:156].strip(b"\0"):
        return _SADUMP_SET
    if found is _S390 and len(head) >= 93 and head[92]:
        # one volume of several has a flag behind the number of the volume (struct df_s390_hdr)
        (volume,) = struct.unpack_from(">I", head, 76)
        what = f"volume {volume} of an s390 stand-alone dump on several volumes"
        return _kind_of_dump(what, "convert it on a system that has all volumes: zgetdump -f elf")
    if found is _QCOW2 and (snapshots := int.from_bytes(head[60:64], "big")):
        what = f"a qcow2 disk image with {snapshots} internal snapshots"
        return Kind(what, f"if a snapshot holds the guest: restore it, then {_MEMORY_ONLY}")
    return found


def raw_memory(source: Source) -> Kind | None:
    """Whether a file without a magic number is the memory of a Linux machine, by its words."""
    banner = None
    seen = 0
    for begin, end in source.data(0, source.size):
        for at in range(begin, end, _CHUNK):
            data = source.read(at, min(_CHUNK + _OVERLAP, end - at))
            text = vmcoreinfo_in(at, data)
            if text:
                release = parse_vmcoreinfo(text).lines.get("OSRELEASE")
                return _raw(f"looks like raw memory of Linux {release}")
            banner = banner or banner_in(data)
            seen += len(data)
            if seen > RAW_SEARCH_BYTES:
                return _kind_with_banner(banner)
    return _kind_with_banner(banner)


def _kind_with_banner(banner: str | None) -> Kind | None:
    if banner is None:
        return None
    release = banner.split(None, 3)[2]
    return _raw(f"holds the banner of Linux {release}: it is raw memory, or an image of a disk")


def _raw(what: str) -> Kind:
    advice = "take the dump as ELF, e.g. virsh dump --memory-only; or open it: crash VMLINUX FILE@0"
    return Kind(what, advice, is_dump=True, is_seeming=True)

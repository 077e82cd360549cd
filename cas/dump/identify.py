"""From a dump file to everything that it says about itself without a vmlinux."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from cas.dump.banner import SEARCH_BYTES, Found, banner_of_image, search
from cas.dump.flattened import Flattened
from cas.dump.memory import Absent, Image, Source, moment
from cas.dump.printk import dmesg
from cas.dump.recognise import recognise_source
from cas.dump.source import FileSource, opened
from cas.dump.translate import Kernel, Machine
from cas.dump.vmcoreinfo import VmcoreInfo, parse
from cas.errors import NotADump
from cas.model import Dump, Missing
from cas.panic import panic_message

_BANNER = re.compile(r"^(?:\[ *\d+\.\d+\] )?(Linux version \d+\.\d+.*)$", re.MULTILINE)
_EARLY = 1 << 16
"""The banner is the first line that a kernel prints."""
_BUILD_ID = re.compile(r"[0-9a-f]{16,128}")
_ARCH_LINES = {
    "NUMBER(phys_base)": "x86_64",
    "NUMBER(kimage_voffset)": "aarch64",
    "SAMODE31": "s390x",
    "NUMBER(phys_ram_base)": "riscv64",
    "SYMBOL(mmu_vmemmap_psize)": "ppc64",
    "CONFIG_X86_PAE": "i686",
    "CONFIG_ARM_LPAE": "arm",
}


@dataclass(frozen=True, slots=True)
class _Words:
    """What the crashed kernel said, and which VMCOREINFO led to it."""

    info: VmcoreInfo
    banner: str | None = None
    log: str | None = None
    remarks: tuple[str, ...] = ()

    @property
    def agree(self) -> bool:
        """Whether VMCOREINFO and the banner are both there and name one kernel."""
        return self.banner is not None and _release(self.banner) == self.info.lines.get("OSRELEASE")


def identify(path: Path, search_bytes: int = SEARCH_BYTES) -> Dump:
    """Identity and completeness of a dump, and the kernel log.

    Opening a damaged dump succeeds as long as its headers are there: see `Dump.missing`.

    :param search_bytes: most bytes of memory searched for the banner of a dump whose headers do
        not lead to it
    :raises UnsupportedFormat: a dump that nothing here opens
    :raises NotADump: anything else, or no header left
    """
    with opened(path) as file:
        flattened = recognise_source(file, str(path)) == "flattened"
        try:
            stream = Flattened(file) if flattened else None
            return _identify(path, file, stream, search_bytes)
        except NotADump as error:
            message = f"{path}: {error}"
            raise type(error)(message, hint=error.hint, offset=error.offset) from error


def _identify(path: Path, file: FileSource, stream: Flattened | None, search_bytes: int) -> Dump:
    try:
        image = _open(stream or file)
    except NotADump as error:
        if stream is None or not stream.missing:
            raise
        lost = stream.missing[0]
        raise NotADump(f"{lost.what}; {error}", offset=lost.offset) from error
    words = _listen(image, search_bytes)
    dump = _dump(path, image, words)
    if stream is None:
        return replace(dump, size_bytes=file.size)
    inner = tuple(Missing(missing.what) for missing in image.missing)
    return replace(
        dump,
        format=f"flattened {image.format}",
        size_bytes=file.size,
        missing=stream.missing + inner,
    )


def _open(source: Source) -> Image:
    # Each reader is imported only for its format: it is a share of the whole identification.
    if source.read(0, 4) == b"\x7fELF":
        from cas.dump.elf_core import open_core

        return open_core(source)
    from cas.dump.kdump import open_kdump

    return open_kdump(source)


def _dump(path: Path, image: Image, words: _Words) -> Dump:
    info = words.info
    build_id = info.lines.get("BUILD-ID", "").lower()
    release = _release(words.banner) if words.banner else info.lines.get("OSRELEASE")
    return Dump(
        path=path,
        format=image.format,
        size_bytes=0,
        arch=_arch(image, info),
        osrelease=release or image.osrelease,
        build_id=build_id if _BUILD_ID.fullmatch(build_id) else None,
        banner=words.banner,
        crash_time=moment(info.decimal("CRASHTIME") or 0) or image.written,
        page_size=_page_size(image, info),
        kaslr_offset=info.hexadecimal("KERNELOFFSET"),
        dump_level=image.dump_level,
        compression=image.compression,
        missing=image.missing,
        panic_message=panic_message(words.log) if words.log else None,
        dmesg=words.log,
        vmcoreinfo=info.lines,
        remarks=image.remarks + words.remarks,
    )


def _listen(image: Image, search_bytes: int) -> _Words:
    """The kernel's words by the header's VMCOREINFO; if it is absent or wrong, by a search."""
    told = parse(image.vmcoreinfo or b"")
    words = _hear(image, told)
    if words.agree:
        return words
    found = search(image.memory, search_bytes)
    if found.vmcoreinfo and found.vmcoreinfo != image.vmcoreinfo:
        again = _hear(image, parse(found.vmcoreinfo))
        if again.agree or not told.lines:
            words = again
    return _settle(words, told, found)


def _settle(words: _Words, told: VmcoreInfo, found: Found) -> _Words:
    """Believe the banner, and say what contradicts it."""
    remarks: list[str] = []
    banner = words.banner or found.banner
    claimed = told.lines.get("OSRELEASE")
    if told.lines and banner and claimed != _release(banner):
        remarks.append(f"VMCOREINFO names {claimed}, the kernel itself {_release(banner)}")
        if words.info is told:
            words = _Words(VmcoreInfo(), banner, words.log, words.remarks)
    if not told.lines and words.info.lines:
        remarks.append("VMCOREINFO was found in memory, not in the dump's headers")
    if not told.lines and not words.info.lines:
        remarks.append("no VMCOREINFO in the dump")
    if found.is_exhausted and banner is None:
        remarks.append("the kernel's banner was not found in the part of memory searched")
    return replace(words, banner=banner, remarks=words.remarks + tuple(remarks))


def _hear(image: Image, info: VmcoreInfo) -> _Words:
    """The log and the banner that VMCOREINFO leads to."""
    if not info.lines:
        return _Words(info)
    try:
        kernel = Kernel(_machine(image, info))
    except NotADump as error:
        return _Words(info, remarks=(f"the kernel log cannot be read: {error}",))
    log: str | None = None
    remarks: tuple[str, ...] = ()
    try:
        log = dmesg(kernel)
    except Absent as error:
        remarks = (f"the kernel log cannot be read: {error}",)
    said = _BANNER.search(log[:_EARLY]) if log else None
    return _Words(info, said[1] if said else _image_banner(image, kernel), log, remarks)


def _image_banner(image: Image, kernel: Kernel) -> str | None:
    text = kernel.info.symbol("_stext")
    if text is None:
        return None
    try:
        return banner_of_image(image.memory, kernel.physical(text))
    except Absent:
        return None


def _machine(image: Image, info: VmcoreInfo) -> Machine:
    return Machine(
        arch=_arch(image, info),
        order=image.order,
        page_size=_page_size(image, info) or 4096,
        memory=image.memory,
        phys_base=image.phys_base,
        info=info,
    )


def _arch(image: Image, info: VmcoreInfo) -> str:
    """:raises NotADump: neither the headers nor VMCOREINFO tell"""
    told = (arch for line, arch in _ARCH_LINES.items() if line in info.lines)
    arch = image.arch or next(told, None)
    if arch is None:
        raise NotADump("nothing in the dump tells its architecture")
    return "ppc64le" if arch == "ppc64" and image.order == "<" else arch


def _page_size(image: Image, info: VmcoreInfo) -> int | None:
    size = info.decimal("PAGESIZE")
    return size if size in (4096, 8192, 16384, 32768, 65536) else image.page_size


def _release(banner: str | None) -> str | None:
    """``uname -r``, the third word of the banner."""
    words = (banner or "").split(None, 3)
    return words[2] if len(words) > 2 else None

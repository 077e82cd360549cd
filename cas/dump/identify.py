"""From a dump file to everything that it says about itself without a vmlinux."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from cas.choices import Cause, Checked
from cas.dump.banner import SEARCH_BYTES, banner_of_image, search_memory
from cas.dump.crash_id import HEAD_BYTES, CrashId, id_of_dump, id_of_notes, id_without_notes
from cas.dump.flattened import Flattened
from cas.dump.image import open_image
from cas.dump.log_search import find_log
from cas.dump.memory import Absent, Foreign, Image, Source, moment
from cas.dump.printk import DMESG_LIMIT, Log, read_log
from cas.dump.recognise import recognise_source
from cas.dump.registers import registers_of_notes
from cas.dump.salvage import salvage_dump
from cas.dump.source import FileSource, opened_source
from cas.dump.text_mode import converted
from cas.dump.trailing import trailing_remarks
from cas.dump.translate import Kernel, Machine, kernel_order, page_size_of
from cas.dump.vmcoreinfo import VmcoreInfo, arch_told, build_id, parse_vmcoreinfo
from cas.elf import TooMany
from cas.errors import NotADump, UnsupportedFormat
from cas.frozen import dataclass
from cas.klog.log_digest import log_digest
from cas.model.dump import KERNEL_LOG, Dump, Missing
from cas.panic import panic_message
from cas.units import human_size

_BANNER = re.compile(r"^(?:\[ *\d+\.\d+\] )?(Linux version \d+\.\d+.*)$", re.MULTILINE)
FIRST_RECORDS = 4096
"""makedumpfile writes headers and notes first."""
BEGINNINGS = (2, 4, 8, 16, 64, 256, 1024)
"""Records after which it is looked whether they are enough, for each is a read far away."""
LOOSE_BYTES = 1 << 30
"""Most bytes of memory that are searched for a log that VMCOREINFO does not lead to."""
_BLANK = "the kernel's own memory is zeros in the file"
_CONTENT_BYTES = 64 << 20
_EARLY = 1 << 16
"""The banner is the first line that a kernel prints."""
_AGAIN = "ask for the dump again, sent in binary mode"
_SMALLEST = 4096
"""No dump has less than a page: what does was cut."""


@dataclass(frozen=True, slots=True)
class _Search:
    """How the kernel's words are looked for."""

    limit_bytes: int
    is_header_wrong: bool
    is_far: bool = False
    """Each read costs time: what VMCOREINFO says is enough where it names a build-id."""


@dataclass(frozen=True, slots=True)
class _Words:
    """What the crashed kernel said, and which VMCOREINFO led to it."""

    info: VmcoreInfo
    banner: str | None = None
    log: str | None = None
    remarks: tuple[str, ...] = ()
    missing: tuple[Missing, ...] = ()
    no_log: str | None = None
    """Why the log cannot be read."""
    order: str | None = None
    """The kernel's byte order, where it was asked for."""

    @property
    def told(self) -> tuple[str, ...]:
        """The remarks, with that on the log."""
        said = f"the kernel log cannot be read: {self.no_log}"
        return (said, *self.remarks) if self.no_log else self.remarks

    @property
    def agree(self) -> bool:
        """Whether VMCOREINFO and the banner are both there and name one kernel."""
        return self.banner is not None and _release_in_banner(self.banner) == self.info.lines.get(
            "OSRELEASE"
        )


def identify(
    path: Path, search_bytes: int = SEARCH_BYTES, *, is_header_wrong: bool = False
) -> Dump:
    """Identity and completeness of a dump, and the kernel log.

    A damaged dump succeeds as long as its headers are there, or other words that name its kernel
    and architecture: see `Dump.missing`.

    :param search_bytes: most bytes of memory searched for the banner of a dump whose headers do
        not lead to it
    :param is_header_wrong: believe the VMCOREINFO in memory, not the one in the dump's headers
    :raises UnsupportedFormat: a dump that nothing here opens
    :raises NotADump: anything else, or too little is left
    """
    with opened_source(path) as file:
        kind = recognise_source(file, str(path))
        if kind == KERNEL_LOG:
            from cas.dump.log_file import read_log_file

            return _with_weak_id(read_log_file(path, file), file)
        stream: Flattened | None = None
        try:
            stream = Flattened(file) if kind == "flattened" else None
            dump = _identify_source(path, file, stream, _Search(search_bytes, is_header_wrong))
        except NotADump as error:
            left, changed = None, None
            cause = Cause.CUT if file.size < _SMALLEST else Cause.DAMAGED
            if isinstance(error, TooMany):
                cause = Cause.CLAIM
            elif stream is not None and stream.missing:
                cause = stream.missing[0].cause
            if not isinstance(error, Foreign | UnsupportedFormat):
                left = salvage_dump(path, file, error, cause)
                changed = converted(file, is_flawed=True)
            if left is None:
                why = f"{changed.what}; {error}" if changed else str(error)
                hint = _AGAIN if changed else error.hint
                raise type(error)(f"{path}: {why}", hint=hint, offset=error.offset) from error
            dump = left
        else:
            changed = converted(file, is_flawed=not dump.is_whole)
        if changed:
            dump = replace(dump, missing=(changed, *dump.missing))
        return dump if dump.crash_id else _with_weak_id(dump, file)


def crash_id(path: Path, source: Source) -> CrashId:
    """What the crash of a dump is called.

    :param path: of the dump
    :raises NotADump: it is none
    """
    with suppress(NotADump):
        if found := crash_id_by_headers(str(path), source):
            return found
    return id_of_dump(identify(path))


@dataclass(frozen=True, slots=True)
class Headers:
    """What a dump's headers alone tell of the file."""

    id: CrashId
    format: str
    """As `Dump.format`."""
    dump_level: int | None
    is_whole: bool
    """They promise no more than the file has; of pages, and of a stream, they do not tell."""


def crash_id_by_headers(name: str, source: Source) -> CrashId | None:
    """What the crash of a dump is called, as far as its headers tell: kilobytes are read.

    :param name: what to call it
    :raises NotADump: it is none, or its headers are not all there
    """
    found = headers_of(name, source)
    return found.id if found else None


def headers_of(name: str, source: Source) -> Headers | None:
    """The same, with what else they tell of the file; ``None``: it is a log, or has no notes.

    :raises NotADump: it is none, or its headers are not all there
    """
    kind = recognise_source(source, name)
    if kind == KERNEL_LOG:
        return None
    try:
        if kind != "flattened":
            return _headers_of_image(source)
        for most in BEGINNINGS:
            with suppress(NotADump):  # records of the headers may come later
                if found := _headers_of_image(_Beginning(source, most), "flattened "):
                    return found
        first = _headers_of_image(Flattened(source, FIRST_RECORDS), "flattened ")
        return first or _headers_of_image(Flattened(source), "flattened ")
    except NotADump as error:
        raise type(error)(f"{name}: {error}", hint=error.hint, offset=error.offset) from error


class _Beginning(Flattened):
    """The first records of a stream; nothing is told of the dump that is not in them."""

    def read(self, offset: int, size: int) -> bytes:
        self.require_written(offset, size)
        return super().read(offset, size)


def _headers_of_image(source: Source, prefix: str = "") -> Headers | None:
    image = open_image(source, checked=False, is_far=True)
    named = id_of_notes(image.notes, image.vmcoreinfo)
    if named is None:
        return None
    end = max((load.offset + load.filesz for load in image.loads), default=0)
    is_whole = bool(prefix) or end <= source.size
    return Headers(named, f"{prefix}{image.format}", image.dump_level, is_whole)


def _with_weak_id(dump: Dump, file: Source) -> Dump:
    weak = id_without_notes(dump.log_digest, file.read(0, HEAD_BYTES))
    return replace(dump, crash_id=weak.value, is_crash_id_weak=True)


def identify_by_ranges(path: Path, source: Source) -> Dump:
    """Identity of a dump and its kernel log, by as few bytes of it as may be.

    Nothing is looked for that no header leads to, and nothing is told of what was not read.

    :param path: what to call it
    :raises NotADump: it tells too little, or is no dump
    """
    kind = recognise_source(source, str(path))
    if kind not in ("ELF", "KDUMP"):
        raise NotADump(f"{path} cannot be read by ranges, it is {kind}")
    try:
        image = open_image(source, is_far=True)
        if not image.vmcoreinfo:
            raise NotADump("no VMCOREINFO in its headers")
        words = _words_of_kernel(image, _Search(0, is_header_wrong=False, is_far=True))
        dump = _assembled_dump(path, image, words)
    except NotADump as error:
        raise type(error)(f"{path}: {error}", hint=error.hint, offset=error.offset) from error
    return replace(dump, size_bytes=source.size, checked=Checked.RANGES)


def identify_by_headers(path: Path, source: Source) -> Dump | None:
    """What the headers alone tell, without a look at completeness and memory.

    :return: ``None`` when they name neither release nor build-id
    :raises NotADump: no dump, or its headers are not all there
    """
    if recognise_source(source, str(path)) == "flattened":
        source = Flattened(source)
    image = open_image(source, checked=False)
    info = parse_vmcoreinfo(image.vmcoreinfo or b"")
    dump = _assembled_dump(path, replace(image, missing=(), notes=(), remarks=()), _Words(info))
    return dump if dump.osrelease or dump.build_id else None


def _identify_source(path: Path, file: FileSource, stream: Flattened | None, how: _Search) -> Dump:
    try:
        image = open_image(stream or file)
    except NotADump as error:
        if stream is None or not stream.missing:
            raise
        lost = stream.missing[0]
        raise NotADump(f"{lost.what}; {error}", offset=lost.offset) from error
    words = _words_of_kernel(image, how)
    dump = _assembled_dump(path, image, words)
    if stream is None:
        return replace(dump, size_bytes=file.size)
    inner: tuple[Missing, ...] = ()
    for lack in dump.missing:  # without their offsets, which are not the file's
        follows = stream.missing and lack.cause in (Cause.BLANK, Cause.PAGES, Cause.DAMAGED)
        inner += (Missing(lack.what, cause=stream.missing[0].cause if follows else lack.cause),)
    return replace(
        dump,
        format=f"flattened {image.format}",
        size_bytes=file.size,
        missing=stream.missing + inner,
        remarks=dump.remarks + trailing_remarks(file, stream.end),
    )


def _assembled_dump(path: Path, image: Image, words: _Words) -> Dump:
    info = words.info
    arch = _arch_of_image(replace(image, order=words.order or image.order), info)
    release = _release_in_banner(words.banner) if words.banner else info.lines.get("OSRELEASE")
    remarks = [*image.remarks, *words.told]
    seconds = info.decimal("CRASHTIME") or 0
    if seconds and moment(seconds) is None:
        what = f"VMCOREINFO dates the crash to {seconds:,} s after 1970"
        remarks.append(f"{what}, which is not to be believed")
    named = id_of_notes(image.notes, image.vmcoreinfo)
    return Dump(
        path=path,
        format=image.format,
        size_bytes=0,
        arch=arch,
        osrelease=release or image.osrelease,
        build_id=build_id(info),
        banner=words.banner,
        nodename=image.nodename,
        crash_time=moment(seconds) or image.written,
        page_size=page_size_of(image, info),
        kaslr_offset=info.hexadecimal("KERNELOFFSET"),
        dump_level=image.dump_level,
        compression=image.compression,
        missing=image.missing + words.missing,
        checked=image.checked,
        pages=image.pages,
        pages_checked=image.pages_checked,
        panic_message=panic_message(words.log) if words.log else None,
        dmesg=words.log,
        crash_id=named.value if named else None,
        is_crash_id_weak=bool(named and named.is_weak),
        log_digest=log_digest(words.log),
        vmcoreinfo=info.lines,
        registers=registers_of_notes(
            image.notes, arch, image.order, is_crash="CRASHTIME" in info.lines
        ),
        remarks=tuple(remarks),
    )


def _words_of_kernel(image: Image, how: _Search) -> _Words:
    """The kernel's words by the header's VMCOREINFO; if it is absent or wrong, by a search."""
    search_bytes = how.limit_bytes
    told = parse_vmcoreinfo(image.vmcoreinfo or b"")
    words = _hear(image, told, is_far=how.is_far)
    if how.is_far:
        if words.agree or (words.banner is None and build_id(told)):
            return words
        raise NotADump("VMCOREINFO alone does not tell which kernel it is of")
    if words.agree and not how.is_header_wrong:
        return words if words.log else _with_loose_log(words, image, search_bytes)
    found = search_memory(image.memory, search_bytes)
    if found.vmcoreinfo and found.vmcoreinfo != image.vmcoreinfo:
        again = _hear(image, parse_vmcoreinfo(found.vmcoreinfo))
        if again.agree or not told.lines:
            words = again
            mine, its = build_id(told), build_id(again.info)
            if mine and its and mine != its:
                named = f"VMCOREINFO in memory names build-id {its}, in the dump's headers {mine}"
                words = replace(again, remarks=(*again.remarks, f"{named}: memory is believed"))
    # The banner is believed, and what contradicts it is said.
    remarks: list[str] = []
    banner = words.banner or found.banner
    claimed = told.lines.get("OSRELEASE")
    if told.lines and banner and claimed != _release_in_banner(banner):
        says = f"VMCOREINFO names {claimed or 'no kernel'}"
        remarks.append(f"{says}, the kernel itself {_release_in_banner(banner)}")
        if words.info is told:
            words = replace(words, info=VmcoreInfo(), banner=banner)
    if not told.lines and words.info.lines:
        remarks.append("VMCOREINFO was found in memory, not in the dump's headers")
    if not told.lines and not words.info.lines:
        remarks.append("no VMCOREINFO in the dump")
    if found.is_exhausted and banner is None:
        remarks.append("the kernel's banner was not found in the part of memory searched")
    words = replace(words, banner=banner, remarks=words.remarks + tuple(remarks))
    return _with_loose_log(words, image, search_bytes)


def _with_loose_log(words: _Words, image: Image, search_bytes: int) -> _Words:
    """A log that nothing leads to is looked for by its records."""
    if words.log:
        return words
    order = words.order or image.order
    log = find_log(image.memory, order, min(search_bytes, LOOSE_BYTES))
    if not log:
        return words
    remark = "the kernel log was found by a search for its records, and may lack some"
    return replace(words, log=log, no_log=None, remarks=(*words.remarks, remark))


def _hear(image: Image, info: VmcoreInfo, *, is_far: bool = False) -> _Words:
    """The log and the banner that VMCOREINFO leads to.

    :param is_far: the banner is not looked for where the build-id is known
    """
    if not info.lines:
        return _Words(info)
    try:
        order = kernel_order(image, info)
        machine = Machine(
            arch=_arch_of_image(replace(image, order=order), info),
            order=order,
            page_size=page_size_of(image, info) or 4096,
            memory=image.memory,
            phys_base=image.phys_base,
            info=info,
        )
        kernel = Kernel(machine)
    except NotADump as error:
        return _Words(info, no_log=str(error))
    log, no_log = Log(""), None
    remarks: tuple[str, ...] = ()
    try:
        log = read_log(kernel)
    except Absent as error:
        no_log = str(error)
    said = _BANNER.search(log.text[:_EARLY])
    banner = said[1] if said else None
    text = info.symbol("_stext")
    if banner is None and text is not None and not (is_far and build_id(info)):
        with suppress(Absent):
            banner = banner_of_image(image.memory, kernel.physical(text))
    if log.left_out:
        kept = f"only the newest {human_size(DMESG_LIMIT)} of the kernel log are read"
        remarks = (f"{kept}, {human_size(log.left_out)} before them are not",)
    missing, more = _lost_words(image, kernel, log, banner)
    return _Words(info, banner, log.text or None, remarks + more, missing, no_log, order)


def _lost_words(
    image: Image, kernel: Kernel, log: Log, banner: str | None
) -> tuple[tuple[Missing, ...], tuple[str, ...]]:
    """What of the kernel's words the dump lacks, and remarks on it."""
    missing: tuple[Missing, ...] = ()
    # why memory cannot be read is explained by what the survey saw, where it saw something
    seen = image.missing[0].cause if image.missing else None
    if log.lost:
        total = f"{'' if log.is_counted else 'at least '}{log.records + log.lost}"
        what = f"{log.records} of {total} records of the kernel log could be read"
        missing = (Missing(what, cause=seen or Cause.DAMAGED),)
    elif log.lost_bytes:
        what = f"{human_size(log.lost_bytes)} of the kernel log could not be read"
        missing = (Missing(what, cause=seen or Cause.DAMAGED),)
    # a pointer to the log that is zero: no running kernel has that (kernel/printk/printk.c)
    is_blank, pointer = False, kernel.info.symbol("prb") or kernel.info.symbol("log_buf")
    if not log.text and not banner and pointer is not None:
        with suppress(Absent):
            is_blank = not kernel.long(pointer)
    if not is_blank:
        return missing, ()
    looked_at = 0
    for _, data in image.memory.chunks(0, 1 << 64):
        looked_at += len(data)
        if data.strip(b"\0"):
            what = f"{_BLANK}: the copy was not finished"
            return (*missing, Missing(what, cause=seen or Cause.BLANK)), ()
        if looked_at > _CONTENT_BYTES:
            break
    # made so, perhaps: a whole dump of zeros is no less whole
    return missing, (f"{_BLANK}, and so is all that was looked at",)


def _arch_of_image(image: Image, info: VmcoreInfo) -> str:
    """:raises NotADump: neither the headers nor VMCOREINFO tell"""
    arch = image.arch or arch_told(info)
    if arch is None:
        raise NotADump("nothing in the dump tells its architecture")
    return "ppc64le" if arch == "ppc64" and image.order == "<" else arch


def _release_in_banner(banner: str | None) -> str | None:
    """``uname -r``, the third word of the banner."""
    words = (banner or "").split(None, 3)
    return words[2] if len(words) > 2 else None

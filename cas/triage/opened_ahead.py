"""A plain dump, or the kernel of a log, opened in drgn before anything of it is known for sure.

drgn reads the debug information of a vmlinux for longer than we take to find out what a dump is,
which kernel is its, and whether that may be used. So it begins with what the headers, or the log's
banner, and the cache say at once. Nothing is told by that: the case that is found out later is
opened in its turn, and only if it is of the same files drgn's process keeps what it has read, see
:meth:`cas.engines.drgn.child.target.Target.serves` and
:meth:`cas.engines.drgn.child.locate.Locator.serves`.
"""

from __future__ import annotations

import re
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cas import elf
from cas.catalogue.cache.entry import extracted_with_banner, vmlinux_in
from cas.errors import CasError
from cas.files.patient_calls import Attempt

if TYPE_CHECKING:
    from cas.jobs.order import Order
    from cas.settings.config import Config

_KDUMP = b"KDUMP   "
_VMCOREINFO_BYTES = 64 << 10
_LOG_BYTES = 1 << 20
"""Of a text, in which a kernel's banner is looked for."""
_BANNER = re.compile(rb"Linux version \d[^\r\n]{8,1000}")
_BUILD_ID = re.compile(rb"^BUILD-ID=([0-9a-f]{8,128})$", re.MULTILINE)


class AtHand(NamedTuple):
    """What drgn can begin with."""

    dump: Path | None
    """``None``: it is a kernel log, which drgn does not read."""
    vmlinux: Path


def open_ahead(order: Order, config: Config, begin: Callable[[AtHand], None]) -> None:
    """Have drgn begin with the dump of an order, where that is a plain one of a kernel at hand.

    A vmlinux for which somebody has to vouch first is not touched.

    :param begin: has drgn open it
    """
    is_one_file = not (order.url or order.more or order.member)
    if not is_one_file or config.packages.signatures != "ignore":
        return
    attempt = Attempt(partial(_at_hand, order.upload, config.debugs))
    # the dump may lie on a file system that does not answer: who looks for it later says so
    threading.Thread(target=attempt.run, name="file system", daemon=True).start()
    if attempt.is_slow():
        return
    with suppress(CasError, OSError, ValueError):
        if found := attempt.result(0):
            begin(found)


def _at_hand(upload: Path, cache: Path) -> AtHand | None:
    """The extracted vmlinux of the build-id in the VMCOREINFO of an ELF dump or a KDUMP, or of the
    last banner at the beginning of a text.

    :raises NotADump: it cannot be read, or is no dump
    """
    with elf.opened(upload) as read:
        text = read(0, _LOG_BYTES)
        if text and b"\0" not in text:
            banners = _BANNER.findall(text)
            banner = banners[-1].decode("utf-8", "replace").rstrip() if banners else ""
            vmlinux = extracted_with_banner(banner, cache) if banner else None
            return AtHand(None, vmlinux) if vmlinux else None
        found = _BUILD_ID.search(_kdumps_vmcoreinfo(read) or _elfs_vmcoreinfo(read))
    vmlinux = vmlinux_in(cache, found[1].decode()) if found else None
    return AtHand(upload, vmlinux) if vmlinux and vmlinux.is_file() else None


def _kdumps_vmcoreinfo(read: elf.Read) -> bytes:
    """That of a KDUMP of a little-endian machine; see `cas.dump.kdump_header`, which loads slowly.

    Source: makedumpfile 1.7.2, diskdump_mod.h: struct disk_dump_header, struct kdump_sub_header.
    """
    if read(0, len(_KDUMP)) != _KDUMP:
        return b""
    try:
        (block_size,) = struct.unpack("<I", read(428, 4))
        offset, size = struct.unpack("<QQ", read(block_size + 32, 16))
    except struct.error:  # it is cut
        return b""
    return read(offset, min(size, _VMCOREINFO_BYTES))


def _elfs_vmcoreinfo(read: elf.Read) -> bytes:
    header = elf.header(read)
    if header.type != elf.ET_CORE:
        return b""
    for segment in elf.segments(read, header):
        if segment.type == elf.PT_NOTE:
            data = read(segment.offset, min(segment.filesz, elf.NOTES_LIMIT))
            for note in elf.notes(data, header.order):
                if note.name == "VMCOREINFO":
                    return note.desc
    return b""

"""The files that pstore keeps of a crash: parts of the kernel log, packed and corrected perhaps.

Sources: fs/pstore/platform.c, fs/pstore/inode.c: pstore_mkfile(), fs/pstore/ram_core.c.
"""

from __future__ import annotations

import re
import zlib
from contextlib import suppress
from typing import NamedTuple

_REASONS = r"(?:Panic|Oops|Emergency|Shutdown|Restart|Halt|Poweroff|Unknown)#"
_PART = re.compile(_REASONS + r"(\d{1,9}) Part(\d{1,9})\n")
"""The first line of each part (pstore_dump()); part 1 is the newest."""
_ECC = re.compile(
    r"\n(?:ECC: )?(?:No errors detected"
    r"|(\d{1,9}) Corrected bytes, (\d{1,9}) unrecoverable blocks)(?:\n|\Z)"
)
"""What is written behind a part that has codes to correct it (persistent_ram_ecc_string())."""
_NOTICE = re.compile(r"\n?" + _ECC.pattern)
_LITERALLY = re.compile(r"[^\n]{1,2}" + _REASONS, re.DOTALL)
"""How LZO and LZ4 begin: what was never there before stands as it is, behind its length."""
_PACKED_LIMIT = 1 << 20
"""Bytes of a part; memory and firmware that keep it have less."""
_UNPACKED_LIMIT = 4 << 20
_STEP_BYTES = 64
_ZSTD = b"\x28\xb5\x2f\xfd"


class Record(NamedTuple):
    """A part as the kernel wrote it."""

    raw: bytes
    """Its text, with the first line."""
    flaw: str | None
    """What of it is lost, in words that follow its name."""


def opened_record(raw: bytes) -> Record | None:
    """A part of pstore; ``None``: it is none.

    A kernel that could not unpack one, for it has not the method or the part is damaged, leaves it
    packed: ``dmesg-ramoops-0.enc.z``. Nothing but what comes out tells by which method.
    """
    if _PART.match(raw[:64].decode("latin-1")):
        return Record(*_corrected(raw))
    if not 0 < len(raw) <= _PACKED_LIMIT:
        return None
    packed, flaw = _corrected(raw)
    for unpack in (_inflated, _unzstd, _unlzo, _unlz4):
        text, is_whole = unpack(packed)
        if _PART.match(text[:64].decode("latin-1")):
            lost = None if is_whole else "is damaged: only its beginning could be unpacked"
            return Record(text, flaw or lost)
    return None


def pstore_part(raw: bytes) -> tuple[int, int] | None:
    """Which crash's part a file of pstore is: the count of the crash, and the part's number.

    systemd-pstore's ``dmesg.txt`` is none: it is several parts, put together.
    """
    text = raw.decode("latin-1")
    found = _PART.match(text)
    if found and _PART.search(text, found.end()):
        return None
    return (int(found[1]), int(found[2])) if found else None


def without_heads(text: str) -> str:
    """A text without the first lines of parts, and without what stands behind them."""
    return _PART.sub("", _NOTICE.sub("\n", text)) if _PART.search(text) else text


def _corrected(raw: bytes) -> tuple[bytes, str | None]:
    """A part without what is written behind it, and what could not be corrected."""
    end = raw[-128:].decode("latin-1")
    found = _ECC.search(end)
    if found is None:
        return raw, None
    blocks = int(found[2] or 0)
    flaw = f"has blocks that its codes could not correct: {blocks}" if blocks else None
    return raw[: len(raw) - len(end) + found.start()], flaw


def _inflated(packed: bytes) -> tuple[bytes, bool]:
    """Deflate, bare or in the format of zlib, as Linux 3.10 to 4.18 wrote it."""
    for window in (-zlib.MAX_WBITS, zlib.MAX_WBITS):
        stream, out = zlib.decompressobj(window), bytearray()
        try:
            for at in range(0, len(packed), _STEP_BYTES):
                out += stream.decompress(packed[at : at + _STEP_BYTES], _UNPACKED_LIMIT)
                if stream.eof or len(out) > _UNPACKED_LIMIT:
                    break
        except zlib.error:
            pass
        if out:
            return bytes(out[:_UNPACKED_LIMIT]), stream.eof
    return b"", False


def _unzstd(packed: bytes) -> tuple[bytes, bool]:
    if not packed.startswith(_ZSTD):
        return b"", False
    from zstandard import ZstdDecompressor, ZstdError  # few kernels wrote it

    stream, out = ZstdDecompressor().decompressobj(), b""
    with suppress(ZstdError):
        for at in range(0, len(packed), _STEP_BYTES):
            out += stream.decompress(packed[at : at + _STEP_BYTES])
            if len(out) > _UNPACKED_LIMIT:
                break
    return out[:_UNPACKED_LIMIT], stream.eof


def _unlzo(packed: bytes) -> tuple[bytes, bool]:
    if not _LITERALLY.match(packed[:32].decode("latin-1")):
        return b"", False
    from lzallright import LZOCompressor, LZOError  # few kernels wrote it

    try:
        return bytes(LZOCompressor.decompress(packed)), True
    except LZOError:
        return b"", False


def _unlz4(packed: bytes) -> tuple[bytes, bool]:
    if not _LITERALLY.match(packed[:32].decode("latin-1")):
        return b"", False
    from lz4.block import LZ4BlockError, decompress  # few kernels wrote it

    try:
        return bytes(decompress(packed, uncompressed_size=_UNPACKED_LIMIT)), True
    except LZ4BlockError:
        return b"", False

"""What tells one crash from every other, in whatever file its dump is."""

from __future__ import annotations

import hashlib
import re

_STAMPED = re.compile(r"^(?:<\d+>)?\[ *(\d+\.\d{6})\](.*)$", re.MULTILINE)
_TELLING_LINES = 20
_END_CHARS = 64 << 10


def log_digest(dmesg: str | None) -> str | None:
    """SHA-256 of the kernel log's last lines, as hex.

    Their stamps are microseconds, which no two boots share.

    :return: ``None`` when too few lines have stamps
    """
    stamped = _STAMPED.findall((dmesg or "")[-_END_CHARS:])[-_TELLING_LINES:]
    if len(stamped) < _TELLING_LINES:
        return None
    lines = (f"{stamp} {text.strip()}" for stamp, text in stamped)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()

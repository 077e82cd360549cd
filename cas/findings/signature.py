"""The name of a crash that stays the same wherever and whenever it happens again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from cas.findings.culprit import plain_name
from cas.findings.functions import What, shipped_functions
from cas.klog.kinds import Kind
from cas.model import Frame

DEPTH = 5
"""Functions that count."""
LENGTH = 16
"""Hex digits; 64 bits are enough for every ticket that will ever be."""
_VERSION = "1"


def signature(kind: Kind, frames: Sequence[Frame]) -> str | None:
    """Stable hex id of crashes with the same cause.

    It is the SHA-256 of the kind and of the topmost functions at fault. Addresses, offsets, line
    numbers and compiler suffixes do not count, nor do inlined functions, which the kernel log
    does not name: so another boot, KASLR, a rebuild or a log without vmlinux give the same.

    :param frames: innermost first, beginning with the code at fault
    :return: ``None`` without frames
    """
    names = significant(frames)
    if not names:
        return None
    text = "\n".join((_VERSION, kind, *names))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:LENGTH]


def significant(frames: Sequence[Frame]) -> tuple[str, ...]:
    """The names that the signature is made of."""
    names = (plain_name(frame.function) for frame in frames if not frame.inlined)
    return tuple(name for name in names if name and not _carries(name))[:DEPTH]


def _carries(name: str) -> bool:
    return bool(shipped_functions().what(name) & {What.CARRIER, What.IDLE})

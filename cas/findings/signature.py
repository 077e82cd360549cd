"""The name of a crash that stays the same wherever and whenever it happens again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from cas.findings.crash import Crash
from cas.findings.culprit import plain_name
from cas.findings.functions import What, shipped_functions
from cas.findings.title import headline, named
from cas.klog.kinds import UNNAMED, Kind
from cas.model import Frame, Signature

DEPTH = 5
"""Functions that count."""
LENGTH = 16
"""Hex digits; 64 bits are enough for every ticket that will ever be."""
_VERSION = "1"

VERSION = 3
"""Of the signatures at several granularities. Whoever changes what they are made of raises it."""
PATTERNS = "6827b5102b390416"
"""Of the shipped patterns, which this version was made with."""
TOP = {"top 3": 3, "top 5": 5}
_UNTOLD = UNNAMED | {Kind.NONE}
"""Kinds of crashes that happen everywhere for different reasons: none is the same as another."""


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


def signatures(crash: Crash) -> tuple[Signature, ...]:
    """The crash's names at several granularities, from coarse to fine.

    ``title``: headline and function at fault; ``top 3``, ``top 5``, ``full``: headline and the
    frames that count. They are the same from a backtrace and from the kernel log alone, and
    depend on the shipped patterns only. A granularity that there are too few frames for is
    missing, as is everything for crashes that have no cause of their own in the kernel.
    """
    return tuple(Signature(VERSION, name, _hash(name, *parts)) for name, parts in _parts(crash))


def counted(frames: Sequence[Frame]) -> tuple[Frame, ...]:
    """The frames that signatures are made of."""
    return tuple(f for f, why in zip(frames, uncounted(frames), strict=True) if why is None)


def uncounted(frames: Sequence[Frame]) -> tuple[str | None, ...]:
    """Why each frame does not count: ``inlined``, or what the function is; ``None``: it does.

    The function at fault itself counts, whatever it is.
    """
    functions = shipped_functions()
    own = next((n for n, frame in enumerate(frames) if not frame.inlined), None)
    said: list[str | None] = []
    for number, frame in enumerate(frames):
        what = functions.what(plain_name(frame.function))
        if frame.inlined:
            said.append("inlined")
        else:
            said.append(None if number == own or not what else ", ".join(sorted(what)))
    return tuple(said)


def _parts(crash: Crash) -> Iterator[tuple[str, tuple[str, ...]]]:
    head = headline(crash)
    if crash.kind in _UNTOLD or (crash.owner is None and not _is_telling(crash)):
        return
    if crash.is_guessed or crash.is_mixed:
        return  # another guess, another name
    yield "title", (head, named(crash.owner) if crash.owner and " / " not in head else "")
    names = tuple(named(frame) for frame in counted(crash.frames))
    if crash.is_guess:
        return
    for name, depth in TOP.items():
        if len(names) > depth // 2:
            yield name, (head, *names[:depth])
    if names:
        yield "full", (head, *names)


def _is_telling(crash: Crash) -> bool:
    """Whether the headline alone names one cause: a panic's own words do."""
    return crash.kind is Kind.PANIC or " / " in headline(crash)


def _hash(*parts: str) -> str:
    text = "\n".join((str(VERSION), *parts))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:LENGTH]

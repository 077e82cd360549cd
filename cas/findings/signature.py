"""The name of a crash that stays the same wherever and whenever it happens again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from cas.choices import Kind
from cas.findings.crash import Crash
from cas.findings.culprit import plain_name
from cas.findings.functions import What, shipped_functions
from cas.findings.title import function_with_kmod, has_words, headline
from cas.klog.kinds import UNNAMED
from cas.model.code import Frame
from cas.model.finding import SAME, SIMILAR, Signature

DEPTH = 5
"""Functions that counted in the first version."""
LENGTH = 16
"""Hex digits; 64 bits are enough for every ticket that will ever be."""
FEWEST = 2
_FORMER = "1"

VERSION = 3
"""Number of the way signatures are made. Whoever changes what they are made of raises it."""
PATTERNS = "f233124989bb2ebc"
"""Digest of the shipped patterns that this version was made with."""
TOP = {"top 3": 3, "top 5": 5}
_UNTOLD = UNNAMED | {Kind.NONE}
"""Kinds of crashes that happen everywhere for different reasons: none is the same as another."""


def former(crash: Crash) -> str | None:
    """What the first version of the rules calls a crash: kind and topmost functions.

    Jobs of that time have no other name. Two that are equal have the same functions, whichever
    rules chose them; one function alone is not enough to call crashes the same, nor is the kind
    where its reports have words of their own, which did not count then.

    :return: ``None`` where an equal value would not say that it is the same
    """
    names = significant(crash.frames)
    is_told = (
        len(counted(crash.frames)) >= FEWEST and not crash.is_guess and crash.kind not in _UNTOLD
    )
    if not is_told or has_words(crash):
        return None
    text = "\n".join((_FORMER, crash.kind, *names))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:LENGTH]


def most_telling(named: Sequence[Signature]) -> str | None:
    """The signature by which a crash is called the same as another, else similar."""
    values = {each.granularity: each.value for each in named}
    return values.get(SAME) or values.get(SIMILAR)


def significant(frames: Sequence[Frame]) -> tuple[str, ...]:
    """The names that the first version of signatures is made of."""
    known, passing = shipped_functions(), {What.CARRIER, What.IDLE}
    names = (plain_name(frame.function) for frame in frames if not frame.inlined)
    return tuple(name for name in names if name and not known.what(name) & passing)[:DEPTH]


def signatures(crash: Crash) -> tuple[Signature, ...]:
    """The crash's names at several granularities, from coarse to fine.

    ``title``: headline and function at fault; ``top 3``, ``top 5``, ``full``: headline and the
    frames that count. They are the same from a backtrace and from the kernel log alone, and
    depend on the shipped patterns only. A granularity that there are too few frames for is
    missing, as is everything for crashes that have no cause of their own in the kernel.
    """
    made = []
    for name, parts in _parts_by_granularity(crash):
        text = "\n".join((str(VERSION), name, *parts))
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
        made.append(Signature(VERSION, name, digest[:LENGTH]))
    return tuple(made)


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


def _parts_by_granularity(crash: Crash) -> Iterator[tuple[str, tuple[str, ...]]]:
    head = headline(crash)
    # a panic's own words name one cause
    is_telling = crash.kind is Kind.PANIC or " / " in head
    if crash.kind in _UNTOLD or (crash.owner is None and not is_telling):
        return
    if crash.is_guessed or crash.is_mixed or crash.is_everybodys:
        return  # another guess, another name; and what is everybody's is in crashes of all
    owner = None if " / " in head else crash.owner
    yield "title", (head, function_with_kmod(owner) if owner else "")
    names = tuple(function_with_kmod(frame) for frame in counted(crash.frames))
    if crash.is_guess:
        return
    for name, depth in TOP.items():
        if len(names) > depth // 2:
            yield name, (head, *names[:depth])
    if names:
        yield "full", (head, *names)

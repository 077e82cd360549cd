"""What came before a crash, in words: the same on the screen and in every report."""

from __future__ import annotations

from cas.klog.troubles import Trouble
from cas.model.finding import Finding
from cas.text import log_event, short_line

SHOWN = 20
"""Kinds of lines that are told; ``result.json`` has more of them."""
FIRST = 3
"""Events on the first screen."""
_STARTED_S = 120.0
"""Seconds after the boot in which any machine loads modules; the report has a row of those."""
_LINE = 200
"""Characters of a line of the first screen."""


def before_phrases(finding: Finding | None) -> tuple[str, ...]:
    """What the kernel log says of the time before the crash, the most telling first."""
    events = finding.before if finding else ()
    return (*map(log_event, events[:SHOWN]), *_more_line(len(events) - SHOWN))


def first_before(finding: Finding | None) -> tuple[str, ...]:
    """The most telling of them, cut if they are long."""
    events = [
        event
        for event in (finding.before if finding else ())
        if event.kind != Trouble.KMOD or (event.last_s or 0.0) >= _STARTED_S
    ]
    told = (short_line(log_event(event), _LINE) for event in events[:FIRST])
    return (*told, *_more_line(len(events) - FIRST))


def _more_line(count: int) -> tuple[str, ...]:
    return (f"and {count:,} more",) if count > 0 else ()

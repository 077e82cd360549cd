"""A kernel log's call trace with the lines of the source that its code was found to stand in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cas.klog.report import Trace
from cas.model.code import Frame, Location


def with_lines(trace: Trace, locations: Sequence[Location]) -> Trace:
    """A trace whose frames have file and line, and those before them that are inlined in them.

    A frame is the call that returns there, but for the first one where the registers were printed,
    and where an exception interrupted other code.
    """
    if not locations:
        return trace
    lines: dict[Frame, Location | None] = {}
    for each in locations:
        place = each.place
        key = Frame(place.function, place.offset, kmod=place.kmod)
        lines[key] = None if key in lines else each  # of two of one name nothing tells which
    frames: list[Frame] = []
    interrupted: set[int] = set()
    for number, frame in enumerate(trace.stack):
        is_exact = number in trace.interrupted or (number == 0 and trace.pc is not None)
        found = lines.get(frame)
        shown = (found.exact if is_exact else found.caller) if found else ()
        frames += shown or (frame,)
        if number in trace.interrupted:
            interrupted.add(len(frames) - 1)
    return replace(trace, pc=None, frames=tuple(frames), interrupted=frozenset(interrupted))

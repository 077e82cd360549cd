"""What drgn's process says of the places of a kernel log, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cas.errors import EngineError
from cas.model.code import CodePlace, Frame, Located, Location


def located_of(
    places: Sequence[CodePlace], found: Mapping[str, Any], problem: str | None
) -> Located:
    """Its answer.

    :param places: that were asked for
    :raises EngineError: it could not begin
    """
    if "misfits" not in found or (problem and not found["places"]):
        raise EngineError(problem or "drgn located nothing")
    misfits = tuple(name or None for name in found["misfits"])
    locations = tuple(
        Location(place, _frames(place, lines["exact"]), _frames(place, lines["caller"]))
        for place, lines in zip(places, found["places"], strict=False)
        if lines and place.kmod not in misfits and None not in misfits
    )
    return Located(locations, misfits, problem)


def _frames(place: CodePlace, lines: Sequence[Mapping[str, Any]]) -> tuple[Frame, ...]:
    """What is inlined there, and the function as the log names it, with its file and line."""
    if not lines:
        return ()
    *inlined, own = lines
    return (
        *(_frame(line, Frame(line["function"], kmod=place.kmod, inlined=True)) for line in inlined),
        _frame(own, Frame(place.function, place.offset, kmod=place.kmod)),
    )


def _frame(line: Mapping[str, Any], frame: Frame) -> Frame:
    return replace(frame, file=line["file"] or None, line=line["line"] or None)

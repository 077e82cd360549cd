"""What every CPU did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cas.detectors.case import Case
from cas.detectors.processors import Processor, processors
from cas.model import Evidence

FEW = 4
"""CPUs of which the sentence tells each."""


def detect(case: Case) -> Iterator[Evidence]:
    """One sentence, with a line for each CPU; idle ones come last."""
    every = list(processors(case))
    if every:
        busy = [each for each in every if not each.is_idle]
        idle = [each for each in every if each.is_idle]
        yield Evidence(
            summary(every), "runqueues", "bt -a", details=tuple(e.line for e in busy + idle)
        )


def summary(every: Sequence[Processor]) -> str:
    """What the CPUs did, in a sentence."""
    busy = [each for each in every if not each.is_idle]
    if not busy:
        return f"all {len(every):,} CPUs were idle"
    idle = len(every) - len(busy)
    said = [_short(each) for each in busy[:FEW]]
    if len(busy) > FEW:
        said.append(f"{len(busy) - FEW:,} more were busy")
    if idle:
        said.append(f"{idle:,} of {len(every):,} CPUs idle")
    return "; ".join(said)


def _short(each: Processor) -> str:
    place = f"in {each.place}" if each.place else each.doubt
    return " ".join(filter(None, (each.name, "panicked" if each.is_panicked else "", place)))

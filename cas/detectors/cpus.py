"""What every CPU did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cas.detectors.case import Case
from cas.detectors.processors import Processor, processors
from cas.model.evidence import Evidence

FEW = 4
"""CPUs of which the sentence tells each."""


def detect(case: Case) -> Iterator[Evidence]:
    """One sentence, with a line for each CPU; idle ones come last.

    What cannot be read is nothing that the dump shows.
    """
    found = list(processors(case))
    every = [each for each in found if each.seen is not None]
    unread: dict[str, list[str]] = {}
    for each in found:
        if each.seen is None:
            unread.setdefault(each.doubt, []).append(each.cpu_)
    for doubt, cpus in unread.items():
        more = f" and {len(cpus) - FEW:,} more" if len(cpus) > FEW else ""
        case.remark(f"{', '.join(cpus[:FEW])}{more}: {doubt}")
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
    said: list[str] = []
    for each in busy[:FEW]:
        place = f"in {each.place}" if each.place else each.doubt
        panicked = "panicked" if each.is_panicked else ""
        said.append(" ".join(filter(None, (each.name, panicked, place))))
    if len(busy) > FEW:
        said.append(f"{len(busy) - FEW:,} more were busy")
    if idle:
        said.append(f"{idle:,} of {len(every):,} CPUs idle")
    return "; ".join(said)

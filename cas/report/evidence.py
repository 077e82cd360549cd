"""What the detectors found, as lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cas.model import Detection, DetectorStatus, Evidence, Weight
from cas.text import one_line

_SAID = {DetectorStatus.FAILED: "failed", DetectorStatus.TIMEOUT: "ran out of time"}


def evidence_of(detections: Sequence[Detection]) -> Iterator[Evidence]:
    """All evidence, what explains the crash first."""
    for weight in Weight:
        for detection in detections:
            yield from (each for each in detection.evidence if each.weight is weight)


def causes(detections: Sequence[Detection]) -> Iterator[str]:
    """What explains the crash, for the terminal."""
    for each in evidence_of(detections):
        if each.weight is Weight.CAUSE:
            yield f"evidence: {each.sentence}"


def limits(detections: Sequence[Detection]) -> Iterator[str]:
    """How far detectors looked, or why they gave nothing, where a reader should know."""
    for each in detections:
        if each.status is DetectorStatus.SKIPPED or not (each.remark or each.status in _SAID):
            continue
        words = (_SAID.get(each.status), each.remark)
        yield one_line(f"{each.title}: {', '.join(filter(None, words))}")


def evidence_lines(detections: Sequence[Detection]) -> Iterator[str]:
    """The section of the text report; none where there is no evidence and nothing to say of it."""
    for each in evidence_of(detections):
        yield f"- {one_line(each.sentence)}"
        yield f"  ({one_line(each.source)}; to see it: {one_line(each.command)})"
        yield from (f"    {one_line(line)}" for line in each.details)
    yield from (f"- {line}" for line in limits(detections))

"""What the detectors found, in the order in which it is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cas.choices import DetectorStatus, Weight
from cas.model.evidence import Detection, Evidence
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


def looking_limits(detections: Sequence[Detection]) -> Iterator[str]:
    """How far detectors looked, or why they gave nothing, where a reader should know."""
    for each in detections:
        if each.status is DetectorStatus.SKIPPED or not (each.remark or each.status in _SAID):
            continue
        words = (_SAID.get(each.status), each.remark)
        yield one_line(f"{each.title}: {', '.join(filter(None, words))}")

"""What drgn says of a crash: the first answer, and evidence of what is behind it."""

from __future__ import annotations

from cas.choices import DetectorStatus, Kind
from cas.engines.drgn.process import FIRST_ANSWER_S, Worker
from cas.errors import EngineError
from cas.model.answer import FirstAnswer
from cas.model.case import Case
from cas.model.evidence import Detection
from cas.model.kernel import Match
from cas.triage.context import Context
from cas.triage.kmods import Kmods


def first_answer(
    case: Case, match: Match | None, worker: Worker, kmods: Kmods, context: Context
) -> FirstAnswer | None:
    """What crashed, where and why; ``None``: drgn could not say, which costs the verdict."""
    try:
        with context.timed("first answer"), context.progress.bar("Asking drgn what crashed", None):
            answer = worker.answer(case, FIRST_ANSWER_S)
    except EngineError as error:
        context.degrade(f"drgn gave no first answer: {error}")
        return None
    return kmods.look_closer(answer, match) if match else answer


def detections(
    answer: FirstAnswer, kind: Kind | None, worker: Worker, kmods: Kmods, context: Context
) -> tuple[Detection, ...]:
    """What the detectors find in the dump that drgn has open.

    :param kind: of the crash
    """
    kmods.supply_detectors(answer)
    try:
        with context.timed("detectors"), context.progress.bar("Looking for evidence", None):
            found = worker.detect(answer, kind)
    except EngineError as error:
        context.remark(f"no detector ran: {error}")
        return ()
    for each in found:
        if each.status in (DetectorStatus.FAILED, DetectorStatus.TIMEOUT):
            context.progress.note(f"{each.detector}: {each.status}: {each.remark}")
    return found

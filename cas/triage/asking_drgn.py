"""What drgn says of a crash: the first answer, and evidence of what is behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cas.choices import DetectorStatus, Kind
from cas.engines.drgn.process import FIRST_ANSWER_S, Worker
from cas.errors import EngineError
from cas.model.answer import FirstAnswer
from cas.model.case import Case
from cas.model.evidence import Detection
from cas.triage.context import Context
from cas.triage.kmods import Kmods, lacks_lines_of_kmods


def first_answer(
    case: Case,
    worker: Worker,
    context: Context,
    tell: Callable[[FirstAnswer], None],
    meanwhile: Iterator[None],
) -> FirstAnswer | None:
    """What crashed, where and why; ``None``: drgn could not say, which costs the verdict.

    :param tell: told of the crash while drgn reads the rest, unless a closer look at kmods may show
        more of it
    :param meanwhile: what to do while drgn looks for it, step by step
    """

    def tell_settled(answer: FirstAnswer) -> None:
        if not lacks_lines_of_kmods(answer):
            tell(answer)

    try:
        with context.timed("first answer"), context.progress.bar("Asking drgn what crashed", None):
            return worker.answer(case, FIRST_ANSWER_S, tell_settled, meanwhile)
    except EngineError as error:
        context.degrade(f"drgn gave no first answer: {error}")
        return None


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

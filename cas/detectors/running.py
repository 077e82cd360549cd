"""A detector's run: bounded in time and output, and its end told whatever happens."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from drgn import FaultError

from cas.choices import DetectorStatus
from cas.detectors.case import Case
from cas.detectors.needs import unmet
from cas.detectors.registry import Detector
from cas.model.evidence import Detection, Evidence
from cas.text import plain_fault, short_line

WALL_S = 1.5
"""After which a detector is ended though the processor had little time for it."""
MAX_EVIDENCE = 20
MAX_DETAILS = 40
LINE_LIMIT = 400
"""Characters of a sentence, or of one line of the details."""


class OutOfTime(BaseException):
    """A detector has used its time; not for its own handlers to catch."""


@dataclass(slots=True)
class _Found:
    """What a detector has given so far."""

    status: DetectorStatus = DetectorStatus.OK
    evidence: tuple[Evidence, ...] = ()


def run_detector(detector: Detector, case: Case) -> Detection:
    """What a detector finds; its failure is part of the answer."""
    begun = time.monotonic()
    case.begin(detector.limit_s)
    found = _Found()
    try:
        with detector_time_limit(detector.limit_s):
            _collect_evidence(detector, case, found)
    except OutOfTime:
        found.status = DetectorStatus.TIMEOUT
        case.remark(f"ended after {detector.limit_s:g} s")
    except FaultError as error:
        found.status = DetectorStatus.FAILED
        case.remark(str(error))
    except MemoryError:
        found.status = DetectorStatus.FAILED
        case.remark("out of memory")
    except Exception as error:
        found.status = DetectorStatus.FAILED
        case.remark(str(error) or type(error).__name__)
    remark = short_line(plain_fault("; ".join(case.remarks)), LINE_LIMIT) or None
    seconds = round(time.monotonic() - begun, 3)
    return Detection(detector.name, detector.title, found.status, found.evidence, remark, seconds)


def skipped(detector: Detector, why: str) -> Detection:
    """A detector that is not run."""
    return Detection(detector.name, detector.title, DetectorStatus.SKIPPED, remark=why)


def _collect_evidence(detector: Detector, case: Case, found: _Found) -> None:
    lack = unmet(detector.needs, case)
    if lack is not None:
        found.status = DetectorStatus.SKIPPED
        case.remark(lack)
        return
    for evidence in detector.detect(case):
        if len(found.evidence) >= MAX_EVIDENCE:
            case.remark(f"there is more than the {MAX_EVIDENCE} that are told")
            break
        found.evidence += (bounded_evidence(evidence),)


def bounded_evidence(evidence: Evidence) -> Evidence:
    """The same in printable lines of a bounded length."""
    details = [short_line(text, LINE_LIMIT) for text in evidence.details[:MAX_DETAILS]]
    more = len(evidence.details) - MAX_DETAILS
    if more > 0:
        details.append(f"and {more:,} more")
    return replace(
        evidence,
        sentence=short_line(evidence.sentence, LINE_LIMIT),
        source=short_line(evidence.source, LINE_LIMIT),
        command=short_line(evidence.command, LINE_LIMIT),
        details=tuple(details),
    )


@contextmanager
def detector_time_limit(seconds: float) -> Iterator[None]:
    """Raise :class:`OutOfTime` in the block when it takes longer.

    Seconds of the processor: a busy machine must not change what is found. A limit of the wall's
    clock comes on top, for reads that wait.
    """
    before = {
        number: signal.signal(number, _raise_out_of_time)
        for number in (signal.SIGPROF, signal.SIGALRM)
    }
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, max(WALL_S, seconds))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _raise_out_of_time(*_: object) -> None:
    raise OutOfTime

"""The detectors in drgn's own process: the case that they look at, and one after the other."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from drgn import Object, StackFrame

from cas.detectors.case import Broken, Case
from cas.detectors.registry import detectors_of
from cas.detectors.running import run_detector, skipped
from cas.engines.drgn.child.backtrace import NotPanicked, frame_of, kernel_frames, panic_cpu, unwind
from cas.engines.drgn.child.target import Target
from cas.model.code import Frame
from cas.model.evidence import Evidence

TOTAL_S = 3.0
"""Seconds of the processor for all detectors; those behind are skipped."""

Message = dict[str, Any]


def detections(
    target: Target, facts: Mapping[str, Any], done: Collection[str]
) -> Iterator[Message]:
    """Two messages for each detector: that it begins, and what it found.

    :param facts: what the parent knows of the case
    :param done: names of detectors that have had their turn
    """
    for kmod in target.kmods:
        if target.has_debuginfo(kmod.name):
            target.describe(kmod)
    case = case_of(target, facts)
    begun = time.process_time()
    for detector in detectors_of():
        if detector.name in done:
            continue
        if time.process_time() - begun > TOTAL_S:
            found = skipped(detector, f"the {TOTAL_S:g} s for all detectors were over")
        else:
            yield {"detecting": detector.name, "title": detector.title}
            found = run_detector(detector, case)
        yield {"detection": asdict(found)}


def evidence_by(target: Target, facts: Mapping[str, Any], names: Sequence[str]) -> list[Evidence]:
    """What some detectors find; one that does not come to its end gives what it had by then.

    :param names: of modules below ``cas/detectors``
    :raises LookupError: there is no such detector
    """
    known = {each.name: each for each in detectors_of()}
    if wrong := [name for name in names if name not in known]:
        raise LookupError(f"there is no detector {wrong[0]!r}; there is: {', '.join(known)}")
    case = case_of(target, facts)
    return [one for name in names for one in run_detector(known[name], case).evidence]


def case_of(target: Target, facts: Mapping[str, Any]) -> Case:
    """The dump as detectors look at it."""

    def stack(task: Object) -> list[StackFrame]:
        return kernel_frames(target, unwind(target, task))

    def frame(each: StackFrame) -> Frame:
        return Frame(**frame_of(target, each, with_offset=False))

    cpu = None
    with suppress(NotPanicked, *Broken):
        cpu = panic_cpu(target.prog)
    return Case(target, stack, frame, {**facts, "panic_cpu": cpu})

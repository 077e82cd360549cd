"""Who has the memory, by the kernel log alone: for dumps that no debugger opens yet."""

from __future__ import annotations

from cas.choices import DetectorStatus, Kind, Weight
from cas.klog.lines import Log
from cas.klog.oom_report import holding_sentence, largest_holders, last_shortage
from cas.model.dump import Dump
from cas.model.evidence import Detection, Evidence
from cas.text import one_line
from cas.units import human_size

DETECTOR, TITLE = "memory", "Who has the memory"
"""As the detector that looks in the dump is called, which takes its place."""
LISTED = 5


def detections_of_log(dump: Dump, kind: Kind | None) -> tuple[Detection, ...]:
    """What the kernel log says of who has the memory, after an out of memory.

    :param kind: of the crash
    """
    if kind is not Kind.OUT_OF_MEMORY or not dump.dmesg:
        return ()
    found = last_shortage(Log(dump.dmesg), dump.page_size)
    if found is None:
        return ()
    sentences = [
        holding_sentence(what, size, total) for what, size, total in largest_holders(found)
    ]
    if found.group is not None and found.limit:
        sentences = [
            f"cgroup {found.group} reached its limit of {human_size(found.limit)}"
            f" (it uses {human_size(found.usage)})"
        ]
    if not sentences:
        return ()
    details = []
    if found.page_size is not None:
        what = "anonymous" if found.has_anonymous else "resident"
        for task in sorted(found.tasks, key=lambda task: -task.pages)[:LISTED]:
            size = human_size(task.pages * found.page_size)
            details.append(one_line(f"task {task.comm} (pid {task.pid}): {size} {what}"))
    source = f"log: {one_line(found.line)}"
    evidence = tuple(
        Evidence(one_line(sentence), source, "log", Weight.CAUSE, tuple(details))
        for sentence in sentences
    )
    remark = "by the kernel log: the dump itself was not looked into"
    return (Detection(DETECTOR, TITLE, DetectorStatus.OK, evidence, remark),)

"""The one-screen answer: what, where, which task, since when, how sure, what next."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from cas.choices import Kind, Level
from cas.findings.advice import next_steps
from cas.findings.before_crash import Before, before
from cas.findings.confidence import confidence_of_choice, confidence_of_data, confidence_sentence
from cas.findings.crash import Crash, crash_of
from cas.findings.culprit import plain_name
from cas.findings.functions import Functions, shipped_functions
from cas.findings.signature import former, most_telling, signatures
from cas.findings.title import title
from cas.klog.hardware import machine_of
from cas.klog.kinds import UNNAMED
from cas.klog.taint import describe_kmods, describe_taint
from cas.model.answer import FirstAnswer, Task
from cas.model.code import Frame
from cas.model.dump import Dump
from cas.model.evidence import Detection
from cas.model.finding import Confidence, Culprit, Finding
from cas.model.kernel import Match
from cas.text import count
from cas.units import human_span, utc

if TYPE_CHECKING:
    from cas.findings.known import Issue

_SYMBOL = re.compile(r"\+0x[0-9a-f]+/0x")


_DOING = "what the machine was doing"
_ROLES = {
    Kind.NMI: _DOING,
    Kind.MACHINE_CHECK: _DOING,
    Kind.OUT_OF_MEMORY: "who asked for memory, not who has it",
}
"""What the function of a crash is that no function is the cause of."""
_DOES = {
    Kind.HUNG_TASK: "waits here",
    **dict.fromkeys((Kind.SOFT_LOCKUP, Kind.HARD_LOCKUP, Kind.RCU_STALL), "stuck here"),
    Kind.WARNING: "warned here",
    Kind.SYSRQ: "crashed on request",
    Kind.NONE: "was here",
}
"""What the function of a crash did, of which no more can be said."""
_AT_FAULT = {
    Level.HIGH: "at fault",
    Level.MEDIUM: "likely at fault",
    Level.LOW: "perhaps at fault",
}
_ASKED_FOR = frozenset({Kind.NONE, Kind.NMI, Kind.SYSRQ})
"""Kinds of which the crash itself says nothing of what was wrong: what came before may."""
_SILENT = "nothing announces a crash: the dump shows a system that was running"
_DAMAGED = "nothing announces a crash in what can be read of this damaged dump"
_UNREADABLE = "neither the kernel log nor a backtrace can be read from this dump"
_SILENT_TITLES = {_UNREADABLE: "unreadable dump", _DAMAGED: "damaged dump without a crash"}


def find(
    dump: Dump,
    answer: FirstAnswer | None,
    match: Match | None,
    functions: Functions | None = None,
    issues: Sequence[Issue] = (),
) -> Finding:
    """Judge a crash.

    :param answer: ``None`` when no debugger could open the dump: the kernel log must do
    :param match: ``None`` when no kernel was found for the dump
    :param functions: what is known of kernel functions; ``None``: what is shipped. Signatures
        never depend on it
    :param issues: the known ones, of which this crash may be some
    """
    crash = crash_of(dump, answer, functions)
    ours = crash if functions is None else crash_of(dump, answer)
    finding = finding_of(crash, ours, dump, match)
    if not issues:
        return finding
    from cas.findings.recognise import clues_of, recognise

    known, undecided = recognise(issues, clues_of(crash, finding, dump, answer))
    return replace(finding, known=known, undecided=undecided)


def advised(
    finding: Finding,
    crash: Crash,
    dump: Dump,
    match: Match | None,
    detections: Sequence[Detection],
) -> Finding:
    """The finding with what to do next, now that it is known what detectors found in the dump."""
    steps = next_steps(crash, dump, match, finding.before, detections)
    return replace(finding, next_steps=steps)


def finding_of(crash: Crash, ours: Crash, dump: Dump, match: Match | None) -> Finding:
    """Say what is known of a crash.

    :param ours: the same as the shipped functions alone tell it, for the signatures
    """
    choice, data = confidence_of_choice(crash), confidence_of_data(crash, dump, match)
    earlier = before(crash.log, crash.choice, shipped_functions())
    named, called = signatures(ours), title(crash)
    if crash.kind is Kind.NONE and not crash.event.message:
        # of a dump that says nothing, that it does not
        called = _SILENT_TITLES.get(_silence(crash, dump), called)
    when = [] if crash.time is None else [utc(crash.time)]
    if crash.uptime_s is not None:
        when.append(f"{human_span(int(crash.uptime_s))} after boot")
    who = _task_words(crash.task) if crash.task else None
    if crash.blocked is not None:
        holder = f"; likely held up by {_task_words(crash.holder)}" if crash.holder else ""
        noticed = f"; noticed by {who}" if who else ""
        who = f"{_task_words(crash.blocked)}, blocked{holder}{noticed}"
    return Finding(
        what=_what_happened(crash, dump, earlier),
        where=_crash_place(crash),
        who=who,
        when=", ".join(when) or None,
        taint=describe_taint(crash.taint),
        kmods=describe_kmods(crash.kmods),
        confidence=confidence_sentence(choice, data),
        choice=choice,
        data=data,
        next_steps=next_steps(crash, dump, match, earlier.events),
        trace=crash.trace,
        title=called,
        signatures=named,
        signature=most_telling(named),
        former=former(ours),
        kind=crash.kind,
        before=earlier.events,
        machine=machine_of(crash.log),
        culprit=_culprit_of_verdict(crash, choice),
    )


def _silence(crash: Crash, dump: Dump) -> str:
    """What is said of a dump in which no crash is announced."""
    if not dump.dmesg and not crash.frames:
        return _UNREADABLE
    return _DAMAGED if dump.missing else _SILENT


def _what_happened(crash: Crash, dump: Dump, earlier: Before) -> str:
    message = crash.event.message
    if crash.kind in _ASKED_FOR:
        if crash.kind is Kind.SYSRQ:
            message = f"{message} (deliberate)"
        # not called the cause: it may be why somebody asked for the dump
        told = f"; before it: {earlier.summary}" if earlier.summary else ""
        return f"{message or _silence(crash, dump)}{told}"
    owner, others = crash.owner, len({event.about for event in crash.choice.same})
    if crash.kind is Kind.HUNG_TASK and others:
        message = f"{message} (and {count(others, 'more task')})"
    if owner is None or crash.kind in UNNAMED or _stands_in(message, plain_name(owner.function)):
        return message
    if crash.overwritten is not None:
        return f"{message}, memory {crash.overwritten} by {_name_with_kmod(owner)}"
    # a message may name the function that the processor was in, or any other one
    inner = crash.inner
    is_named = inner is not None and _stands_in(message, plain_name(inner.function))
    by = ", called from " if is_named or _SYMBOL.search(message) else " in "
    return f"{message}{by}{_name_with_kmod(owner)}"


def _stands_in(message: str, function: str) -> bool:
    """Whether a function's name stands in a message as a word of its own."""
    return re.search(rf"(?<![\w.]){re.escape(function)}(?!\w)", message) is not None


def _crash_place(crash: Crash) -> str | None:
    """The innermost function, and what it is inlined in or called from."""
    if not crash.frames:
        return None
    fault, owner = crash.frames[0], crash.owner
    text = _place(fault)
    if crash.overwritten is not None or crash.kind in _ROLES:
        role = f"({_ROLES.get(crash.kind)})"
        if crash.overwritten is not None:
            role = f"{crash.overwritten} the memory; who wrote to it is not known"
        return f"{text} {role}"
    if fault.inlined and owner is not None:
        text = f"{text}, inlined in {_function_with_offset(owner)}"
    if crash.inner is not None:
        return f"{_place(crash.inner)}, called from {text}"
    if crash.nowhere is not None:
        return f"{text}, which called {crash.nowhere:#x}, where no code is"
    if crash.entered is not None:
        return f"{text}, which recurses, entered from {_place(crash.entered)}"
    return text


def _culprit_of_verdict(crash: Crash, choice: Confidence) -> Culprit | None:
    """The frames of the stack that the verdict is about, and what the function there did."""
    frames, owner = crash.frames, crash.owner
    if not frames:
        return None
    count_inlined = frames.index(owner) if owner is not None else 0
    if crash.overwritten is not None:
        part = f"{crash.overwritten} the memory"
    elif crash.is_everybodys:
        part = "everybody's code: who called it is at fault"
    elif crash.entered is not None:
        part = "recurses"
    else:
        part = _ROLES.get(crash.kind) or _DOES.get(crash.kind) or _AT_FAULT[choice.level]
    return Culprit(frames[: count_inlined + 1], part, crash.inner)


def _name_with_kmod(frame: Frame) -> str:
    name = plain_name(frame.function)
    return f"{name} [{frame.kmod}]" if frame.kmod else name


def _place(frame: Frame) -> str:
    kmod = f" [{frame.kmod}]" if frame.kmod else ""
    file = f" at {frame.file}:{frame.line}" if frame.file else ""
    return _function_with_offset(frame) + kmod + file


def _function_with_offset(frame: Frame) -> str:
    offset = "" if frame.offset is None else f"+{frame.offset:#x}"
    return plain_name(frame.function) + offset


def _task_words(task: Task) -> str:
    cpu = "" if task.cpu is None else f", CPU {task.cpu}"
    return f"{' '.join(task.comm.split())}, pid {task.pid}{cpu}"

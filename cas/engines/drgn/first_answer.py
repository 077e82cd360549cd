"""From what drgn's process tells, fact by fact, to the first answer: pure functions."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from cas.model.answer import FirstAnswer, Kmod, Task
from cas.model.code import Frame
from cas.model.dump import Dump

BY_KMODS = ("kmods", "backtrace")
"""What of :class:`cas.model.answer.FirstAnswer` debug files of kernel modules change."""

OTHER_BUILD = "the given debug file is of another build"

Message = dict[str, Any]


def known(dump: Dump) -> Message:
    """What the dump's reader has found out already: the slowest facts in a long log."""
    if dump.dmesg is None:
        return {}
    return {"dmesg": dump.dmesg, "panic_message": dump.panic_message}


def take_fact(message: Message, facts: Message, problems: list[str]) -> None:
    """Add a message of the worker's to what is known."""
    if "fact" in message:
        facts[message["fact"]] = message["value"]
        if message["problem"]:
            problems.append(message["problem"])


def refuse(kmods: list[str], facts: Message, problems: list[str]) -> None:
    """Note of which kernel modules the given debug file was of no use."""
    for kmod in facts["kmods"] or ():
        if kmod["name"] in kmods:
            kmod["has_debuginfo"] = False
            problems.append(_refusal(kmod["name"]))


def _refusal(kmod: str) -> str:
    return f"{kmod}: {OTHER_BUILD}"


def answer_of(facts: Message, problems: list[str]) -> FirstAnswer:
    """The answer that facts by these names make."""
    task, crash_time = facts.get("panic_task"), facts.get("crash_time")
    return FirstAnswer(
        panic_message=facts.get("panic_message"),
        panic_task=Task(**task) if task else None,
        backtrace=tuple(Frame(**frame) for frame in facts.get("backtrace") or ()),
        kmods=tuple(Kmod(**kmod) for kmod in facts.get("kmods") or ()),
        taint=facts.get("taint") or "",
        uptime_s=facts.get("uptime_s"),
        cpus_online=facts.get("cpus_online"),
        memory_bytes=facts.get("memory_bytes"),
        nodename=facts.get("nodename"),
        crash_time=datetime.fromtimestamp(crash_time, UTC) if crash_time is not None else None,
        dmesg=facts.get("dmesg"),
        problems=tuple(problems),
    )


def renewed(answer: FirstAnswer, facts: Message, problems: list[str]) -> FirstAnswer:
    """The first answer with what was asked again, where that shows more."""
    again = answer_of(facts, problems)
    if not again.kmods or len(again.backtrace) < len(answer.backtrace):
        return answer
    refused = {_refusal(kmod.name) for kmod in answer.kmods}
    first = [problem for problem in answer.problems if problem not in refused]
    return replace(
        answer,
        kmods=again.kmods,
        backtrace=again.backtrace,
        problems=tuple(dict.fromkeys((*first, *problems))),
    )

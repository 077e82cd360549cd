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

OF_CRASH = frozenset({"panic_task", "backtrace"})
"""What of it a verdict is made of, beside the kernel log; it is read before all else."""

FACTS_THAT_KILL = 2
"""Facts that may kill drgn before the rest of them is left out."""

OTHER_BUILD = "the given debug file is of another build"

Message = dict[str, Any]


def known(dump: Dump) -> Message:
    """What the dump's reader has found out already: the slowest facts in a long log."""
    if dump.dmesg is None:
        return {}
    return {"dmesg": dump.dmesg, "panic_message": dump.panic_message}


class Facts:
    """What is known so far of a crash: what the worker has told, on top of what was known."""

    def __init__(self, said: Message | None = None) -> None:
        """Nothing is told yet.

        :param said: what need not be asked
        """
        self._said = dict(said or {})
        self._told = Message()
        self.problems: list[str] = []
        """What could not be read, a sentence each."""
        self._lost = set[str]()
        self._reading: tuple[str, str] | None = None
        """Name of the fact that is just being read, and how to call it in a sentence."""

    @property
    def done(self) -> list[str]:
        """Names of those that are not to be asked any more."""
        return [*self._said, *self._told, *self._lost]

    @property
    def is_crash_told(self) -> bool:
        """Whether all is told that a verdict is made of."""
        return self._told.keys() >= OF_CRASH

    @property
    def is_empty(self) -> bool:
        """Whether nothing that was told has a value."""
        return not any(self._told.values())

    def take_message(self, message: Message) -> None:
        """Add a message of the worker's."""
        if "reading" in message:
            self._reading = (message["reading"], message["what"])
        elif "fact" in message:
            self._told[message["fact"]] = message["value"]
            if message["problem"]:
                self.problems.append(message["problem"])
        elif "done" in message:
            self._refuse(message["refused"])

    def begin(self) -> None:
        """Note that the worker is asked, and reads none of them yet."""
        self._reading = None

    def lose(self, why: str) -> bool:
        """Note that the worker ended; whether it did at one of them, and others can be asked."""
        if self._reading is None:
            return False
        name, what = self._reading
        self._lost.add(name)
        self.problems.append(f"{what}: {why}")
        return len(self._lost) <= FACTS_THAT_KILL

    def answer(self) -> FirstAnswer:
        """The answer that they make."""
        return answer_of({**self._said, **self._told}, self.problems)

    def _refuse(self, kmods: list[str]) -> None:
        """Note of which kernel modules the given debug file was of no use."""
        for kmod in self._told.get("kmods") or ():
            if kmod["name"] in kmods:
                kmod["has_debuginfo"] = False
                self.problems.append(_refusal(kmod["name"]))


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


def renewed(answer: FirstAnswer, facts: Facts) -> FirstAnswer:
    """The first answer with what was asked again, where that shows more."""
    again = facts.answer()
    if not again.kmods or len(again.backtrace) < len(answer.backtrace):
        return answer
    refused = {_refusal(kmod.name) for kmod in answer.kmods}
    first = [problem for problem in answer.problems if problem not in refused]
    return replace(
        answer,
        kmods=again.kmods,
        backtrace=again.backtrace,
        problems=tuple(dict.fromkeys((*first, *again.problems))),
    )

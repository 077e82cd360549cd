"""What crash's output says about the command that it answers."""

from __future__ import annotations

from cas.choices import SectionStatus
from cas.engines.outcome import OUT_OF_MEMORY

FEW_LINES = 12
"""A command that wrote more lines has done something, whatever it complained about."""


def judge_answer(command: str, said: bytes, beside: str = "") -> tuple[SectionStatus, str | None]:
    """Whether crash answered a command: its status, and what went wrong.

    crash says ``NAME: reason``, first or last, when it refuses. One bad stack among a hundred good
    ones (``foreach bt``) does not make the command a failure; an output that is nothing but
    complaints does.

    :param beside: what was written to stderr meanwhile, as programs do that a command started
    """
    lines = [line for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    name = command.split(maxsplit=1)[0]
    if lines[:1] == ["Usage:"]:
        return SectionStatus.FAILED, f"{name}: this crash does not take the options of: {command}"
    if command.startswith("!") or "|" in command:
        # how a program that the command started says that it reached the memory limit
        told = [*lines[-FEW_LINES:], *beside.splitlines()]
        starved = next((line.strip() for line in told if OUT_OF_MEMORY.search(line.encode())), None)
        if starved is not None:
            return SectionStatus.MEMORY, f"{command}: {starved}"
    marks = (f"{name}: ", "crash: ")
    suspects = lines[:1] if len(lines) > FEW_LINES else lines[:1] + lines[-4:]
    complaint = next((line for line in suspects if line.startswith(marks)), None)
    if (
        complaint is None
        and lines
        and all(line.startswith((*marks, "WARNING: ")) for line in lines)
    ):
        complaint = f"{name}: {lines[0]}"
    if complaint is None:
        return SectionStatus.OK, None
    is_starved = OUT_OF_MEMORY.search(complaint.encode())
    return SectionStatus.MEMORY if is_starved else SectionStatus.FAILED, complaint

"""The frames of a task: where each stands, its registers at an exception, its variables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from drgn import Object, ObjectAbsentError, StackFrame

from cas.choices import GlideRole
from cas.engines.drgn.child.backtrace import frame_of, frame_register
from cas.engines.drgn.child.glide.drawing import (
    OPTIMIZED_OUT,
    Drawer,
    Unreadable,
)
from cas.engines.drgn.child.glide.names import Symbols
from cas.engines.drgn.child.glide.value import Value
from cas.engines.drgn.child.limits import Late, time_limit
from cas.engines.drgn.child.target import Target

VARIABLE_S = 1.0
"""Seconds for one variable with all that it leads to."""
MAX_VARIABLES = 200
"""Of one frame."""


def frame_record(
    target: Target, symbols: Symbols, frames: Sequence[StackFrame], number: int, role: GlideRole
) -> dict[str, Any]:
    """A frame of a task, without its variables."""
    frame = frames[number]
    told = frame_of(target, frame, with_offset=False)
    pc = told["pc"]
    found = None if frame.is_inline else symbols.find(pc - (not frame.interrupted))
    size = None
    if found is not None:
        name, offset, size = found
        told["offset"] = offset + (not frame.interrupted)
        if name.partition(".")[0] == told["function"] or frame.function_name is None:
            told["function"] = name
    told["pc"] = f"{pc:#x}"
    # what is inlined into interrupted code has the same program counter, and comes before it
    first = (
        next(
            at
            for at, one in enumerate(frames)
            if frame_register(one, "pc") == pc and one.interrupted
        )
        if (frame.interrupted)
        else -1
    )
    was_running = first > 0 or role in (GlideRole.PANIC, GlideRole.CPU)
    has_registers = frame.interrupted and not frame.is_inline and was_running
    return {
        "number": number,
        **told,
        "size": size,
        "is_exception": first == number > 0,
        "registers": registers_of(frame) if has_registers else {},
    }


def registers_of(frame: StackFrame) -> dict[str, str]:
    """The registers of a frame that are known."""
    try:
        return {name: f"{value:#x}" for name, value in frame.registers().items()}
    except Unreadable:
        return {}


def variables_of(frame: StackFrame) -> list[str]:
    """Names of parameters and local variables, each once, the parameters first."""
    try:
        names = frame.locals()
    except Unreadable:
        return []
    return list(dict.fromkeys(names))[:MAX_VARIABLES]


def variable(frame: StackFrame, name: str) -> Object | str:
    """A variable of a frame, or what to say in its place."""
    try:
        found = frame[name]
    except ObjectAbsentError:
        return OPTIMIZED_OUT
    except Unreadable as error:
        fault = getattr(error, "address", None)
        return f"<fault {fault:#x}>" if isinstance(fault, int) else f"<{error}>"
    return found


def drawn_variable(drawer: Drawer, found: Object | str, name: str, depth: int, path: str) -> Value:
    """A variable with its value, whatever there is of it."""
    if isinstance(found, str):
        return Value(name, "", found)
    try:
        with time_limit(VARIABLE_S):
            return drawer.draw(found, name, depth, path)
    except Late:
        return Value(name, found.type_.type_name(), f"<not within {VARIABLE_S:g} s>")

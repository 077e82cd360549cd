"""Who crashed, and the way there: the panic task and its stack, unwound across kernel modules."""

from __future__ import annotations

import re
import struct
from contextlib import suppress
from itertools import groupby
from typing import Any

from drgn import (
    Architecture,
    FaultError,
    Object,
    ObjectNotFoundError,
    Program,
    StackFrame,
    StackTrace,
)
from drgn.helpers.linux.sched import cpu_curr, task_cpu

from cas.engines.drgn.child.target import Partial, Target

MAX_ROUNDS = 8
"""Each round may reveal code of one more kernel module."""

MAX_FRAMES = 1000

ARM64_ENTRY = re.compile(r"el1(?:[ht]_64)?_(?:sync|irq|fiq|error)(?:_invalid)?")
"""The exception vectors for code of the kernel itself (``arch/arm64/kernel/entry.S``)."""

PT_REGS = struct.Struct("<21Q")
IP, CS, SP, SS = 16, 17, 19, 20
"""Places in x86-64's ``struct pt_regs``, arch/x86/include/asm/ptrace.h."""
KERNEL_CS, KERNEL_SS = 0x10, 0x18


class NotPanicked(Exception):
    """No CPU of the kernel has called panic()."""


def panic_cpu(prog: Program) -> int:
    """The CPU that panicked.

    :raises NotPanicked: none did, e.g. in a dump that the hypervisor took of a hung guest
    """
    for name in ("panic_cpu", "crashing_cpu"):
        try:
            variable = prog[name]
        except ObjectNotFoundError:
            continue
        cpu = int(variable.counter if name == "panic_cpu" else variable)
        if cpu >= 0:
            return cpu
    raise NotPanicked("no CPU has panicked: the kernel was running when the dump was taken")


def panic_task(prog: Program) -> tuple[Object, int]:
    """The task that was on the panicked CPU (``struct task_struct *``), and that CPU."""
    cpu = panic_cpu(prog)
    return cpu_curr(prog, cpu), cpu


def frames(target: Target) -> Partial:
    """The panic task's frames as in :class:`cas.model.code.Frame`, innermost first."""
    task, cpu = panic_task(target.prog)
    try:
        trace, doubt = unwind(target, task), None
        if task_cpu(task) != cpu:
            doubt = f"the current task of CPU {cpu} says that it runs on CPU {task_cpu(task)}"
        else:
            low, high = _stack_extent(task)
            if not any(low <= frame_register(frame, "sp") < high for frame in trace):
                doubt = f"the dump's registers of CPU {cpu} belong to another task"
    except (ValueError, LookupError, FaultError) as error:
        trace, doubt = None, f"the registers of CPU {cpu} cannot be used: {error}"
    if doubt:
        registers = exception_frame(target, task)
        if registers is not None:
            trace = unwind(target, registers)
            doubt += "; the backtrace begins at the exception that is saved on its stack"
    if trace is None:
        raise LookupError(doubt)
    told = [frame_of(target, frame) for frame in kernel_frames(target, trace)]
    return Partial(_with_faulting_lines(target, told), doubt)


def _with_faulting_lines(target: Target, told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """On arm64, the instruction's own line where an exception interrupted code.

    There drgn takes the saved program counter, which the kernel leaves in a frame record
    (arch/arm64/kernel/entry.S: kernel_entry), for a return address, and looks one instruction
    before it: with what is inlined, that may be another function.
    """
    platform = target.prog.platform
    if platform is None or platform.arch != Architecture.AARCH64:
        return told
    shown: list[dict[str, Any]] = []
    for _, group in groupby(told, key=lambda frame: frame["pc"]):
        frames = list(group)
        entered = bool(shown) and ARM64_ENTRY.fullmatch(shown[-1]["function"])
        shown += _exact_frames(target, frames) if entered else frames
    return shown


def _exact_frames(target: Target, frames: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The frames of one program counter as its own instruction has them."""
    own = frames[-1]
    try:
        lines = list(target.prog.source_location(own["pc"]))
    except LookupError:
        return frames
    places = [{"file": line.filename or None, "line": line.line or None} for line in lines]
    inlined = [
        {**own, **place, "function": line.name(), "offset": None, "inlined": True}
        for line, place in zip(lines[:-1], places[:-1], strict=True)
    ]
    return [*inlined, {**own, **places[-1]}]


def unwind(target: Target, start: Object) -> StackTrace:
    """The frames of a task, or of saved registers, across kernel modules.

    :raises ValueError, LookupError, FaultError: it cannot be unwound
    """
    for _ in range(MAX_ROUNDS):
        trace = target.prog.stack_trace(start)
        kmods = {
            kmod.name: kmod for frame in trace if (kmod := target.kmod_at(_code_address(frame)))
        }
        changes = [target.describe(kmod) for kmod in kmods.values()]
        if not any(changes):
            break
    return trace


def _stack_extent(task: Object) -> tuple[int, int]:
    low = task.stack.value_()
    return low, low + int(task.prog_["THREAD_SIZE"])


def exception_frame(target: Target, task: Object) -> Object | None:
    """The registers of the latest exception that are saved on a task's stack, of x86-64.

    :return: ``struct pt_regs``
    """
    platform = target.prog.platform
    if platform is None or platform.arch != Architecture.X86_64:
        return None
    low, high = _stack_extent(task)
    words = target.prog.read(low, high - low)
    # Left-overs of earlier exceptions lie deeper, at lower addresses.
    for offset in range(high - low - PT_REGS.size, 0, -8):
        saved = PT_REGS.unpack_from(words, offset)
        if (saved[CS] & 0xFFFF, saved[SS] & 0xFFFF) != (KERNEL_CS, KERNEL_SS):
            continue
        after = low + offset + PT_REGS.size
        if after <= saved[SP] < after + 4096 and _is_kernels_code(target, saved[IP]):
            return Object(target.prog, "struct pt_regs", address=low + offset)
    return None


def _is_kernels_code(target: Target, address: int) -> bool:
    return target.is_own(address) or bool(target.kmod_at(address))


def kernel_frames(target: Target, trace: StackTrace) -> list[StackFrame]:
    """Without what follows the entry from user space, where the unwinder can only guess."""
    kept: list[StackFrame] = []
    for frame in list(trace)[:MAX_FRAMES]:
        if kept and not frame.interrupted and not frame_register(frame, "pc"):
            break
        if kept and frame.interrupted and not _is_kernels_code(target, _code_address(frame)):
            break
        kept.append(frame)
    return kept


def frame_of(target: Target, frame: StackFrame, *, with_offset: bool = True) -> dict[str, Any]:
    """What there is to say of a frame, as in :class:`cas.model.code.Frame`.

    :param with_offset: whether the symbol is looked up, which takes most of the time
    """
    pc = frame_register(frame, "pc")
    kmod = target.kmod_at(_code_address(frame))
    function, offset = frame.name, None
    if with_offset and not frame.is_inline:
        with suppress(LookupError):
            symbol = frame.symbol()
            offset = pc - symbol.address
            # with the compiler's suffix it can be found in a disassembly
            if symbol.name.partition(".")[0] == function or frame.function_name is None:
                function = symbol.name
    file = line = None
    with suppress(LookupError):
        source = frame.source()
        file, line = source.filename or None, source.line or None
    return {
        "function": function,
        "offset": offset,
        "pc": pc,
        "kmod": kmod.name if kmod else None,
        "file": file,
        "line": line,
        "inlined": frame.is_inline,
    }


def _code_address(frame: StackFrame) -> int:
    """An address inside the instruction; a return address may be the next function's first."""
    return frame_register(frame, "pc") - (not frame.interrupted)


def frame_register(frame: StackFrame, name: str) -> int:
    """A register of a frame, such as ``pc`` or ``sp``; 0 where it is not known."""
    try:
        return int(getattr(frame, name))
    except LookupError:
        return 0

"""CPUs that spin for a lock, and who may have it."""

from __future__ import annotations

import re
import struct
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress

from drgn import Architecture, Object, StackFrame, TypeKind

from cas.choices import Weight
from cas.detectors.case import Broken, Case
from cas.detectors.locks import EXPLAINED
from cas.detectors.owners import lock_name
from cas.detectors.processors import PAUSES, Processor, processors
from cas.detectors.waits import frame_line
from cas.frozen import dataclass
from cas.model.code import Frame
from cas.model.evidence import Evidence

SPINS = re.compile(
    r"(?:native_|__pv_|__)*queued_(?:spin|read|write)_lock_slowpath"
    r"|_*(?:do_)?raw_(?:spin|read|write)_lock(?:_irqsave|_irq|_bh|_nested)*"
    r"|_*(?:arch_)?spin_lock(?:_irqsave|_irq|_bh|_nested)*|virt_spin_lock|ticket_spin_lock"
)
"""kernel/locking/{qspinlock,qrwlock,spinlock}.c, include/linux/spinlock.h."""
LOCK_VARIABLES = ("lock", "_lock")
DEPTH = 6
"""Frames in which a CPU that spins must be in one of these functions."""
MAX_CODE_BYTES = 64 << 10
PAGE = 4096
SHOWN_FRAMES = 8
NAMED = 16


@dataclass(frozen=True, slots=True)
class Spin:
    """A CPU that spins."""

    processor: Processor
    frames: tuple[Frame, ...]
    """From what wants the lock outwards."""
    stack: tuple[StackFrame, ...]
    address: int | None
    """Address of the lock; ``None``: no variable tells it."""


def detect(case: Case) -> Iterator[Evidence]:
    """Each lock that is spun for, with the CPUs that do."""
    every = list(processors(case))
    spins: dict[int | None, list[Spin]] = defaultdict(list)
    for each in every:
        spin = spin_of(case, each)
        if spin is not None:
            spins[spin.address].append(spin)
    for address, group in spins.items():
        yield _evidence_of_spins(case, address, group, every)


def spin_of(case: Case, processor: Processor) -> Spin | None:
    """What a CPU spins for; ``None``: it does not."""
    frames = processor.frames
    last = 0
    for number, frame in enumerate(frames[:DEPTH]):
        if SPINS.fullmatch(frame.function.partition(".")[0]):
            last = number + 1
        elif last or not (frame.inlined or PAUSES.fullmatch(frame.function)):
            break
    if not last:
        return None
    address = next(filter(None, map(_lock_in_variable, processor.stack[:last])), None)
    if address is None and "queued_spin_lock" in frames[last - 1].function:
        address = _lock_in_register(case, processor.stack[last - 1])
    return Spin(processor, frames[last:], processor.stack[last:], address)


def _lock_in_variable(frame: StackFrame) -> int | None:
    """The lock, by the variable that the debug information says holds it there."""
    for name in LOCK_VARIABLES:
        try:
            value = frame[name]
            if not value.absent_ and value.type_.unaliased().kind == TypeKind.POINTER:
                return int(value.value_())
        except (*Broken, TypeError):
            continue
    return None


def _lock_in_register(case: Case, frame: StackFrame) -> int | None:
    """The only register that points to a queued spinlock that is locked and waited for.

    Its word is 1 for locked, 0x100 for somebody who waits, and above the last in the queue,
    include/asm-generic/qspinlock_types.h.
    """
    found: set[int] = set()
    for value in frame.registers().values():
        if value >> 63 and value % 4 == 0 and value not in found:
            try:
                word = int(case.prog.read_u32(value))
            except Broken:
                continue
            if word & 0xFF == 1 and word >> 8:
                found.add(value)
    return found.pop() if len(found) == 1 else None


def _evidence_of_spins(
    case: Case, address: int | None, group: Sequence[Spin], every: Sequence[Processor]
) -> Evidence:
    weight = Weight.CAUSE if case.kind in EXPLAINED else Weight.CONTEXT
    first = group[0]
    place = f" in {first.frames[0].function}" if first.frames else ""
    details = [spin.processor.line for spin in group[:NAMED]]
    if len(group) > NAMED:
        details.append(f"and {len(group) - NAMED:,} more CPUs")
    details += [f"  called from {frame_line(each)}" for each in first.frames[:SHOWN_FRAMES]]
    one = len(group) == 1
    who = f"{first.processor.name} spins" if one else f"{len(group):,} CPUs spin"
    where = place if one else f", {first.processor.name}{place}"
    command, seen = "bt -a", first.processor.seen
    if address is None or seen is None:
        sentence = f"{who} for a lock{where}; which cannot be told"
        return Evidence(sentence, first.processor.cpu_, command, weight, tuple(details))
    name, source = lock_name(case, "spinlock", address, seen.task)
    holder = None
    with suppress(AttributeError, *Broken):
        # a kernel with CONFIG_DEBUG_SPINLOCK notes it
        lock = Object(case.prog, "struct raw_spinlock", address=address)
        owner, cpu = case.task_at(int(lock.owner.value_())), int(lock.owner_cpu.value_())
        if owner is not None:
            holder = f"{owner.name} has it, since it ran on CPU {cpu & 0xFFFFFFFF}"
    holder = holder or next(_likely_owners(case, first, every), None)
    told = holder or "its owner is unknown: the kernel keeps none"
    return Evidence(f"{who} for {name}{where}; {told}", source, command, weight, tuple(details))


def _likely_owners(case: Case, spin: Spin, every: Sequence[Processor]) -> Iterator[str]:
    """Who else is in code that uses the lock: on the way here, on other CPUs, or waiting for one.

    That is no proof of having it, and the sentences do not say so.
    """
    address = spin.address
    assert address is not None  # noqa: S101  the caller looked
    own = _code_of(case, spin.stack[0]) if spin.stack else None
    for frame, shown in zip(spin.stack, spin.frames, strict=False):
        code = None if shown.inlined else _code_of(case, frame)
        if code is not None and code != own and uses(case, code, address):
            yield f"{shown.function}, which led there, uses that lock as well"
    for other in every:
        if other.cpu == spin.processor.cpu or spin_of(case, other) is not None:
            continue
        function = _function_using(case, other.stack, other.frames, address)
        if function and other.seen:
            yield f"{other.name} is in {function}, which uses that lock"
    running = {each.seen.task.value_() for each in every if each.seen}
    for seen in case.tasks("R"):
        if seen.task.value_() not in running:
            function = _function_using(
                case, case.stack(seen.task), case.backtrace(seen.task), address
            )
            if function:
                yield f"{seen.name}, which waits for a CPU, is in {function}, which uses that lock"


def _function_using(
    case: Case, stack: Sequence[StackFrame], frames: Sequence[Frame], address: int
) -> str | None:
    """The innermost function of a stack whose code names an address, not what is inlined there."""
    for frame, shown in zip(stack, frames, strict=False):
        code = None if shown.inlined else _code_of(case, frame)
        if code is not None and uses(case, code, address):
            return shown.function
    return None


def _code_of(case: Case, frame: StackFrame) -> tuple[int, int] | None:
    """Address and size of the function that a frame is in, inlined ones being part of it."""
    try:
        symbol = case.prog.symbol(int(frame.pc) - (not frame.interrupted))
    except Broken:
        return None
    return symbol.address, min(symbol.size, MAX_CODE_BYTES)


def uses(case: Case, code: tuple[int, int], address: int) -> bool:
    """Whether a function's code names an address."""
    begin, size = code
    try:
        data = case.prog.read(begin, size)
    except Broken:
        return False
    arch = case.prog.platform.arch if case.prog.platform else None
    if arch == Architecture.X86_64:
        return names_x86_64(data, begin, address)
    if arch == Architecture.AARCH64:
        return names_aarch64(data, begin, address)
    return False


def names_x86_64(code: bytes, begin: int, address: int) -> bool:
    """Whether x86-64 code holds an address: as a 32-bit constant, or relative to an instruction."""
    if struct.pack("<I", address & 0xFFFFFFFF) in code:
        return True
    for shift in range(4):
        number = (len(code) - shift) // 4
        wanted = address - begin - shift - 4
        words = struct.unpack_from(f"<{max(number, 0)}i", code, min(shift, len(code)))
        if any(distance + 4 * at == wanted for at, distance in enumerate(words)):
            return True
    return False


def names_aarch64(code: bytes, begin: int, address: int) -> bool:
    """Whether aarch64 code makes an address: ADRP for its page, then ADD for the rest."""
    pages: dict[int, int] = {}
    for number, (word,) in enumerate(struct.iter_unpack("<I", code[: len(code) & ~3])):
        if word & 0x9F000000 == 0x90000000:  # ADRP
            pages_away = (word >> 29 & 3) | (word >> 5 & 0x7FFFF) << 2
            pages_away -= (pages_away & 1 << 20) << 1
            at = begin + 4 * number
            pages[word & 31] = (at & ~(PAGE - 1)) + pages_away * PAGE
        elif word & 0xFFC00000 == 0x91000000:  # ADD (immediate, 64 bits)
            base = pages.get(word >> 5 & 31)
            if base is not None and base + (word >> 10 & 0xFFF) == address:
                return True
    return False

"""The fault itself, in sentences: what the address and the registers give away.

A sentence says no more than what was read: which variable a pointer was stands there only where the
debug information puts it into the very register, or memory still holds what was loaded.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from cas.choices import DetectorStatus, Kind, Weight
from cas.fault_reading import Access, Pointer, Reading
from cas.findings.advice import STEPS_LIMIT, steps_of
from cas.findings.checks import CHECKED, checked, said_before, with_source_line
from cas.findings.crash import Crash, crash_of
from cas.findings.culprit import plain_name
from cas.findings.values import (
    FREED,
    KASAN_SHADOWS,
    WIDE,
    Meaning,
    Sort,
    is_non_canonical,
    is_one_bit,
    meaning_of,
    near_poison,
    shadowed,
)
from cas.frozen import dataclass
from cas.klog.events import lines_of, read_report
from cas.klog.fault_lines import FaultLines, fault_lines
from cas.klog.kinds import EXCEPTIONS
from cas.klog.lines import Log
from cas.model.answer import FirstAnswer
from cas.model.code import Frame, SourceLines
from cas.model.dump import Dump
from cas.model.evidence import Detection, Evidence
from cas.model.fault import Fault
from cas.model.finding import Finding

GUARD_BYTES = 4096
"""``VMAP_STACK``: one page below a stack is not mapped."""
MANY_ROUNDS = 10
"""Frames of one function on a stack, from which on it is called recursion."""
LOG = "kernel log"
STOPPED = EXCEPTIONS | {Kind.WARNING}
"""Kinds of which the kernel shows the registers of the code that it stopped."""
_SHOULD_BE = re.compile(
    r"should be (?:\w{4} \()?(?:0x)?([0-9a-f]{16})\)?,? but was (?:0x)?([0-9a-f]{16})"
)
"""``lib/list_debug.c``; the addresses are hashed from Linux 4.15 (ad67b74d2469) to Linux 4.17
(68c1f08203f2)."""
_WANTS_ADDRESS = frozenset(
    {
        Kind.NULL_DEREFERENCE,
        Kind.PAGE_FAULT,
        Kind.PROTECTION_FAULT,
        Kind.DOUBLE_FAULT,
    }
    | {Kind.STACK_OVERFLOW}
)


@dataclass(frozen=True, slots=True)
class Said:
    """What the kernel log says of a check that failed."""

    before: str = ""
    """Right before the announcement."""
    texts: tuple[str, ...] = ()
    """The lines of the report."""


NOTHING = Said()


@dataclass(frozen=True, slots=True)
class _Told:
    """Everything that is known of one fault."""

    kind: Kind
    arch: str
    lines: FaultLines
    reading: Reading
    nowhere: int | None
    frames: tuple[Frame, ...]
    message: str = ""
    """That announces the crash, with what stands before it."""

    @property
    def bits(self) -> int:
        return 64 if self.arch in WIDE else 32

    @property
    def address(self) -> int | None:
        """What was accessed, of which s390x only tells the page."""
        if self.reading.access is not None:
            return self.reading.access.address
        return None if self.lines.is_page else self.lines.address


@dataclass(frozen=True, slots=True)
class FaultCase:
    """A fault of which more can be asked."""

    crash: Crash
    arch: str
    lines: FaultLines
    pc: Frame | None = None
    """Where the processor was, which need not be the code at fault."""
    frames: tuple[Frame, ...] = ()
    """The backtrace of the task that panicked."""
    said: Said = NOTHING

    @property
    def was_stopped(self) -> bool:
        """Whether the processor was at the fault; else only the kernel log tells of it."""
        return self.crash.kind in STOPPED

    @property
    def place(self) -> str | None:
        """The program counter as ``function+0x18``."""
        pc = self.pc
        return f"{pc.function}+{pc.offset:#x}" if pc and pc.offset is not None else None

    def wanted(self) -> dict[str, object]:
        """What to read in the dump, see :meth:`cas.engines.drgn.process.Worker.fault`."""
        return {
            "place": self.place if self.crash.nowhere is None else None,
            "nowhere": self.crash.nowhere,
            "address": None if self.lines.is_page else self.lines.address,
            "registers": dict(self.lines.registers),
        }

    def code(self) -> dict[str, object] | None:
        """What to make of the log's code, see :meth:`cas.engines.drgn.process.Worker.decode`."""
        opcodes = self.lines.opcodes
        if opcodes is None or self.lines.arch is None:
            return None
        return {
            "arch": self.lines.arch,
            "code": opcodes.code.hex(),
            "mark": opcodes.mark,
            "place": self.place,
            "address": None if self.lines.is_page else self.lines.address,
            "registers": dict(self.lines.registers),
        }

    def explained(self, reading: Reading | None) -> Fault | None:
        """What there is to say of it.

        :param reading: ``None``: nothing but the kernel log's own lines is known
        """
        if reading is None:
            reading = Reading(LOG, self.lines.registers)
        elif not reading.registers:
            reading = replace(reading, registers=self.lines.registers, origin=LOG)
        if not reading.place:
            kmod = self.pc.kmod if self.pc else None
            reading = replace(reading, place=self.place, kmod=reading.kmod or kmod)
        return fault_of(self, reading)


def fault_case(dump: Dump, answer: FirstAnswer | None) -> FaultCase | None:
    """What the kernel log says of the fault; ``None``: no code was stopped, no check failed."""
    crash = crash_of(dump, answer)
    if crash.kind not in STOPPED | CHECKED or crash.event.index is None:
        return None
    log = Log((answer.dmesg if answer else None) or dump.dmesg)
    texts = tuple(line.text for line in lines_of(log, crash.event))
    said = Said(said_before(log, crash.event), texts if crash.kind in CHECKED else ())
    if crash.kind not in STOPPED:
        return FaultCase(crash, dump.arch, FaultLines(), said=said)
    lines = fault_lines(texts)
    frames = answer.backtrace if answer and crash.source == "backtrace" else crash.trace
    facts = read_report(log, crash.event)
    own = (trace.pc for trace in facts.traces if trace.pc and not trace.is_foreign)
    pc = None if facts.is_mixed else next(own, None)
    return FaultCase(crash, dump.arch, lines, pc, tuple(frames), said)


def as_detections(fault: Fault | None) -> tuple[Detection, ...]:
    """What a fault gives away, as advice goes by it."""
    if fault is None or not fault.evidence:
        return ()
    return (Detection("fault", "The fault itself", DetectorStatus.OK, fault.evidence),)


def with_source(fault: Fault, source: SourceLines) -> Fault:
    """A fault with the lines of its source, and what a check that failed there was."""
    shown = tuple(with_source_line(each, source) for each in fault.evidence)
    return replace(fault, source=source, evidence=shown)


def with_advice(finding: Finding, fault: Fault | None) -> Finding:
    """A verdict whose next steps say what the fault gives away, in place of what its kind does."""
    if fault is None or fault.advice is None:
        return finding
    general = steps_of(finding.kind) if finding.kind else frozenset()
    kept = tuple(step for step in finding.next_steps if step not in {*general, fault.advice})
    return replace(finding, next_steps=(fault.advice, *kept)[:STEPS_LIMIT])


def fault_of(case: FaultCase, reading: Reading) -> Fault | None:
    """What there is to say of a fault.

    :param reading: what the debugger read, or what the kernel log's own registers and code give
    :return: ``None``: nothing is known of it
    """
    crash, lines, said = case.crash, case.lines, case.said
    arch = case.arch or lines.arch or ""
    message = f"{crash.event.message}\n{crash.event.detail or ''}"
    frames = case.frames or crash.frames
    told = _Told(crash.kind, arch, lines, reading, crash.nowhere, frames, message)
    command = _dis_command(told, reading.place)
    wide = told.bits == 64
    check = checked(crash.event, said.before, said.texts, command, is_wide=wide)
    evidence = (*check, *_fault_evidence(told)) if arch else ()
    if not (evidence or reading.registers or reading.code):
        return None
    # what registers hold or point to, where that can be said
    meanings = dict[str, str]()
    for name, value in reading.registers.items():
        if thing := reading.things.get(name):
            meanings[name] = thing
        elif value and arch:
            meaning = meaning_of(value, arch)
            if meaning is not None and meaning.sort in (Sort.POISON, Sort.TEXT):
                meanings[name] = meaning.text
    return Fault(
        place=reading.caller or reading.place,
        kmod=reading.kmod,
        address=told.address if crash.kind in _WANTS_ADDRESS else None,
        evidence=evidence,
        advice=_pointer_advice(told),
        registers=reading.registers,
        registers_from=reading.origin if reading.registers else "",
        meanings=meanings,
        code=reading.code,
        code_from=("memory of the dump" if reading.is_from_memory else LOG) if reading.code else "",
        problems=reading.problems,
    )


def _fault_evidence(told: _Told) -> Iterator[Evidence]:
    yield from _stack_evidence(told)
    yield from _list_evidence(told)
    reading = told.reading
    if told.nowhere is not None:
        yield _jump_evidence(told, told.nowhere)
        return
    target = reading.target
    # x86_64 stops before a call of such an address
    if told.kind is Kind.PROTECTION_FAULT and target is not None and is_non_canonical(target):
        yield _jump_evidence(told, target)
        return
    if reading.divisor:
        register, pointer = reading.divisor, reading.pointer
        value = reading.registers.get(register, 0)
        who = _pointer_words(pointer) if pointer else register
        is_plain = pointer is None or pointer.shift == 0
        who = who if is_plain else register
        sentence = f"{who}, the divisor, is {value}"
        if value:
            sentence = f"{who}, the divisor, is {value:#x}: the quotient does not fit its register"
        source = _instruction_words(told)
        if pointer and is_plain:
            source = _pointer_source(pointer, source)
        yield Evidence(sentence, source, _dis_command(told, reading.place), Weight.CAUSE)
        return
    if told.kind not in _WANTS_ADDRESS:
        return
    access, shadow = reading.access, KASAN_SHADOWS.get(told.arch)
    if access and shadow is not None and shadow in (access.base_value, access.index_value):
        yield from _kasan_evidence(told, access)
    elif access is not None:
        yield from _pointer_evidence(told, access)
    elif told.address is not None:
        yield from _address_evidence(told, told.address)


# -- where no code is


def _jump_evidence(told: _Told, pc: int) -> Evidence:
    reading, pointer = told.reading, told.reading.pointer
    call = "the program counter"
    if reading.call:
        call = f"`{_single_spaced(reading.call)}` at {reading.caller}"
    command = _dis_command(told, reading.caller)
    if pointer is not None and pointer.value == pc:
        if not pointer.register and pointer.origin:  # the call itself has it from memory
            call = f"{pointer.origin}, at {reading.caller}"
            pointer = replace(pointer, origin=None)
        sentence = f"the function called through {_pointer_words(pointer)} is {_as_code(told, pc)}"
        source, command = _pointer_source(pointer, call), _show_command(pointer) or command
        return Evidence(sentence, source, command, Weight.CAUSE)
    who = f"from {reading.caller} " if reading.caller else ""
    if pc == 0:
        by = "" if reading.call else ", or a return address was overwritten"
        sentence = f"{who}the processor jumped to address 0: a function pointer was NULL{by}"
    else:
        sentence = f"{who}the processor jumped to {_as_code(told, pc)}"
    return Evidence(sentence, call, command, Weight.CAUSE)


def _as_code(told: _Told, pc: int) -> str:
    meaning = meaning_of(pc, told.arch)
    if meaning is not None:
        return meaning.text
    if told.reading.is_kmods_area:
        last = told.reading.last_unloaded
        more = f"; the last one that was unloaded is {last}" if last else ""
        return f"{pc:#x}, where kernel modules are loaded, but none is now{more}"
    return f"{pc:#x}, where the kernel knows no function"


# -- a division, the stack


def _stack_evidence(told: _Told) -> Iterator[Evidence]:
    limits = told.reading.stack or told.lines.stack
    registers = told.reading.registers
    pointer = next((registers[name] for name in ("rsp", "esp", "sp") if name in registers), None)
    if limits is not None and told.kind is not Kind.WARNING:
        low, high = limits
        for what, value in (("the address", told.address), ("the stack pointer", pointer)):
            if value is not None and low - GUARD_BYTES <= value < low:
                yield Evidence(
                    f"{what} {value:#x} is {low - value:,} bytes below the task's stack"
                    f" ({low:#x} to {high:#x}), in its guard page: the stack ran out",
                    f"limits of the stack, {told.reading.origin}",
                    "bt",
                    Weight.CAUSE,
                )
                break
    if told.reading.is_end_overwritten:
        low = limits[0] if limits else 0
        yield Evidence(
            f"the mark at the end of the task's stack is overwritten: it was used up to {low:#x}",
            f"STACK_END_MAGIC at {low:#x}",
            f"rd {low:x} 8",
            Weight.CAUSE,
        )
    if told.kind in (Kind.STACK_OVERFLOW, Kind.DOUBLE_FAULT, Kind.PAGE_FAULT):
        names = Counter(plain_name(frame.function) for frame in told.frames if not frame.inlined)
        for name, times in names.most_common(1):
            if times >= MANY_ROUNDS:
                sentence = f"{name} stands {times} times in the backtrace"
                yield Evidence(sentence, "the backtrace", "bt", Weight.CAUSE)


# -- a list


def _list_evidence(told: _Told) -> Iterator[Evidence]:
    """What stands in a list where another address should."""
    found = _SHOULD_BE.search(told.message) if told.kind is Kind.LIST_CORRUPTION else None
    if found is None or told.bits != 64:
        return
    right, wrong = int(found[1], 16), int(found[2], 16)
    meaning = meaning_of(wrong, told.arch)
    if meaning is not None and meaning.sort in (Sort.NULL, Sort.POISON, Sort.TEXT):
        sentence = f"in the list stands {meaning.text}, where {right:#x} should"
    elif is_one_bit(right ^ wrong, told.arch) and right >> 63:
        bit = (right ^ wrong).bit_length() - 1
        sentence = (
            f"in the list stands {wrong:#x}, which differs in bit {bit} alone from {right:#x}, what"
            " should stand there: a bit may have flipped; test the memory of the machine"
        )
    else:
        return
    yield Evidence(sentence, "the message in the kernel log", "log", Weight.CAUSE)


# -- an address


def _kasan_evidence(told: _Told, access: Access) -> Iterator[Evidence]:
    """What KASAN was checking, where that can be no pointer."""
    first = shadowed(access.address, told.arch)
    if first is None or first >> 47 == (1 << 17) - 1:
        return
    what = "no pointer of the kernel"
    if first < GUARD_BYTES:
        what = "a NULL pointer, or a small offset from it"
    elif (meaning := meaning_of(first, told.arch)) and meaning.sort in (Sort.POISON, Sort.TEXT):
        what = meaning.text
    yield Evidence(
        f"KASAN was checking an access to {first:#x}-{first + 7:#x}: {what}",
        f"its shadow at {access.address:#x}; {_instruction_words(told)}",
        _dis_command(told, told.reading.place),
        Weight.CAUSE,
    )


def _pointer_evidence(told: _Told, access: Access) -> Iterator[Evidence]:
    """An access through registers."""
    register, value = _bad_register(told, access)
    if register is None:
        return
    pointer = told.reading.pointer
    if pointer is not None and (pointer.register != register or pointer.value != value):
        pointer = None
    meaning = meaning_of(value, told.arch)
    if flip := _flipped_bit(told, register, value, meaning):
        yield flip
        return
    if pointer is None and meaning is None:
        return
    who = _pointer_words(pointer) if pointer else register
    source, command = _instruction_words(told), _dis_command(told, told.reading.place)
    if pointer is not None:
        source, command = _pointer_source(pointer, source), _show_command(pointer) or command
    if meaning is not None and meaning.sort is not Sort.NON_CANONICAL:
        values = (access.base_value, access.index_value)
        is_plain = not (access.base and access.index) or 0 in values
        behind = _behind_pointer(pointer, access.address, meaning) if is_plain else ""
        sentence = f"{who} is {meaning.text}{behind}{_user_mapping(told, meaning)}"
        weight = Weight.CAUSE
    elif is_non_canonical(value):
        sentence = f"{who} is {value:#x}, no address (not canonical)"
        weight = Weight.CAUSE
    else:
        behind = f" at its member {pointer.member}" if pointer and pointer.member else ""
        sentence = f"{who} is {value:#x}, where the access failed{behind}"
        weight = Weight.CONTEXT
    yield Evidence(sentence, source, command, weight)


def _bad_register(told: _Told, access: Access) -> tuple[str | None, int]:
    """The register of an operand that was no good, where that is certain."""
    base, index = access.base, access.index
    if base and index:
        if access.index_value == 0:
            return base, access.base_value
        if access.base_value == 0 and access.scale == 1:
            return index, access.index_value
        bad = [
            (name, value)
            for name, value in ((base, access.base_value), (index, access.index_value))
            if (found := meaning_of(value, told.arch))
            and found.sort in (Sort.POISON, Sort.TEXT, Sort.NON_CANONICAL)
        ]
        return bad[0] if len(bad) == 1 else (None, 0)
    if base:
        return base, access.base_value
    return (index, access.index_value) if index and access.scale == 1 else (None, 0)


def _behind_pointer(pointer: Pointer | None, address: int, meaning: Meaning) -> str:
    """What lies at the offset from a bad pointer."""
    if meaning.sort is Sort.TEXT:
        return ": something wrote over the pointer"
    if pointer is not None and pointer.holder and meaning.text.startswith(FREED):
        return f": the {_holder(pointer)} was freed"
    if pointer is not None and pointer.member and pointer.member_type:
        return f": the access to {address:#x} was to its member {declared_member(pointer)}"
    if meaning.sort is Sort.NULL and address:
        return f": {address:#x} is the offset of what was accessed"
    return ""


def _holder(pointer: Pointer) -> str:
    """The structure that a pointer was loaded from, and where it is if there is memory to show."""
    at = pointer.holder_address
    return f"{pointer.holder} at {at:#x}" if at is not None else f"{pointer.holder}"


def declared_member(pointer: Pointer) -> str:
    """The member that was accessed, with its type."""
    return f"{pointer.member} ({pointer.member_type})"


def _address_evidence(told: _Told, address: int) -> Iterator[Evidence]:
    """An address alone: which register it came from is not known."""
    source = "the address that the kernel log tells"
    if found := near_poison(address, told.bits):
        pattern, text = found
        behind = f"{address - pattern:#x} behind {pattern:#x}" if address > pattern else "in itself"
        yield Evidence(
            f"the address {address:#x} lies {behind}: {text}", source, "log", Weight.CAUSE
        )
        return
    meaning = meaning_of(address, told.arch)
    if meaning is not None and meaning.sort in (Sort.TEXT, Sort.USER):
        more = _user_mapping(told, meaning)
        yield Evidence(f"what was accessed is {meaning.text}{more}", source, "log")


def _user_mapping(told: _Told, meaning: Meaning) -> str:
    reading = told.reading
    if meaning.sort is not Sort.USER:
        return ""
    if reading.user_mapping is not None:
        return f"; the task has {reading.user_mapping or 'nothing'} there"
    if reading.has_mm is False:
        return "; the task is a kernel thread and has no such memory"
    return ""


def _flipped_bit(
    told: _Told, register: str, value: int, meaning: Meaning | None
) -> Evidence | None:
    """A pointer that one bit tells from a live one, where nothing else explains it."""
    others = {each.value: each for each in told.reading.lookalikes}
    if len(others) != 1 or (meaning is not None and meaning.sort is not Sort.NON_CANONICAL):
        return None
    (other,) = others.values()
    where = f"in {other.where}"
    bit = (value ^ other.value).bit_length() - 1
    return Evidence(
        f"{register} is {value:#x}, which differs in bit {bit} alone from {other.value:#x}"
        f" ({where}), a live pointer to {other.what}: a bit may have flipped;"
        " test the memory of the machine",
        f"{_instruction_words(told)}; {where}",
        f"rd {other.value:x} 4",
        Weight.CAUSE,
    )


# -- words


def _pointer_words(pointer: Pointer) -> str:
    """A pointer, with its type and register: ``entry->account (struct cas_account *, rax)``."""
    kind = ", ".join(filter(None, (pointer.type, pointer.register)))
    if pointer.returned_by and not pointer.is_variable:
        return f"what {pointer.returned_by}() returned ({kind})"
    if pointer.shift:
        sign = "plus" if pointer.shift > 0 else "minus"
        return f"{pointer.register} ({pointer.expression} {sign} {abs(pointer.shift):#x})"
    by = f", which {pointer.returned_by}() returned," if pointer.returned_by else ""
    return f"{pointer.expression} ({kind}){by}"


def _pointer_source(pointer: Pointer, line: str) -> str:
    if pointer.is_variable:
        return f"{pointer.register} holds the variable {pointer.expression}; {line}"
    return f"{pointer.origin}; {line}" if pointer.origin else line


def _instruction_words(told: _Told) -> str:
    """The instruction, with its place."""
    fault = next((each for each in told.reading.code if each.is_fault), None)
    if fault is None:
        return told.reading.origin
    return f"`{_single_spaced(fault.text)}`" + (f" at {fault.place}" if fault.place else "")


def _single_spaced(text: str | None) -> str:
    return " ".join((text or "").split())


def _show_command(pointer: Pointer) -> str | None:
    """The command that shows what a pointer was loaded from, or where its members lie."""
    if pointer.holder and pointer.holder_address is not None:
        return f"{pointer.holder} {pointer.holder_address:x}"
    return pointer.structure


def _dis_command(told: _Told, place: str | None) -> str:
    """What shows the code; by its address where crash knows no such name, as of ``f.isra.0``."""
    if not place:
        return "bt"
    if "." in place:
        at = next((each.address for each in told.reading.code if each.place == place), None)
        return f"dis -rl {place}" if at is None else f"dis -rl {at:x}"
    return f"dis -rl {place}"


def _pointer_advice(told: _Told) -> str | None:
    """The next step, where the pointer is known."""
    pointer = told.reading.pointer
    if pointer is None or pointer.shift:
        return None
    if told.reading.divisor:
        return None if pointer.value else f"find out why {pointer.expression} is 0"
    meaning = meaning_of(pointer.value, told.arch)
    if meaning is None or meaning.sort not in (Sort.NULL, Sort.ERROR, Sort.POISON):
        return None
    state = {Sort.NULL: "is NULL", Sort.ERROR: "is an error", Sort.POISON: "is poison"}[
        meaning.sort
    ]
    if pointer.returned_by:
        return (
            f"read when {pointer.returned_by}() returns that: its caller did not check"
            if meaning.sort in (Sort.NULL, Sort.ERROR)
            else None
        )
    if pointer.holder and meaning.text.startswith(FREED):
        return f"find who freed the {_holder(pointer)} while it was used"
    show = _show_command(pointer)
    look = f" (cas debug: {show})" if show else ""
    return f"find out why {pointer.expression} {state}{look}"

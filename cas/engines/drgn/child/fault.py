"""A fault, read from the dump: registers, the code around it, and which pointer was bad."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from drgn import (
    Architecture,
    FaultError,
    Object,
    PlatformFlags,
    TypeKind,
)
from drgn.helpers.common.memory import identify_address
from drgn.helpers.linux.mm import vma_find

from cas.engines.drgn.child.backtrace import exception_frame, panic_task
from cas.engines.drgn.child.code import (
    CONVENTIONS,
    MAX_CODE_BYTES,
    Step,
    accessed,
    address_of,
    steps,
    thunk_register,
)
from cas.engines.drgn.child.target import Target
from cas.engines.drgn.child.variables import Site, Variables, signed
from cas.engines.drgn.child.walk import Walk

BEFORE, AFTER = 12, 6
"""Instructions that are shown around the one that faulted."""
FRAMES = 40
"""How many frames of the panic task are searched for the exception's registers."""
STACK_WORDS = 512
"""Above the stack pointer, among which a lookalike of a pointer is looked for."""
FIRST_FLIP = 32
"""Lower bits of a pointer differ between neighbours in memory."""
LAST_FLIP = {Architecture.X86_64: 62, Architecture.AARCH64: 54}
"""Above are arm64's tags, of which freed memory has another one than the pointers to it."""
STACK_END_MAGIC = 0x57AC6E9D
"""``include/uapi/linux/magic.h``."""
_X86_KMODS = (0xFFFF_FFFF_C000_0000, 0xFFFF_FFFF_FF00_0000)
"""``arch/x86/include/asm/pgtable_64_types.h``: MODULES_VADDR with a kernel that may be moved."""
_NEAR_KMODS = 128 << 20
"""Kernel modules are within a branch's reach of one another."""

Message = dict[str, Any]


class Wanted(NamedTuple):
    """What the kernel log says of the fault."""

    place: str | None
    """``function+0x18``."""
    nowhere: int | None
    """The program counter, where there is no code."""
    address: int | None
    registers: Mapping[str, int]


class NoRegisters(Exception):
    """The registers at the fault are not known."""


def read_fault(target: Target, wanted: Wanted, reading: Message) -> None:
    """Fill in what :class:`cas.fault_reading.Reading` has, the most important first.

    :raises NoRegisters: nothing says them
    """
    _Fault(target, wanted, reading).fill_reading()


class _Fault:
    """One fault while it is read."""

    def __init__(self, target: Target, wanted: Wanted, reading: Message) -> None:
        self._target, self._prog, self._wanted = target, target.prog, wanted
        self._reading = reading
        assert target.prog.platform is not None  # noqa: S101  a dump that was opened has one
        self._platform = target.prog.platform
        self._arch = self._platform.arch
        self._bits = 64 if PlatformFlags.IS_64_BIT in self._platform.flags else 32
        self._rules = CONVENTIONS[self._arch]
        self._task: Object | None = None
        self._variables = Variables(self._prog)

    def fill_reading(self) -> None:
        with contextlib.suppress(Exception):
            self._task = panic_task(self._prog)[0]
        registers, pc, origin = self._registers_at_fault()
        self._reading.update(registers=registers, pc=pc, origin=origin)
        site = Site(pc, registers)
        if self._wanted.nowhere is not None or not self._is_code(pc):
            self._reading["is_kmods_area"] = self._is_kmods_area(pc)
            with contextlib.suppress(FaultError, LookupError, ValueError, AttributeError):
                last = self._prog["last_unloaded_module"]
                text = last.name if last.type_.kind == TypeKind.STRUCT else last
                self._reading["last_unloaded"] = text.string_().decode("utf-8", "replace") or None
            site = self._call_to_nowhere(site) or site
            if site.pc == pc:
                return
        kmod = self._target.kmod_at(site.pc)
        self._reading.update(place=self._variables.place(site.pc), kmod=kmod.name if kmod else None)
        function = self._function_steps(site.pc)
        behind = (n for n, step in enumerate(function) if step.address >= site.pc)
        middle = next(behind, len(function))
        self._reading["code"] = [
            self._shown_instruction(step, step.address == site.pc)
            for step in function[max(0, middle - BEFORE) : middle + AFTER + 1]
        ]
        self._reading["is_from_memory"] = True
        at = next((n for n, step in enumerate(function) if step.address == site.pc), None)
        if at is not None:
            self._read_operands(
                Walk(self._variables, function, at, site, self._walk_above), function[at]
            )
        self._read_surroundings(registers)

    # -- registers

    def _registers_at_fault(self) -> tuple[dict[str, int], int, str]:
        """All registers at the fault, the program counter, and where they are from."""
        nowhere, place = self._wanted.nowhere, self._wanted.place
        for registers, pc, origin in self._register_sets():
            is_wanted = pc == nowhere
            if nowhere is None:
                is_wanted = place is not None and pc in self._addresses_of(place)
            if is_wanted:
                # each register once, whatever other names it has
                first = {one.names[0] for one in self._platform.registers}
                kept = {name: value for name, value in registers.items() if name in first}
                return {**kept, self._rules.pc: pc}, pc, origin
        logged = dict(self._wanted.registers)
        found = nowhere
        if found is None and place:
            found = next(self._addresses_of(place), None)
        if found is None or not logged:
            raise NoRegisters("the registers at the fault are neither on the stack nor in the log")
        return {**logged, self._rules.pc: found}, found, "kernel log"

    def _register_sets(self) -> Iterator[tuple[dict[str, int], int, str]]:
        if self._task is None:
            return
        with contextlib.suppress(ValueError, LookupError, FaultError):
            trace = self._prog.stack_trace(self._task)
            for number, frame in enumerate(islice(trace, FRAMES)):
                with contextlib.suppress(ValueError, LookupError, FaultError, TypeError):
                    if "regs" in frame.locals() and not frame["regs"].absent_:
                        yield from self._in_pt_regs(frame["regs"])
                if frame.interrupted and not frame.is_inline:
                    name = "exception on the stack" if number else "processor's own state"
                    yield dict(frame.registers()), frame.pc, name
        with contextlib.suppress(ValueError, LookupError, FaultError):
            if (found := exception_frame(self._target, self._task)) is not None:
                yield from self._in_pt_regs(found.address_of_())

    def _in_pt_regs(self, regs: Object) -> Iterator[tuple[dict[str, int], int, str]]:
        """Those of a ``struct pt_regs *``, unless it is none or leads nowhere."""
        with contextlib.suppress(ValueError, LookupError, FaultError, TypeError):
            if "struct pt_regs *" not in regs.type_.type_name():
                return
            frame = self._prog.stack_trace(regs[0])[0]
            yield dict(frame.registers()), frame.pc, f"struct pt_regs at {regs.value_():#x}"

    def _addresses_of(self, place: str) -> Iterator[int]:
        name, _, offset = place.partition("+")
        for symbol in self._prog.symbols(name):
            yield symbol.address + int(offset or "0", 16)

    # -- code

    def _is_code(self, address: int) -> bool:
        return self._target.is_own(address) or self._target.kmod_at(address) is not None

    def _is_kmods_area(self, pc: int) -> bool:
        if self._is_code(pc):
            return False
        if self._arch == Architecture.X86_64 and _X86_KMODS[0] <= pc < _X86_KMODS[1]:
            return True
        starts = (region[0] for kmod in self._target.kmods for region in kmod.regions[:1])
        return any(abs(pc - start) < _NEAR_KMODS for start in starts)

    def _function_steps(self, pc: int) -> list[Step]:
        """The whole function that an address is in; of a very long one, what can be told."""
        if (kmod := self._target.kmod_at(pc)) is not None:
            self._target.describe(kmod)
        begin, size = pc, BEFORE * 8
        with contextlib.suppress(LookupError):
            symbol = self._prog.symbol(pc)
            begin, size = symbol.address, symbol.size or pc - symbol.address + 256
        if size > MAX_CODE_BYTES:
            begin, size = pc, 256
        return list(steps(self._prog.read(begin, size), begin, self._platform))

    def _shown_instruction(self, step: Step, is_fault: bool) -> Message:
        file = line = None
        with contextlib.suppress(LookupError):
            source = self._prog.source_location(step.address)[0]
            file, line = source.filename or None, source.line or None
        target = step.shown.target
        label = self._variables.place(target) if target is not None else None
        return {
            "address": step.address,
            "place": self._variables.place(step.address) or "",
            "text": f"{step.shown.text} <{label}>" if label else step.shown.text,
            "file": file,
            "line": line,
            "is_fault": is_fault,
        }

    def _call_to_nowhere(self, site: Site) -> Site | None:
        """The call that led to where there is no code."""
        rules, registers = self._rules, dict(site.registers)
        back = None
        if rules.link:
            back = registers.get(rules.link)
        elif rules.sp in registers:
            width = self._bits // 8
            with contextlib.suppress(FaultError):
                back = self._prog.read_word(registers[rules.sp])
                registers[rules.sp] += width
        if not back or not self._is_code(back - 1):
            return None
        for step in self._function_steps(back - 1):
            if step.address + step.size == back and step.is_call:
                self._reading.update(
                    call=step.shown.text, caller=self._variables.place(step.address)
                )
                return Site(step.address, registers)
        return None

    def _walk_above(self, site: Site, name: str, value: int | None) -> Walk | None:
        """The call that led to a site, where a register had a value, as far as it is known."""
        caller = self._variables.caller(site)
        if caller is None or not self._is_code(caller.pc - 1):
            return None
        try:
            function = self._function_steps(caller.pc - 1)
        except FaultError:
            return None
        ends = (n for n, step in enumerate(function) if step.address + step.size == caller.pc)
        at = next(ends, None)
        if at is None or not function[at].is_call:
            return None
        start = None
        with contextlib.suppress(LookupError):
            start = self._prog.symbol(site.pc).address
        if start is None or function[at].shown.target not in (None, start):
            return None  # it goes to another function than the one that the site is in
        registers = {k: v for k, v in caller.registers.items() if k not in self._rules.scratch}
        if value is not None:
            registers[name] = value
        there = Site(function[at].address, registers)
        return Walk(self._variables, function, at, there, self._walk_above)

    # -- operands

    def _read_operands(self, walk: Walk, step: Step) -> None:
        if step.divisor:
            self._reading["divisor"] = step.divisor
            if known := walk.resolved(step.divisor, walk.at):
                self._reading["pointer"] = known.as_pointer(step.divisor)
            return
        if self._wanted.nowhere is not None:
            self._read_call(walk, step)
            return
        target = self._target_of_step(step, walk.site.registers)
        if target is not None:  # it was read, so what it was read from is not what was wrong
            place = self._variables.place(step.address)
            self._reading.update(target=target, call=step.shown.text, caller=place)
            self._read_call(walk, step)
            return
        found = accessed(step, walk.site.registers, self._wanted.address, self._bits)
        if found is None:
            return
        memory, address = found
        registers = walk.site.registers
        self._reading["access"] = {
            "address": address,
            "base": memory.base,
            "base_value": registers[memory.base] if memory.base else 0,
            "index": memory.index,
            "index_value": registers[memory.index] if memory.index else 0,
            "scale": memory.scale,
            "offset": memory.offset,
            "size": memory.size,
        }
        name = memory.base or memory.index
        if name is None:
            return
        if known := walk.resolved(name, walk.at):
            is_plain = not (memory.base and memory.index)
            distance = address - walk.site.registers[name]
            offset = signed(distance, self._bits) if is_plain else None
            self._reading["pointer"] = known.as_pointer(name, offset, memory.size)
        value = walk.site.registers[name]
        self._reading["lookalikes"] = list(self._lookalikes(value, walk.site.registers))
        self._read_user_mapping(address)

    def _target_of_step(self, step: Step, registers: Mapping[str, int]) -> int | None:
        """Where a call or jump through a register or memory goes; ``None``: that is not known."""
        if not (step.is_call or step.is_jump):
            return None
        if step.register or not step.memory:
            return registers.get(step.register or "")
        address = address_of(step.memory[0], registers, self._bits)
        return None if address is None else self._variables.word(address)

    def _read_call(self, walk: Walk, step: Step) -> None:
        """Which function pointer was called."""
        name = step.register
        if step.shown.target is not None and not step.memory:
            with contextlib.suppress(LookupError):
                name = thunk_register(self._prog.symbol(step.shown.target).name)
        if name and (known := walk.resolved(name, walk.at)):
            self._reading["pointer"] = known.as_pointer(name)
        elif step.memory and (known := walk.loaded(step, walk.at, 0)):
            self._reading["pointer"] = known.as_pointer("")

    # -- variables

    def _read_surroundings(self, registers: Mapping[str, int]) -> None:
        with contextlib.suppress(FaultError, LookupError, AttributeError):
            if self._task is not None:
                low = self._task.stack.value_()
                size = int(self._prog["THREAD_SIZE"])
                self._reading["stack"] = [low, low + size]
                self._reading["has_mm"] = bool(self._task.mm)
                # the mark is the stack's first word where ``thread_info`` is in the task, as it may
                # be since Linux 4.9 (c65eacbe290b)
                if self._prog.type("struct task_struct").has_member("thread_info"):
                    mark = self._prog.read_u32(low)
                    self._reading["is_end_overwritten"] = mark != STACK_END_MAGIC
        things = self._reading["things"] = {}
        for name, value in registers.items():
            if thing := self._thing_at(value):
                things[name] = thing

    def _thing_at(self, value: int) -> str | None:
        """What an address of the kernel is of, in a phrase."""
        if value < 1 << (self._bits - 1):
            return None
        try:
            found = identify_address(self._prog, value)
        except (FaultError, LookupError, ValueError, TypeError, AttributeError):
            return None
        return found.replace("symbol: ", "").replace(": ", " ", 1) if found else None

    def _read_user_mapping(self, address: int) -> None:
        if self._task is None or (self._bits == 64 and address >= 1 << 47) or address < 4096:
            return
        with contextlib.suppress(FaultError, LookupError, ValueError, AttributeError, TypeError):
            mm = self._task.mm
            if not mm:
                return
            vma = vma_find(mm, address)
            if not vma:
                self._reading["user_mapping"] = ""
                return
            file = vma.vm_file
            name = (
                file.f_path.dentry.d_name.name.string_().decode("utf-8", "replace") if file else ""
            )
            self._reading["user_mapping"] = name or "anonymous memory"

    def _lookalikes(self, value: int, registers: Mapping[str, int]) -> Iterator[Message]:
        """Live pointers of the registers and the stack that one bit tells from a value."""
        is_ram = False  # a direct mapping has memory there, as far as that can be told
        with contextlib.suppress(FaultError, LookupError):
            base, size = int(self._prog["page_offset_base"]), int(self._prog["max_pfn"]) << 12
            is_ram = base <= value < base + size
        if self._arch not in LAST_FLIP or is_ram:
            return
        words, stack = list(registers.items()), registers.get(self._rules.sp, 0)
        for at in range(stack, stack + STACK_WORDS * 8, 8):
            word = self._variables.word(at)
            if word is None:
                break
            words.append((f"the stack at {at:#x}", word))
        seen: set[int] = set()
        for where, other in words:
            differing = value ^ other
            may_flip = 1 << FIRST_FLIP <= differing <= 1 << LAST_FLIP[self._arch]
            if other in seen or differing & (differing - 1) or not may_flip:
                continue
            seen.add(other)
            what = self._thing_at(other)
            if what and not what.startswith("free "):
                yield {"where": where, "value": other, "what": what}

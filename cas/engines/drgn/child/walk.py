"""Where the registers of an instruction got their values, by the code before it.

A value is followed back only as far as nothing can have come from elsewhere, and what was loaded is
believed only where memory still has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cas.engines.drgn.child.code import Step
from cas.engines.drgn.child.member import member_at, name_of_type, structure_of
from cas.engines.drgn.child.variables import Known, Site, Variables

BACK_STEPS = 64
"""Instructions before the fault, in which the origin of a register is looked for."""
DEPTH = 6
"""Pointers that are followed back, one through the other."""


class Walk:
    """Back from an instruction, to where its registers got their values."""

    _has_memory = True

    def __init__(
        self,
        variables: Variables,
        function: Sequence[Step],
        at: int,
        site: Site,
        above: Callable[[Site, str, int | None], Walk | None],
    ) -> None:
        """Nothing is looked for yet.

        :param function: the whole function, or as much as is known of it
        :param at: the position of the site in it
        :param above: gives the call that led to a site, whose register had a value then
        """
        self._variables, self._function, self._above = variables, function, above
        self.at, self.site = at, site
        self._targets = {
            step.shown.target for step in function if step.is_jump and step.shown.target is not None
        }

    def value(self, name: str, at: int) -> int | None:
        """A register's value before an instruction, if nothing has changed it since."""
        for step in self._function[at : self.at]:
            if self._changes(step, name):
                return None
        return self.site.registers.get(name)

    def resolved(self, name: str, at: int, depth: int = 0) -> Known | None:
        """What a register is before an instruction."""
        if depth > DEPTH:
            return None
        value, pc = self.value(name, at), self._function[at].address
        found = self._known_by_code(name, at, depth)
        if value is not None and found is not None and found.value not in (None, value):
            found = None  # memory has changed since, or it came another way
        for known in self._variables.held(name, pc, self.site.registers):
            if structure_of(known.type) or found is None:
                held = found.value if found is not None and value is None else value
                by = found.returned_by if found is not None else None
                return known._replace(value=held, returned_by=by)
        if found is not None and found.value is None:
            found = found._replace(value=value)
        return found

    def _known_by_code(self, name: str, at: int, depth: int) -> Known | None:
        """By the instruction that filled the register, or what a caller passed, where certain."""
        for number in range(at - 1, max(-1, at - 1 - BACK_STEPS), -1):
            step = self._function[number]
            if self._function[number + 1].address in self._targets or not step.falls_through:
                return None  # it may have come from elsewhere
            if self._changes(step, name):
                return self._value_of_step(step, name, number, depth)
        if at > BACK_STEPS or self._function[0].address in self._targets:
            return None
        # nothing has filled it since the function was called
        caller = self._above(self.site, name, self.value(name, 0))
        if caller is None:
            return None
        known = caller.resolved(name, caller.at, depth + 1)
        # in the innermost function its own variables are better known
        return known and known._replace(
            is_variable=False, is_passed=True, origin=caller.origin_of_passed(name, known)
        )

    def origin_of_passed(self, name: str, known: Known) -> str:
        """Where the value that was passed came from."""
        if known.is_passed and known.origin:
            return known.origin
        place = self._variables.place(self._function[self.at].address)
        kind = declared_variable(name_of_type(known.type), known.expression)
        how = f"{name} is {kind}" if known.is_variable else known.origin
        return f"{how}, at the call in {place}" if how else f"the call in {place}"

    def _value_of_step(self, step: Step, name: str, number: int, depth: int) -> Known | None:
        if step.is_call:
            return self._variables.returned(step, name)
        if step.destination != name:
            return None
        if step.is_load:
            return self.loaded(step, number, depth)
        known = self.resolved(step.source, number, depth + 1) if step.source else None
        if known is None or known.value is None:
            return known and known._replace(shift=known.shift + step.addend)
        value = (known.value + step.addend) & ((1 << 64) - 1)
        return known._replace(value=value, shift=known.shift + step.addend)

    def loaded(self, step: Step, number: int, depth: int) -> Known | None:
        """What an instruction loads, as a member of what its base register points to."""
        memory = step.memory[0]
        if memory.index or memory.is_segment:
            return None
        if memory.base is None:
            return self._known_of_variable(memory.offset & ((1 << 64) - 1), step)
        base = self.resolved(memory.base, number, depth + 1)
        if base is None or structure_of(base.type) is None:
            return None
        address = None if base.value is None else base.value + memory.offset
        member = member_at(base.type, memory.offset + base.shift, memory.size)
        if member is None:
            return None
        value = self._variables.word(address) if self._has_memory and address is not None else None
        if value is None and self._has_memory:
            return None
        origin = _quoted_instruction(step)
        if base.is_variable:
            is_what = declared_variable(name_of_type(base.type), base.expression)
            origin = f"{origin}, where {memory.base} is {is_what}"
        return Known(
            expression=f"{base.expression}->{member.path}",
            type=member.type,
            value=value,
            is_variable=False,
            origin=origin,
            holder=structure_of(base.type),
            holder_address=(
                None if base.value is None else (base.value - base.shift) & ((1 << 64) - 1)
            ),
        )

    def _known_of_variable(self, address: int, step: Step) -> Known | None:
        found = self._variables.variable_at(address)
        value = self._variables.word(address) if self._has_memory else None
        if found is None or (value is None and self._has_memory):
            return None
        variable, offset = found
        member = member_at(variable.type_, offset, 0, is_object=True)
        if member is None:
            return None
        symbol = variable.prog_.symbol(address).name
        path = f"{symbol}.{member.path}" if member.path else symbol
        return Known(path, member.type, value, is_variable=False, origin=_quoted_instruction(step))

    def _changes(self, step: Step, name: str) -> bool:
        return name in step.writes or (step.is_call and self._variables.is_scratch(name))


def _quoted_instruction(step: Step) -> str:
    return f"`{' '.join(step.shown.text.split())}`"


def declared_variable(kind: str, name: str) -> str:
    """A variable with its type, as C writes it."""
    return f"{kind}{name}" if kind.endswith("*") else f"{kind} {name}"

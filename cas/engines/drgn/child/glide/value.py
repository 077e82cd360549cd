"""A value of the trace, as it is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Value:
    """One variable, member or element: its name, type and value, and what there is to say of it."""

    name: str
    """Of a variable or member; ``[N]`` of an element; empty of what a bare pointer points to."""
    type: str
    """As C has it, without the name."""
    text: str = ""
    """The bare value, as C or crash has it: a number, an address, a string, ``<fault ADDRESS>``;
    empty of a structure or an array."""
    note: str = ""
    """What it means: a symbol, an error, names of flags, a path."""
    above: str | None = None
    """Where its target stands already, e.g. ``#3.sk``."""
    members: list[Value] = field(default_factory=list)
    """Of the structure that it is or points to, or elements."""
    zeros: int = 0
    """Members that are 0 and left out."""
    left_out: int = 0
    """Elements, or members beyond a limit, that are not told."""

    def record(self) -> dict[str, Any]:
        """It in JSON's types, without what is empty."""
        told: dict[str, Any] = {"name": self.name, "type": self.type, "value": self.text}
        if self.note:
            told["note"] = self.note
        if self.above:
            told["above"] = self.above
        if self.members:
            told["members"] = [one.record() for one in self.members]
        if self.zeros:
            told["zeros"] = self.zeros
        if self.left_out:
            told["left_out"] = self.left_out
        return told

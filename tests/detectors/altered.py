"""Values in a dump made others than they were, as trouble would have left them."""

from __future__ import annotations

from contextlib import suppress

from drgn import FaultError, Object, Program, sizeof

BEFORE = "altered in a test"
"""Where a program keeps what was in its memory, beside what it keeps for itself."""


def put(value: Object, number: int) -> None:
    """Let a dump have another number in a place than it has."""
    size, address, prog = sizeof(value.type_), value.address_, value.prog_
    assert address is not None
    with suppress(FaultError):  # a place that the dump lacks stays
        prog.cache.setdefault(BEFORE, []).append((address, prog.read(address, size)))
    _lay(prog, address, (number % (1 << 8 * size)).to_bytes(size, "little"))


def undo(prog: Program) -> None:
    """Let all be as it was in the dump."""
    for address, data in reversed(prog.cache.pop(BEFORE, [])):
        _lay(prog, address, data)


def _lay(prog: Program, address: int, data: bytes) -> None:
    prog.add_memory_segment(
        address, len(data), lambda _address, length, offset, _: data[offset : offset + length]
    )

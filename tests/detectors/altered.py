"""Values in a dump made others than they were, as trouble would have left them."""

from __future__ import annotations

from drgn import Object, sizeof


def put(value: Object, number: int) -> None:
    """Let a dump have another number in a place than it has."""
    size = sizeof(value.type_)
    assert value.address_ is not None
    data = (number % (1 << 8 * size)).to_bytes(size, "little")
    value.prog_.add_memory_segment(
        value.address_, size, lambda _address, length, offset, _: data[offset : offset + length]
    )

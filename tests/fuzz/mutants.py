"""Spoilt dumps: each is a seed, a number, and so always the same edits."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from fuzz.fields import Field, fields, texts
from fuzz.seeds import SEEDS, Seed

_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_NUMBERS = (b"0", b"1", b"-1", b"4096", b"0xffffffffffffffff", b"ffffffffffffffff", b"", b"9" * 30)
_BLOCKS = (16, 512, 4096, 65536)

Edit = tuple[int, bytes]


@dataclass(frozen=True)
class Mutant:
    """What was done to a seed."""

    seed: str
    number: int
    kinds: tuple[str, ...]
    edits: tuple[Edit, ...]
    """Bytes to be put at offsets."""
    size: int
    """Of the file afterwards."""

    @property
    def lost_bytes(self) -> int:
        """How many bytes the file is shorter than it was when everything was there."""
        return len(SEEDS[self.seed].data) - self.size

    @property
    def is_cut(self) -> bool:
        """Whether bytes were cut off the end and nothing else was done."""
        return self.kinds == ("cut",)


@cache
def known(seed: str) -> list[Field]:
    """The fields of a seed."""
    data = SEEDS[seed].data
    return [field for field in fields(data) if 0 <= field.offset <= len(data) - field.size]


def mutant(seed: Seed, number: int) -> Mutant:
    """The spoilt dump of that number."""
    chance = random.Random(f"{seed.name}/{number}")  # noqa: S311
    kinds = chance.choices(list(KINDS), [weight for weight, _ in KINDS.values()], k=1)
    if kinds != ["cut"] and chance.random() < 0.4:
        kinds += chance.choices(["cut", "bits", "bytes", "field", "text", "block"], k=2)
    edits: list[Edit] = []
    size = len(seed.data)
    for kind in kinds:
        new, length = KINDS[kind][1](seed, chance)
        edits += new
        size = length if kind in ("delete", "insert", "extend") else min(size, length)
    return Mutant(seed.name, number, tuple(kinds), tuple(edits), size)


def _cut(seed: Seed, chance: random.Random) -> tuple[list[Edit], int]:
    size = len(seed.data)
    edge = chance.choice(known(seed.name)).offset
    near = min(size - 1, edge + chance.randint(-1, 9))
    last = size - chance.randint(1, min(64, size))
    return [], max(chance.choice((chance.randrange(size), near, last)), 0)


def _place(seed: Seed, chance: random.Random) -> int:
    """Mostly where headers are."""
    if chance.random() < 0.5:
        field = chance.choice(known(seed.name))
        return field.offset + chance.randrange(field.size)
    return chance.randrange(min(chance.choice((512, 8192, 1 << 40)), len(seed.data)))


def _bits(seed: Seed, chance: random.Random) -> tuple[list[Edit], int]:
    places = [_place(seed, chance) for _ in range(chance.randint(1, 8))]
    edits = [(at, bytes([seed.data[at] ^ 1 << chance.randrange(8)])) for at in places]
    return edits, len(seed.data)


def _bytes(seed: Seed, chance: random.Random) -> tuple[list[Edit], int]:
    edits = []
    for _ in range(chance.randint(1, 6)):
        at = _place(seed, chance)
        room = len(seed.data) - at
        edits.append((at, chance.randbytes(chance.choice((1, 2, 4, 8, 24)))[:room]))
    return edits, len(seed.data)


def _field(seed: Seed, chance: random.Random) -> tuple[list[Edit], int]:
    edits = []
    for field in chance.choices(known(seed.name), k=chance.choice((1, 1, 1, 2, 3))):
        layout = struct.Struct(field.order + _CODES[field.size])
        (value,) = layout.unpack_from(seed.data, field.offset)
        chosen = chance.choice(_values(value, len(seed.data), chance))
        mask = (1 << 8 * field.size) - 1
        edits.append((field.offset, layout.pack(chosen & mask)))
    return edits, len(seed.data)


def _values(value: int, size: int, chance: random.Random) -> list[int]:
    """What a lying field says."""
    shift = chance.randrange(64)
    ends = [0, 1, -1, 1 << 31, (1 << 31) - 1, 1 << 63, (1 << 63) - 1, 1 << 32, 0xFFFF]
    near = [value + 1, value - 1, -value, value << shift % 16, value * 3, value >> 1, value ^ 8]
    return [*ends, *near, size, size - 1, size + 1, 1 << shift, chance.getrandbits(64)]


def _text(seed: Seed, chance: random.Random) -> tuple[list[Edit], int]:
    """A VMCOREINFO with other lines, of the same length in the file."""
    places = texts(seed.data)
    if not places:
        return _field(seed, chance)
    start, end = chance.choice(places)
    lines = seed.data[start:end].split(b"\n")
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(lines))
        lines[at : at + 1] = _line(lines[at], chance)
    text = b"\n".join(lines)[: end - start].ljust(end - start, chance.choice((b"\0", b"\n")))
    return [(start, text)], len(seed.data)


def _line(line: bytes, chance: random.Random) -> list[bytes]:
    key, _, value = line.partition(b"=")
    if chance.random() < 0.2:
        return chance.choice([[], [line, line], [key], [b"=" + value], [b"\xff\x1b[2J" + line]])
    new = chance.choice(_NUMBERS)
    if value and chance.random() < 0.5:
        at = chance.randrange(len(value))
        new = value[:at] + chance.choice((b"0", b"f", b"-", b"8", b"\xff")) + value[at + 1 :]
    return [key + b"=" + new]


def _block(seed: Seed, chance: random.Random) -> tuple[list[Edit], int]:
    """Zeros, ones, noise, or another part of the file over a part of it."""
    data = seed.data
    size = min(chance.choice(_BLOCKS), len(data) // 2)
    to, source = (chance.randrange(len(data) - size) for _ in range(2))
    if chance.random() < 0.5:
        to &= -size if size in _BLOCKS else -1
    filling = (bytes(size), b"\xff" * size, chance.randbytes(size), data[source : source + size])
    return [(to, chance.choice(filling))], len(data)


def _splice(seed: Seed, chance: random.Random) -> tuple[list[Edit], int]:
    """Part of another seed, or everything from there on."""
    other = SEEDS[chance.choice([s.name for s in SEEDS.values() if not s.is_large])].data
    at = chance.randrange(min(len(seed.data), len(other)))
    size = chance.choice((256, 4096, len(other)))
    piece = other[at : at + size][: len(seed.data) - at]
    return [(at, piece)], len(seed.data)


def _delete(seed: Seed, chance: random.Random) -> tuple[list[Edit], int]:
    data, size = seed.data, chance.choice((1, 8, 512, 4096))
    at = chance.randrange(len(data))
    return [(at, data[at + size :])], max(len(data) - size, at)


def _insert(seed: Seed, chance: random.Random) -> tuple[list[Edit], int]:
    data, size = seed.data, chance.choice((1, 8, 512, 4096))
    at = chance.randrange(len(data))
    return [(at, bytes(size) + data[at:])], len(data) + size


def _extend(seed: Seed, chance: random.Random) -> tuple[list[Edit], int]:
    more = chance.choice((b"\0", b"\xff", b"KDUMP   ", seed.data[:64])) * chance.randint(1, 4096)
    return [(len(seed.data), more)], len(seed.data) + len(more)


def _hole(seed: Seed, chance: random.Random) -> tuple[list[Edit], int]:
    """The end was never written: zeros there."""
    at = chance.randrange(len(seed.data))
    return [(at, bytes(len(seed.data) - at))], len(seed.data)


KINDS: dict[str, tuple[int, Callable[[Seed, random.Random], tuple[list[Edit], int]]]] = {
    "cut": (12, _cut),
    "bits": (12, _bits),
    "bytes": (12, _bytes),
    "field": (32, _field),
    "text": (12, _text),
    "block": (8, _block),
    "splice": (4, _splice),
    "delete": (2, _delete),
    "insert": (2, _insert),
    "extend": (2, _extend),
    "hole": (2, _hole),
}
"""How often each kind is chosen, and what it does."""

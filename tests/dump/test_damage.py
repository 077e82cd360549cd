"""Damaged and hostile dumps: truncation is always seen, and nothing but a CasError comes out."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from writer import Elf, Kdump, flattened, info_note, kernel_memory

from cas.dump import identify, is_dump
from cas.errors import CasError

MEMORY, INFO = kernel_memory()
PAGES = {at // 4096 + n: data[4096 * n :][:4096] for at, data in MEMORY.items() for n in (0, 1)}
ELF = Elf(MEMORY, [info_note(INFO)]).build()
KDUMP = Kdump(PAGES, INFO).build()
DUMPS = {
    "elf": ELF,
    "qemu-elf": Elf(MEMORY, [info_note(INFO)], like_qemu=True, many=True).build(),
    "kdump": KDUMP,
    "kdump32": Kdump(PAGES, INFO, bits=32, machine="i686").build(),
    "flat-elf": flattened(ELF, 1500, seed=3),
    "flat-kdump": flattened(KDUMP, 4096),
}
MUTATIONS = 150
INTERESTING = (b"\0", b"\xff", b"\x7f\xff\xff\xff", b"\xff" * 8, bytes(8), b"\0\0\0\0\0\0\0\x80")


@pytest.mark.parametrize("name", DUMPS)
def test_every_truncated_dump_is_known_to_be_one(name: str, tmp_path: Path) -> None:
    whole, path = DUMPS[name], tmp_path / "vmcore"
    cuts = random.Random(name).sample(range(1, len(whole)), 60)  # noqa: S311
    for size in (*cuts, len(whole) - 1):
        path.write_bytes(whole[:size])
        try:
            assert not identify(path).is_whole, f"cut at {size} of {len(whole)}"
        except CasError:
            continue


@pytest.mark.parametrize("name", DUMPS)
def test_mutated_dump_gives_facts_or_one_sentence(name: str, tmp_path: Path) -> None:
    whole, path = DUMPS[name], tmp_path / "vmcore"
    for seed in range(MUTATIONS):
        data = _mutated(whole, random.Random(seed))  # noqa: S311
        path.write_bytes(data)
        try:
            identify(path)
        except CasError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_are_named(seed: int, tmp_path: Path) -> None:
    data = random.Random(seed).randbytes(5000)  # noqa: S311
    path = tmp_path / "vmcore"
    for magic in (b"", b"\x7fELF\2\1\1", b"KDUMP   ", b"makedumpfile\0\0\0\0"):
        path.write_bytes(magic + data)
        is_dump(magic + data)
        with pytest.raises(CasError, match="vmcore"):
            raise _failure(path)


def _failure(path: Path) -> BaseException:
    """A dump may be read out of random bytes; else there is one sentence about them."""
    try:
        identify(path)
    except CasError as error:
        return error
    return CasError("vmcore")


def _mutated(data: bytes, chance: random.Random) -> bytes:
    """Some bytes changed, most of them where the headers and the structures are."""
    mutated = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        where = chance.choice((200, 600, 6000, len(data)))
        at = chance.randrange(min(where, len(data)))
        value = chance.choice((*INTERESTING, chance.randbytes(1), chance.randbytes(4)))
        mutated[at : at + len(value)] = value
    if chance.random() < 0.2:
        del mutated[chance.randrange(len(mutated)) :]
    return bytes(mutated)

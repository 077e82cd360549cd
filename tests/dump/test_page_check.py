"""Every page and every descriptor of a KDUMP: what is not as it was written is noticed."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard
from cramjam import snappy
from lzallright import LZOCompressor
from writer import PAGE, Kdump, flattened, identified, kernel_memory, written

from cas.choices import Cause, Checked
from cas.dump import identify
from cas.dump.checking import Checking
from cas.dump.memory import Absent
from cas.dump.notes import lost_notes
from cas.dump.pages import ZLIB, inflate_page
from cas.model.dump import Dump
from cas.text import wholeness

MEMORY, INFO = kernel_memory()
CHANCE = random.Random(11)  # noqa: S311
PAGES = {
    **{at // PAGE + n: data[PAGE * n :][:PAGE] for at, data in MEMORY.items() for n in (0, 1)},
    **{0x200 + n: CHANCE.randbytes(PAGE) for n in range(24)},
    **{0x300 + n: CHANCE.randbytes(700).ljust(PAGE, b"x") for n in range(120)},
}
MANY = {frame: b"%5d" % frame + bytes(PAGE - 5) for frame in range(10_000)} | {
    frame: page for frame, page in PAGES.items() if frame < 0x200
}
PACKED = {
    "zlib": Kdump(PAGES, INFO),
    "lzo": Kdump(PAGES, INFO, LZOCompressor().compress, flag=2, status=2),
    "snappy": Kdump(PAGES, INFO, lambda page: bytes(snappy.compress_raw(page)), flag=4, status=4),
    "zstd": Kdump(PAGES, INFO, zstandard.compress, flag=0x20, status=0x20),
}


def table(kdump: bytes) -> int:
    """Offset of the first page descriptor."""
    sub_blocks, bitmap_blocks = struct.unpack_from("<II", kdump, 432)
    at: int = (1 + sub_blocks + bitmap_blocks) * PAGE
    return at


def changed(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


@pytest.mark.parametrize("kind", PACKED)
def test_a_block_of_zeros_is_noticed_wherever_it_is(kind: str, tmp_path: Path) -> None:
    data = PACKED[kind].build()
    whole = identified(tmp_path, data)
    assert (whole.missing, whole.checked, whole.pages_checked) == ((), Checked.PAGES, len(PAGES))
    for at in range(table(data), len(data) - PAGE, PAGE):
        dump = identified(tmp_path, changed(data, at, bytes(PAGE)))
        assert not dump.is_whole, f"at {at} of {len(data)}"


def test_a_block_of_zeros_in_a_flattened_dump_is_noticed(tmp_path: Path) -> None:
    data = flattened(PACKED["zlib"].build(), 1 << 16)
    for at in range(10 * PAGE, len(data) - 2 * PAGE, 5 * PAGE):
        assert not identified(tmp_path, changed(data, at, bytes(PAGE))).is_whole, f"at {at}"


def test_one_wrong_bit_of_a_zlib_page_is_noticed() -> None:
    page = CHANCE.randbytes(100).ljust(PAGE, b"x")
    packed = zlib.compress(page)
    assert inflate_page(packed, ZLIB, PAGE) == page
    for at in range(2, len(packed)):
        with suppress(Absent):  # some bits say the same in another way
            assert inflate_page(changed(packed, at, bytes([packed[at] ^ 4])), ZLIB, PAGE) == page


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (bytes(PAGE), "page descriptors lead to no page"),
        (random.Random(2).randbytes(PAGE), "page descriptors lead to no page"),  # noqa: S311
        (None, "1 of 10000 page descriptors lead to the data of other pages"),
    ],
    ids=["zeros", "garbage", "others"],
)
def test_descriptors_of_a_large_dump_are_all_looked_at(
    tmp_path: Path, rows: bytes | None, said: str
) -> None:
    data = Kdump(MANY, INFO).build()
    at = table(data) + 24 * 5000
    new = data[at - 24 * 100 : at - 24 * 50] if rows is None else rows
    judged = checked(written(tmp_path, changed(data, at, new)))
    (missing,) = (lack for lack in judged.missing if lack.cause is Cause.PAGES)
    assert said in missing.what
    assert missing.offset is not None
    assert abs(missing.offset - at) < 24


def checked(path: Path) -> Dump:
    """What is said of a dump once all its pages were checked."""
    dump = identify(path)
    assert dump.checked is Checked.SAMPLED
    with Checking(dump, lambda: path, path.parent) as checking:
        list(checking.until_over())
        assert list(checking.problems()) == []
        return checking.judged(dump)


@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(bytes, marks=pytest.mark.long, id=""),
        pytest.param(lambda data: flattened(data, 1 << 16), id="flat"),
    ],
)
def test_pages_between_the_samples_are_found_beside_the_debuggers(
    tmp_path: Path, wrap: Callable[[bytes], bytes]
) -> None:
    data = Kdump(MANY, INFO).build()
    assert checked(written(tmp_path, wrap(data))).missing == ()
    (at,) = struct.unpack_from("<q", data, table(data) + 24 * 7777)
    path = written(tmp_path, wrap(changed(data, at, bytes(10))))
    assert wholeness(identify(path)).endswith("of 10,000 pages checked)")
    judged = checked(path)
    assert [lack.what for lack in judged.missing] == ["1 of 10000 pages do not unpack"]
    assert (judged.checked, judged.pages_checked) == (Checked.PAGES, 10_000)


def test_a_check_that_is_given_up_says_how_far_it_came(tmp_path: Path) -> None:
    path = written(tmp_path, Kdump(MANY, INFO).build())
    dump = identify(path)
    with Checking(dump, lambda: path, path.parent) as checking:
        judged = checking.judged(dump)
    assert judged.checked is Checked.SAMPLED
    assert judged.is_whole


def test_pages_of_zeros_that_are_shared_are_no_damage(tmp_path: Path) -> None:
    data = Kdump({**PAGES, 0x1F0: bytes(PAGE)}, INFO, bytes, status=0).build()
    assert not identified(tmp_path, data).is_whole  # makedumpfile would have put it first
    shared = {frame: bytes(PAGE) for frame in range(0x10, 0x20)}
    stored = Kdump({**shared, **PAGES}, INFO, bytes, status=0).build()
    (zero,) = struct.unpack_from("<q", stored, table(stored))
    for number in range(len(shared)):
        at = table(stored) + 24 * number
        stored = changed(stored, at, struct.pack("<q", zero))
    assert identified(tmp_path, stored).is_whole


def test_a_second_page_of_zeros_that_is_shared_is_no_damage(tmp_path: Path) -> None:
    """As a set of parts has that was joined: the first part had no page of zeros."""
    data = PACKED["zlib"].build()
    rows = [table(data) + 24 * number for number in (60, 70, 80)]
    at = len(data)
    data += bytes(PAGE)
    for row in rows:
        data = changed(data, row, struct.pack("<qIIQ", at, PAGE, 0, 0))
    assert identified(tmp_path, data).missing == ()


def test_a_page_that_ends_in_its_midst_does_not_unpack(tmp_path: Path) -> None:
    page = PAGES[0x300]

    def pack(data: bytes) -> bytes:
        return zlib.compress(data)[: -5 if data == page else None]

    (missing,) = identified(tmp_path, replace(PACKED["zlib"], compress=pack).build()).missing
    assert missing.what == f"1 of {len(PAGES)} pages do not unpack"


@pytest.mark.parametrize("kind", PACKED)
def test_a_large_page_of_which_no_writer_saves_anything_is_whole(kind: str, tmp_path: Path) -> None:
    size = 1 << 16
    pages = {0: bytes(size), 1: CHANCE.randbytes(size - 600) + bytes(600)}
    pages |= {2: CHANCE.randbytes(size // 2) + bytes(300) + CHANCE.randbytes(size // 2 - 300)}
    data = replace(PACKED[kind], pages=pages, block=size).build()
    assert identified(tmp_path, data).missing == ()


def test_a_sector_of_zeros_over_the_end_of_a_stored_page_is_noticed(tmp_path: Path) -> None:
    pages = {frame: CHANCE.randbytes(PAGE) for frame in range(8)}
    data = Kdump(pages).build()
    at = data.index(pages[5])
    (missing,) = identified(tmp_path, changed(data, at - 256, bytes(512))).missing
    assert "pages are overwritten by zeros" in missing.what


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (PAGE, "its sub-header is zeros"),
        (2 * PAGE, "the bitmap of memory lacks page frames that the bitmap of the dump has"),
        (PAGE + 512, "VMCOREINFO is overwritten by zeros"),
        (PAGE + 256, "the notes are damaged"),
    ],
)
def test_zeros_before_the_pages_are_noticed(place: int, said: str, tmp_path: Path) -> None:
    data = replace(PACKED["zlib"], notes=[("CORE", 1, b"\1" * 336)]).build()
    assert identified(tmp_path, data).missing == ()
    told = {lack.what: lack for lack in identified(tmp_path, zeroed(data, place)).missing}
    assert told[said].cause is Cause.DAMAGED
    assert place <= (told[said].offset or 0) < place + 200


def zeroed(data: bytes, at: int) -> bytes:
    return changed(data, at, bytes(200))


@pytest.mark.parametrize(
    ("name", "is_damage"), [(b"ERASEINFO\0\0\0", False), (b"CORE\0CORE\0\0\0", True)]
)
def test_only_makedumpfiles_own_note_may_follow_zeros(name: bytes, is_damage: bool) -> None:
    note = struct.pack("<III", 10, 4, 0) + name + b"none"
    assert bool(list(lost_notes(note + bytes(40) + note, "<", 0))) is is_damage
    assert not list(lost_notes(note + bytes(40), "<", 0))

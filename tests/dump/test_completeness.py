"""Every way in which a dump can be less than it says, and what is said about it."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest
from writer import PAGE, Elf, Kdump, flattened, identified, info_note, kernel_memory, written

from cas.choices import Cause
from cas.dump import identify
from cas.model.dump import Missing

MEMORY, INFO = kernel_memory()
NOISE = random.Random(7).randbytes(64 * PAGE)  # noqa: S311
PAGES = {
    **{at // PAGE + n: data[PAGE * n :][:PAGE] for at, data in MEMORY.items() for n in (0, 1)},
    **{0x200 + n: NOISE[PAGE * n :][:PAGE] for n in range(32)},
    **{0x300 + n: (b"%d" % n).ljust(PAGE, b"x") for n in range(32)},
}
ELF = Elf({**MEMORY, 0x200000: NOISE}, [info_note(INFO)])
KDUMP = Kdump(PAGES, INFO)


def lacks(directory: Path, data: bytes) -> str:
    return "; ".join(missing.what for missing in identified(directory, data).missing)


def descriptors(kdump: bytes) -> int:
    """Offset of the first page descriptor."""
    sub_blocks, bitmap_blocks = struct.unpack_from("<II", kdump, 432)
    return (1 + sub_blocks + bitmap_blocks) * PAGE


def changed(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


@pytest.mark.parametrize("data", [ELF.build(), KDUMP.build(), flattened(ELF.build(), 4096)])
def test_whole_dump_lacks_nothing(tmp_path: Path, data: bytes) -> None:
    assert lacks(tmp_path, data) == ""


@pytest.mark.parametrize("share", [0.2, 0.5, 0.97])
@pytest.mark.parametrize("data", [ELF.build(), KDUMP.build()], ids=["elf", "kdump"])
def test_cut_dump_says_what_is_declared_and_where_it_ends(
    tmp_path: Path, data: bytes, share: float
) -> None:
    size = int(len(data) * share)
    (missing,) = [m for m in identified(tmp_path, data[:size]).missing if "declares" in m.what]
    assert missing.what.endswith("%)")
    assert missing.offset == size


@pytest.mark.parametrize(
    "row",
    [(64, 100, 1), (1 << 40, 100, 1), (0, 0, 1), (-1, 100, 1), (None, 9000, 1), (None, 50, 7)],
    ids=["header", "far", "nothing", "negative", "too-long", "two-compressions"],
)
def test_descriptor_that_leads_to_no_page_is_named_by_its_place(
    tmp_path: Path, row: tuple[int | None, int, int]
) -> None:
    data = KDUMP.build()
    at = descriptors(data) + 24 * 5
    (offset,) = struct.unpack_from("<q", data, at)
    new = struct.pack("<qIIQ", offset if row[0] is None else row[0], *row[1:], 0)
    (missing,) = identified(tmp_path, changed(data, at, new)).missing
    expected = Missing(f"1 of {len(PAGES)} page descriptors lead to no page", at, Cause.PAGES)
    assert missing == expected


def test_pages_that_do_not_unpack_are_counted(tmp_path: Path) -> None:
    data = KDUMP.build()
    (at,) = struct.unpack_from("<q", data, descriptors(data) + 24 * 40)
    (missing,) = identified(tmp_path, changed(data, at, b"\xff" * 60)).missing
    assert missing.what.endswith(f"of {len(PAGES)} pages do not unpack")
    assert missing.offset == at


def test_copy_that_was_not_finished_but_has_its_size(tmp_path: Path) -> None:
    data = KDUMP.build()
    (missing,) = identified(tmp_path, data[: len(data) - 900] + bytes(900)).missing
    assert "do not unpack" in missing.what


def test_plain_pages_overwritten_by_zeros(tmp_path: Path) -> None:
    data = Kdump(PAGES, INFO, compress=bytes, status=0).build()
    whole = written(tmp_path, data)
    assert identify(whole).is_whole
    with whole.open("r+b") as file:
        file.truncate(len(data) - 10 * PAGE)
        file.truncate(len(data))
    (missing,) = identify(whole).missing
    assert missing.what == f"10 of {len(PAGES)} pages are overwritten by zeros"
    assert missing.offset == len(data) - 10 * PAGE


def test_bits_lost_from_the_bitmap(tmp_path: Path) -> None:
    data = KDUMP.build()
    second = descriptors(data) - PAGE
    assert "more descriptors" in lacks(tmp_path, changed(data, second + 0x300 // 8, b"\xf0"))


def test_bits_added_to_the_bitmap(tmp_path: Path) -> None:
    data = KDUMP.build()
    second = descriptors(data) - PAGE
    assert "lead to no page" in lacks(tmp_path, changed(data, second, b"\x01"))


def test_bitmap_smaller_than_the_machine(tmp_path: Path) -> None:
    data = changed(KDUMP.build(), 440, struct.pack("<I", 1 << 30))
    wide = PAGE + 96
    data = changed(data, wide, struct.pack("<Q", 1 << 30))
    assert "page frames, the bitmap has room for 65536" in lacks(tmp_path, data)


def test_kdump_notes_beyond_the_end(tmp_path: Path) -> None:
    data = changed(KDUMP.build(), PAGE + 48, struct.pack("<Q", 1 << 33))
    assert lacks(tmp_path, data).startswith("declares 8.0 GiB, data ends at")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        (8, 10, "begin inside the headers"),
        (24, (1 << 64) - 1 - PAGE, "beyond the highest address"),
        (40, 4, "of data for 4 bytes of memory"),
        (0, 0x1234, "no known type"),
    ],
)
def test_impossible_program_header_is_named_by_its_place(
    tmp_path: Path, field: int, value: int, said: str
) -> None:
    at = 64 + 56 * 2
    code = "<Q" if field else "<I"
    data = changed(ELF.build(), at + field, struct.pack(code, value))
    missing = identified(tmp_path, data).missing
    assert [said in m.what for m in missing] == [True]
    assert missing[0].offset == at


def test_blank_program_header_is_damage(tmp_path: Path) -> None:
    assert "is blank" in lacks(tmp_path, changed(ELF.build(), 64 + 56 * 2, bytes(56)))


def test_number_of_program_headers_that_lost_the_memory(tmp_path: Path) -> None:
    data = changed(ELF.build(), 56, b"\x01\0")
    assert "no program header leads to memory" in lacks(tmp_path, data)


def test_notes_that_were_never_copied(tmp_path: Path) -> None:
    data = ELF.build()
    at = data.index(b"VMCOREINFO") - 12
    assert "the notes are zeros" in lacks(tmp_path, changed(data, at, bytes(len(INFO) + 24)))


def test_memory_that_was_never_copied(tmp_path: Path) -> None:
    data = ELF.build()
    start = data.index(INFO) + len(INFO) + 8
    half_copied = data[:start] + bytes(len(data) - start - 1) + b"x"
    assert "own memory is zeros" in lacks(tmp_path, half_copied)


def test_memory_that_is_all_zeros_may_have_been_so(tmp_path: Path) -> None:
    data = ELF.build()
    start = data.index(INFO) + len(INFO) + 8
    path = tmp_path / "vmcore"
    path.write_bytes(data[:start] + bytes(len(data) - start))
    dump = identify(path)
    assert dump.is_whole
    assert any("own memory is zeros" in remark for remark in dump.remarks)


def test_record_that_a_flattened_stream_lacks(tmp_path: Path) -> None:
    step = 4096
    data = flattened(ELF.build(), step)
    record = PAGE + 20 * (step + 16)
    said = lacks(tmp_path, data[:record] + data[record + step + 16 :])
    assert said == f"the flattened stream has no record for offset {20 * step} of the dump"


@pytest.mark.parametrize("end", [True, False])
def test_flattened_and_incomplete(tmp_path: Path, end: bool) -> None:
    said = lacks(tmp_path, flattened(Kdump(PAGES, INFO, status=9).build(), end=end))
    assert "makedumpfile marked the dump as incomplete" in said
    assert ("no end record" in said) is not end

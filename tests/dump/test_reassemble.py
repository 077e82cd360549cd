"""Parts of a split dump, joined again, against makedumpfile."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from opening import pages_of
from writer import PAGE, Kdump, flattened, kernel_memory, written

from cas.choices import Cause
from cas.dump import identify, kind_of, reassemble
from cas.dump.kdump_header import read_kdump_header
from cas.dump.reassemble import with_reason
from cas.dump.source import opened_source
from cas.errors import DiskFull, NotADump
from cas.model.dump import Missing

from installed import needs

MEMORY, INFO = kernel_memory()
PAGES = {0x100 + number: bytes([number + 1]) * PAGE for number in range(12)} | {
    at // PAGE + number: data[PAGE * number :][:PAGE]
    for at, data in MEMORY.items()
    for number in (0, 1)
}
RANGES = ((0, 0x104), (0x104, 0x108), (0x108, 0x10C))


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"vmcore.{number}" for number in (1, 2, 3)]
    for path, frames in zip(paths, RANGES, strict=True):
        path.write_bytes(Kdump(PAGES, INFO, split=frames).build())
    return paths


@pytest.fixture(scope="session")
def split(vmcore: Path, made: Callable[[str, Callable[[Path], object]], Path]) -> list[Path]:
    """The shipped dump in three parts of about the same size."""

    def write(directory: Path) -> None:
        directory.mkdir()
        argv = [needs("makedumpfile"), "-c", "-d31", "--split", "--splitblock-size", "4", vmcore]
        parts = [directory / name for name in ("one", "two", "three")]
        subprocess.run([*argv, *parts], check=True, capture_output=True)

    directory = made("split", write)
    return [directory / name for name in ("one", "two", "three")]


def test_shipped_dump_is_what_makedumpfile_makes_of_its_parts(
    split: list[Path], tmp_path: Path
) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    argv = [needs("makedumpfile"), "--reassemble", *split, theirs]
    subprocess.run(argv, check=True, capture_output=True)
    assert reassemble([split[2], split[0], split[1]], ours) == ()
    assert pages_of(ours) == pages_of(theirs)
    one, other = identify(ours), identify(theirs)
    assert (one.dmesg, one.vmcoreinfo, one.missing) == (other.dmesg, other.vmcoreinfo, ())


def test_parts_of_the_shipped_dump_are_told_from_dumps(split: list[Path], vmcore: Path) -> None:
    assert [kind_of(path.read_bytes()[: 128 << 10]) for path in split] == ["part"] * 3
    assert kind_of(vmcore.read_bytes()[: 128 << 10]) == "dump"


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_parts_in_any_order_make_the_dump(
    parts: list[Path], tmp_path: Path, order: tuple[int, ...]
) -> None:
    assert reassemble([parts[at] for at in order], tmp_path / "joined") == ()
    assert pages_of(tmp_path / "joined") == PAGES
    assert identify(tmp_path / "joined").is_whole


@pytest.mark.parametrize("shape", [{"bits": 32, "machine": "i686"}, {"order": ">"}, {"version": 3}])
def test_parts_of_every_shape_make_the_dump(tmp_path: Path, shape: dict[str, object]) -> None:
    paths = [tmp_path / "1", tmp_path / "2"]
    for path, frames in zip(paths, ((0, 0x104), (0x104, 0x10C)), strict=True):
        path.write_bytes(Kdump(PAGES, INFO, split=frames, **shape).build())  # type: ignore[arg-type]
    assert reassemble(paths, tmp_path / "joined") == ()
    assert pages_of(tmp_path / "joined") == PAGES
    with opened_source(tmp_path / "joined") as file:
        assert not read_kdump_header(file).split


@pytest.mark.parametrize("absent", [0, 1, 2])
def test_missing_part_is_named_by_its_page_frames(
    parts: list[Path], tmp_path: Path, absent: int
) -> None:
    (missing,) = reassemble(parts[:absent] + parts[absent + 1 :], tmp_path / "joined")
    start, end = RANGES[absent]
    assert f"no part has page frames {start} to {end}: 4 pages, 16.0 KiB" in missing.what
    assert pages_of(tmp_path / "joined") == {
        frame: page for frame, page in PAGES.items() if not start <= frame < end
    }


def test_dump_that_lacks_a_part_is_marked_as_incomplete(parts: list[Path], tmp_path: Path) -> None:
    reassemble(parts[:2], tmp_path / "joined")
    found = [missing.what for missing in identify(tmp_path / "joined").missing]
    assert found == ["makedumpfile marked the dump as incomplete"]


def test_the_mark_of_a_joined_dump_is_explained_by_what_its_parts_lack(
    parts: list[Path], tmp_path: Path
) -> None:
    missing = reassemble(parts[:2], tmp_path / "joined")
    dump = identify(tmp_path / "joined")
    assert [lack.cause for lack in with_reason(dump, missing).missing] == [Cause.PART]
    size = parts[1].stat().st_size
    parts[1].write_bytes(parts[1].read_bytes()[: size - 30])
    missing = reassemble(parts, tmp_path / "joined")
    causes = {lack.cause for lack in with_reason(identify(tmp_path / "joined"), missing).missing}
    assert causes & {Cause.CUT, Cause.INCOMPLETE} == {Cause.CUT}
    assert with_reason(dump, (Missing("twice", cause=Cause.TWICE),)) == dump


def test_part_that_is_cut_gives_the_pages_it_has(parts: list[Path], tmp_path: Path) -> None:
    size = parts[1].stat().st_size
    parts[1].write_bytes(parts[1].read_bytes()[: size - 30])
    (missing,) = reassemble(parts, tmp_path / "joined")
    assert missing.what.startswith("vmcore.2 (page frames 260 to 264) declares")
    assert missing.offset == size - 30
    assert 0x104 in pages_of(tmp_path / "joined")


def test_part_given_twice_leaves_it_open_whether_another_was_meant(
    parts: list[Path], tmp_path: Path
) -> None:
    (missing,) = reassemble([*parts, parts[1]], tmp_path / "joined")
    assert missing == Missing("vmcore.2 is the same part as vmcore.2", cause=Cause.TWICE)
    assert identify(tmp_path / "joined").is_whole


def test_parts_of_the_shipped_dump_that_all_hold_pages_are_all_needed(
    split: list[Path], tmp_path: Path
) -> None:
    for given in ([split[0], split[1], split[1]], [split[0], split[2]], [split[1], split[2]]):
        causes = {missing.cause for missing in reassemble(given, tmp_path / "joined")}
        assert Cause.PART in causes
        assert (Cause.TWICE in causes) == (len(given) > len(set(given)))


def test_part_given_twice_instead_of_another_is_named(parts: list[Path], tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.write_bytes(parts[0].read_bytes())
    said = " ".join(m.what for m in reassemble([parts[0], copy, parts[1]], tmp_path / "joined"))
    assert "copy is the same part as vmcore.1" in said
    assert "no part has page frames 264 to 268" in said


@pytest.mark.parametrize("other", [b"text", flattened(b"x"), Kdump(PAGES, INFO).build()])
def test_file_that_is_no_part_is_named(parts: list[Path], tmp_path: Path, other: bytes) -> None:
    said = reassemble([*parts, written(tmp_path, other)], tmp_path / "joined")
    assert said[0].what.startswith("vmcore is not a part of the dump")
    assert pages_of(tmp_path / "joined") == PAGES


@pytest.mark.parametrize("change", [{"release": "5.0.0"}, {"timestamp": 1_700_000_000}])
def test_parts_of_different_dumps_are_refused(
    parts: list[Path], tmp_path: Path, change: dict[str, object]
) -> None:
    other = Kdump(PAGES, INFO, split=RANGES[1], **change)  # type: ignore[arg-type]
    parts[1].write_bytes(other.build())
    with pytest.raises(NotADump, match=r"vmcore\.1 and vmcore\.2 are parts of different dumps"):
        reassemble(parts, tmp_path / "joined")


@pytest.mark.parametrize(("at", "value"), [(432, 0), (432, 1 << 20), (PAGE + 80, 1 << 60)])
def test_part_with_an_impossible_header_is_no_part(
    parts: list[Path], tmp_path: Path, at: int, value: int
) -> None:
    data = bytearray(parts[0].read_bytes())
    struct.pack_into("<I" if at == 432 else "<Q", data, at, value)
    said = reassemble([written(tmp_path, bytes(data)), *parts[1:]], tmp_path / "joined")
    assert said[0].what.startswith("vmcore is not a part of the dump")


def test_no_part_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotADump, match="not a part"):
        reassemble([written(tmp_path, b"text")], tmp_path / "joined")


def test_full_disk_is_said(parts: list[Path]) -> None:
    with pytest.raises(DiskFull):
        reassemble(parts, Path("/dev/full"))

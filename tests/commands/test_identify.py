"""``cas identify`` reads what came as it came: packed, in archives, by the name of a ticket."""

from __future__ import annotations

import gzip
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cas.commands import World
from cas.errors import DiskFull, LimitExceeded, NotADump
from cas.progress import Silent
from cas.settings.config import Config
from cas.settings.rules import IntakeLimits

from installed import FIXTURES, answer

PACKED = FIXTURES / "a" / "vmcore.elf.xz"


@pytest.fixture
def world(tmp_path: Path) -> World:
    paths = (tmp_path / name for name in ("kernels", "debugs", "cores"))
    config = Config(*paths, database=str(tmp_path / "cas.db"))
    (tmp_path / "room").mkdir()
    return World(config, Silent(), datetime.now(UTC), False, lambda _: "", {"TMPDIR": "x"})


@pytest.fixture(autouse=True)
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "room"
    monkeypatch.setattr("tempfile.tempdir", str(directory))
    return directory


def told(path: Path, world: World, member: str | None = None) -> dict[str, object]:
    words = ("--member", member) if member else ()
    (text,) = answer(world, "cas", "identify", "--json", *words, path).lines
    facts: dict[str, object] = json.loads(text)
    return facts


def test_a_packed_dump_is_what_it_is_unpacked(world: World, vmcore: Path, room: Path) -> None:
    assert {**told(PACKED, world), "path": ""} == {**told(vmcore, world), "path": ""}
    assert told(PACKED, world)["path"] == str(PACKED)
    assert not any(room.iterdir())


def test_what_the_wrapping_lost_is_missing(world: World, tmp_path: Path) -> None:
    cut = tmp_path / "cut.xz"
    cut.write_bytes(PACKED.read_bytes()[:-200_000])
    told = answer(world, "cas", "identify", cut)
    assert told.status == 3
    assert "is cut off" in "\n".join(told.lines)


def test_a_packed_file_that_is_no_dump_of_use_is_called_by_its_name(
    world: World, tmp_path: Path, room: Path
) -> None:
    userland = tmp_path / "core.gz"
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x04\0\x3e\0" + bytes(44)
    userland.write_bytes(gzip.compress(header))
    with pytest.raises(NotADump) as caught:
        told(userland, world)
    assert str(caught.value).startswith(str(userland))
    assert str(room) not in str(caught.value)


def test_one_of_an_archives_dumps_is_chosen(
    world: World, tmp_path: Path, vmcore: Path, converted: Callable[..., Path]
) -> None:
    archive = tmp_path / "both.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(vmcore, "elf")
        tar.add(converted("-c"), "kdump")
    with pytest.raises(NotADump, match="elf") as several:
        told(archive, world)
    assert "--member" in several.value.hint
    assert str(told(archive, world, "kdump")["format"]).startswith("KDUMP")


def test_the_limits_of_an_upload_hold(world: World, room: Path) -> None:
    def limited(limits: IntakeLimits) -> World:
        return replace(world, config=replace(world.config, intake=limits))

    with pytest.raises(LimitExceeded):
        told(PACKED, limited(IntakeLimits(unpack_bytes=16 << 20)))
    # of which the headers are the beginning
    answer(limited(IntakeLimits(unpack_bytes=16 << 20)), "cas", "object", PACKED)
    with pytest.raises(DiskFull) as full:
        told(PACKED, limited(IntakeLimits(reserve_bytes=1 << 60)))
    assert full.value.hint.endswith(f"TMPDIR=DIRECTORY cas identify {PACKED}")
    with pytest.raises(DiskFull) as full:
        answer(limited(IntakeLimits(reserve_bytes=1 << 60)), "cas", "object", PACKED)
    assert full.value.hint.endswith(f"TMPDIR=DIRECTORY cas object {PACKED}")
    assert not any(room.iterdir())

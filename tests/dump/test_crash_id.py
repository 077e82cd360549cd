"""A crash has one id, whichever file of it is looked at."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from writer import BUILD_ID, Elf, Kdump, flattened, identified, info_note, vmcoreinfo, written

from cas.commands import World
from cas.dump.crash_id import CrashId
from cas.dump.identify import crash_id
from cas.dump.source import FileSource, opened_source
from cas.errors import NotADump
from cas.progress import Silent
from cas.settings.config import Config

from installed import FIXTURES, answer, needs

REGISTERS = bytes(range(1, 113)) * 3
PRSTATUS = "CORE", 1, REGISTERS
STRONG = Elf(notes=(PRSTATUS, info_note()))
ID = re.compile(r"[0-9a-f]{32}")


class Counted:
    """A dump, and how much of it was read."""

    def __init__(self, file: FileSource) -> None:
        self._file, self.size, self.read_bytes = file, file.size, 0
        self.data, self.gap = file.data, file.gap

    def read(self, offset: int, size: int) -> bytes:
        found = self._file.read(offset, size)
        self.read_bytes += len(found)
        return found


@pytest.fixture
def world(tmp_path: Path) -> World:
    paths = (tmp_path / name for name in ("kernels", "debugs", "cores"))
    config = Config(*paths, database=str(tmp_path / "cas.db"))
    return World(config, Silent(), datetime.now(UTC), False, lambda _: "", {})


def told(world: World, *words: str | Path) -> str:
    found = answer(world, "cas", "object", *words)
    assert found.status == 0
    (line,) = found.lines
    return line


def found(directory: Path, data: bytes) -> CrashId:
    with opened_source(written(directory, data)) as source:
        return crash_id(directory / "vmcore", source)


def test_every_file_of_a_crash_has_one_id(
    world: World, tmp_path: Path, vmcore: Path, converted: Callable[..., Path]
) -> None:
    cut = tmp_path / "cut"
    cut.write_bytes(vmcore.read_bytes()[:300_000])
    flat = tmp_path / "flat"
    with flat.open("wb") as file:
        argv = [needs("makedumpfile"), "-F", "-c", "-d31", vmcore]
        subprocess.run(argv, stdout=file, stderr=subprocess.DEVNULL, check=True)
    files = [vmcore, converted("-c"), converted("-E", "-d31"), flat, cut]
    ids = {told(world, file) for file in [*files, FIXTURES / "a" / "vmcore.elf.xz"]}
    assert len(ids) == 1
    assert ID.fullmatch(ids.pop())
    assert told(world, FIXTURES / "arm64" / "vmcore.elf.xz") != told(world, vmcore)


def test_it_is_what_identify_says_too(world: World, vmcore: Path) -> None:
    facts = json.loads("\n".join(answer(world, "cas", "identify", "--json", vmcore).lines))
    known = json.loads("\n".join(answer(world, "cas", "object", "--json", vmcore).lines))
    assert (known["id"], known["is_weak"]) == (facts["crash_id"], facts["is_crash_id_weak"])
    assert known["is_weak"]  # QEMU wrote it: VMCOREINFO is that of the boot


@pytest.mark.parametrize(
    "notes",
    [
        (PRSTATUS, info_note(vmcoreinfo(CRASHTIME="1700000001"))),
        (("CORE", 1, REGISTERS[::-1]), info_note()),
        (PRSTATUS, PRSTATUS, info_note()),
        (info_note(),),
    ],
    ids=["a second later", "other registers", "more processors", "no registers"],
)
def test_another_crash_has_another_id(tmp_path: Path, notes: Sequence[object]) -> None:
    one = found(tmp_path, STRONG.build())
    assert not one.is_weak
    other = found(tmp_path, replace(STRONG, notes=notes).build())  # type: ignore[arg-type]
    assert (other.value != one.value, other.is_weak) == (True, False)


def test_what_is_no_part_of_the_crash_does_not_count(tmp_path: Path) -> None:
    one = found(tmp_path, STRONG.build())
    padded = ("VMCOREINFO", 0, vmcoreinfo() + bytes(40))
    more = Elf({1 << 20: b"memory" * 4000}, (("QEMU", 0, b"x" * 40), PRSTATUS, padded))
    assert found(tmp_path, more.build()) == one
    assert found(tmp_path, flattened(more.build(), seed=3)) == one


@pytest.mark.parametrize(
    "data",
    [
        Elf(notes=(PRSTATUS, info_note(f"BUILD-ID={BUILD_ID}\nOSRELEASE=6.1.0-test\n".encode()))),
        Elf(notes=(PRSTATUS,)),
        Kdump(info=b""),
    ],
    ids=["no time", "no VMCOREINFO", "KDUMP without either"],
)
def test_a_dump_that_does_not_say_when_it_crashed_has_a_weak_id(
    tmp_path: Path, data: Elf | Kdump
) -> None:
    try:
        dump = identified(tmp_path, data.build())
    except NotADump:  # it does not tell its kernel either
        assert found(tmp_path, data.build()).is_weak
        return
    assert dump.is_crash_id_weak
    assert found(tmp_path, data.build()) == CrashId(dump.crash_id or "", is_weak=True)


def test_registers_of_zeros_tell_no_crash(tmp_path: Path) -> None:
    unsaved = ("CORE", 1, bytes(336))
    ids = [
        found(tmp_path, Elf({1 << 20: memory * 4096}, notes=(unsaved,)).build())
        for memory in (b"a", b"b")
    ]
    assert all(each.is_weak for each in ids)
    assert ids[0].value != ids[1].value


def test_a_kernel_log_has_a_weak_id_of_its_end(world: World, vmcore: Path, tmp_path: Path) -> None:
    facts = json.loads("\n".join(answer(world, "cas", "identify", "--json", vmcore).lines))
    lines = facts["dmesg"].splitlines(keepends=True)
    (tmp_path / "one").write_text("".join(lines))
    (tmp_path / "two").write_text("".join(lines[50:]))
    assert told(world, tmp_path / "one") == told(world, tmp_path / "two")
    assert told(world, tmp_path / "one") != facts["crash_id"]


def test_kilobytes_of_a_large_dump_are_read(tmp_path: Path) -> None:
    path = written(tmp_path, STRONG.build())
    with path.open("r+b") as file:
        file.truncate(64 << 30)
    with opened_source(path) as file:
        source = Counted(file)
        crash_id(path, source)
    assert source.read_bytes <= 64 << 10

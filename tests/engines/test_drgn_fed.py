"""drgn on dumps that our readers read for it: the answer is the one that it gives by itself."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from drgn import FaultError
from dump.rewritten import as_kdump_of_qemu
from dump.writer import Elf, flattened, info_note, vmcoreinfo

from cas.dump import identify
from cas.dump.ahead import Ahead
from cas.dump.served_source import BLOCK_BYTES
from cas.dump.source import FileSource, opened_source
from cas.engines.drgn.child.fed import FedDump
from cas.engines.drgn.process import Worker
from cas.errors import EngineError, FetchError
from cas.model.answer import FirstAnswer
from cas.model.case import Case
from cas.supervise import Confinement

from installed import FIXTURES, few_of

TIMEOUT_S = 60


@pytest.fixture(scope="session")
def blind(opened_aarch64: Case, made: Callable[[str, Callable[[Path], object]], Path]) -> Case:
    """The aarch64 dump in a form of which drgn alone sees nothing."""
    core = opened_aarch64.dump.path
    path = made("vmcore-qemu.kdump", lambda path: path.write_bytes(as_kdump_of_qemu(core)))
    return replace(opened_aarch64, dump=replace(opened_aarch64.dump, path=path, format="KDUMP"))


@pytest.fixture(scope="session")
def opened_kdump(opened: Case, unpack: Callable[[str], Path]) -> Case:
    """The other build's kernel, and its dump as KDUMP."""
    path = FIXTURES / "b" / "vmcore.kdump"
    (vmlinux,) = unpack("b").rglob("vmlinux")
    return Case(replace(opened.dump, path=path, format="KDUMP"), vmlinux)


def at(case: Case, path: Path, data: bytes) -> Case:
    """The kernel of a case with another dump."""
    path.write_bytes(data)
    return replace(case, dump=replace(case.dump, path=path))


class LostSource(FileSource):
    """A dump far away, of which the connection breaks after some reads."""

    def __init__(self, fd: int, reads: int) -> None:
        super().__init__(fd)
        self._left = reads

    def read(self, offset: int, size: int) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise FetchError("files.example.com closed the connection")
        return super().read(offset, size)


class HeldSource(FileSource):
    """A dump of which no more than some blocks can be had before the crash is told."""

    def __init__(self, fd: int, blocks: int) -> None:
        super().__init__(fd)
        self._left = blocks
        self.told = list[FirstAnswer]()
        self._is_told = threading.Event()

    def read(self, offset: int, size: int) -> bytes:
        self._left -= 1
        if self._left < 0 and not self._is_told.wait(TIMEOUT_S):
            raise FetchError("the crash is not told yet")
        return super().read(offset, size)

    def tell(self, answer: FirstAnswer) -> None:
        self.told.append(answer)
        self._is_told.set()


@pytest.mark.parametrize(("name", "blocks"), [("opened", 30), ("opened_aarch64", 30)])
def test_the_crash_is_told_by_few_blocks_before_drgn_reads_the_rest(
    name: str, blocks: int, worker: Worker, request: pytest.FixtureRequest
) -> None:
    case: Case = request.getfixturevalue(name)
    # the log is known of a dump that was identified
    case = replace(case, dump=replace(case.dump, dmesg="a line\n"))
    with case.dump.path.open("rb") as file:
        source = HeldSource(file.fileno(), blocks)
        worker.serve(case.dump.path, source)
        answer = worker.answer(case, TIMEOUT_S, source.tell)
    (told,) = source.told
    assert (told.panic_task, told.backtrace) == (answer.panic_task, answer.backtrace)
    assert (told.kmods, told.nodename) == ((), None)
    assert answer.kmods
    assert answer.nodename


class NotedSource(FileSource):
    """A dump of which it is known what was read."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self.blocks = set[int]()
        self.before = set[int]()
        """Those that were read before the crash was told."""

    def read(self, offset: int, size: int) -> bytes:
        self.blocks |= {*range(offset // BLOCK_BYTES, -(-(offset + size) // BLOCK_BYTES))}
        return super().read(offset, size)

    def tell(self, _: FirstAnswer) -> None:
        self.before = self.blocks.copy()


@pytest.mark.parametrize("name", few_of(("opened", "opened_kdump"), {"opened"}))
def test_most_of_what_drgn_asks_for_is_read_ahead_and_little_in_vain(
    name: str, worker: Worker, request: pytest.FixtureRequest
) -> None:
    case: Case = request.getfixturevalue(name)
    case = replace(case, dump=identify(case.dump.path))
    with case.dump.path.open("rb") as file:
        drgns, ours = NotedSource(file.fileno()), NotedSource(file.fileno())
        with closing(Ahead(ours)) as ahead:
            ahead.begin(case.dump, case.vmlinux)
            ahead.wait()
        worker.serve(case.dump.path, drgns)
        worker.fit(case, TIMEOUT_S)
        worker.answer(case, TIMEOUT_S, drgns.tell)
    assert 3 * len(drgns.before - ours.blocks) < len(drgns.before)
    assert len(ours.blocks - drgns.blocks) <= 3


@pytest.mark.parametrize(
    "name", few_of(("opened", "opened_kdump", "opened_aarch64"), {"opened_kdump"})
)
def test_a_served_dump_gives_the_answer_of_its_file(
    name: str, worker: Worker, room: Confinement, request: pytest.FixtureRequest
) -> None:
    case: Case = request.getfixturevalue(name)
    assert worker.fit(case, TIMEOUT_S) == ()  # it is drgn itself that reads it
    of_file = worker.answer(case, TIMEOUT_S)
    with opened_source(case.dump.path) as source, Worker(room) as other:
        far = replace(case, dump=replace(case.dump, path=Path("/elsewhere/vmcore")))
        other.serve(far.dump.path, source)
        assert other.fit(far, TIMEOUT_S) == ()
        assert other.answer(far, TIMEOUT_S) == of_file
    assert len(of_file.backtrace) > 5


@pytest.mark.parametrize("reads", [0, 20])
def test_a_source_that_breaks_off_is_told_in_its_own_words(
    reads: int, opened: Case, worker: Worker
) -> None:
    with opened.dump.path.open("rb") as file:
        worker.serve(opened.dump.path, LostSource(file.fileno(), reads))
        try:
            told = worker.answer(opened, TIMEOUT_S).problems
        except EngineError as error:
            told = (str(error),)
    assert told
    assert "files.example.com closed the connection" in told[0]


def test_a_dump_that_drgn_is_blind_to_is_read_for_it_and_that_is_said(
    blind: Case, opened_aarch64: Case, worker: Worker
) -> None:
    (remark,) = worker.fit(blind, TIMEOUT_S)
    assert remark.startswith("CAS itself reads this dump, for drgn cannot: ")
    assert "Out-of-bounds PFN" in remark
    answer = worker.answer(blind, TIMEOUT_S)
    assert answer == worker.answer(opened_aarch64, TIMEOUT_S)


def test_a_flattened_dump_that_is_cut_is_read_as_far_as_it_goes(
    opened_kdump: Case, worker: Worker, tmp_path: Path
) -> None:
    whole = flattened(opened_kdump.dump.path.read_bytes(), 64 << 10)
    case = at(opened_kdump, tmp_path / "vmcore", whole[:-5000])
    (remark,) = worker.fit(case, TIMEOUT_S)
    assert "Cannot rearrange" in remark
    assert worker.answer(case, TIMEOUT_S).kmods[0].name == "cas_oops"


def test_a_dump_that_kills_drgn_is_read_all_the_same(
    opened_kdump: Case, worker: Worker, tmp_path: Path
) -> None:
    # its eraseinfo crosses the end of the file, which libkdumpfile has mapped
    data = bytearray(opened_kdump.dump.path.read_bytes())
    struct.pack_into("<QQ", data, 4096 + 64, len(data) - len(data) % -4096 - 8, 64)
    case = at(opened_kdump, tmp_path / "vmcore", data)
    (remark,) = worker.fit(case, TIMEOUT_S)
    assert remark.endswith("drgn cannot: drgn was killed by SIGBUS")
    assert len(worker.answer(case, TIMEOUT_S).backtrace) > 5


def test_what_neither_can_open_is_told_as_of_drgn_alone(
    opened: Case, worker: Worker, tmp_path: Path
) -> None:
    case = at(opened, tmp_path / "vmcore", Elf(notes=()).build())
    with pytest.raises(EngineError, match="drgn cannot open the dump: the dump has no VMCOREINFO"):
        worker.answer(case, TIMEOUT_S)


EM_RISCV, EM_386 = 243, 3
RISCV64 = {
    "SYMBOL__swapper_pg_dir": "ffffffff80001000",
    "NUMBER__PAGE_OFFSET": "0xff60000000000000",
    "NUMBER__phys_ram_base": "2147483648",
    "NUMBER__KERNEL_LINK_ADDR": "0xffffffff80000000",
    "NUMBER__va_kernel_pa_offset": "0xfffffffeffe00000",
}
I686 = {"SYMBOL__swapper_pg_dir": "c0200000", "SYMBOL___stext": "c0100000"}


@pytest.mark.parametrize(
    ("dump", "address"),
    [
        (Elf({0x80200000: b"here"}, [], machine=EM_RISCV), 0xFF60000000200000),
        (Elf({0x80200000: b"here"}, [], machine=EM_RISCV), 0xFFFFFFFF80000000),
        (Elf({0x100000: b"here"}, [], machine=EM_386, bits=32), 0xC0100000),
        (Elf({0x100000: b"here"}, [], machine=EM_386), 0xC0100000),
    ],
    ids=["riscv64", "riscv64-image", "i686", "i686-of-qemu"],
)
def test_memory_of_which_drgn_walks_no_page_tables_is_found(
    dump: Elf, address: int, tmp_path: Path
) -> None:
    lines = RISCV64 if dump.machine == EM_RISCV else I686
    path = tmp_path / "vmcore"
    path.write_bytes(replace(dump, notes=[info_note(vmcoreinfo(**lines))]).build())
    with path.open("rb") as file:
        prog = FedDump(file.fileno(), None).program(None, None)
        assert prog.read(address, 4) == b"here"
        with pytest.raises(FaultError, match="is not in the dump"):
            prog.read(address + 4, 1)

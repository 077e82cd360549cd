"""The ELF reader: headers, notes, build-id, banner."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest
from writer import BANNER, Elf

from cas import elf, kallsyms
from cas.errors import NotADump

from installed import needs

GNU = ("GNU", 3, bytes.fromhex("5d8ecc2f5985c922ddcb6702c14459515d1dafcd"))


@pytest.mark.parametrize(
    ("bits", "order", "machine", "arch"),
    [
        (64, "<", 62, "x86_64"),
        (32, "<", 3, "i686"),
        (64, "<", 3, "i686"),
        (64, "<", 183, "aarch64"),
        (32, "<", 40, "arm"),
        (64, ">", 21, "ppc64"),
        (64, "<", 21, "ppc64le"),
        (64, ">", 22, "s390x"),
        (64, "<", 243, "riscv64"),
        (64, "<", 258, "loongarch64"),
        (64, "<", 50, "ia64"),
    ],
)
def test_machine_is_spelled_as_uname_spells_it(
    bits: int, order: str, machine: int, arch: str
) -> None:
    read = elf.reader(Elf(bits=bits, order=order, machine=machine).build())
    assert elf.arch(elf.header(read)) == arch


def test_unknown_machine_is_refused_by_its_number() -> None:
    with pytest.raises(NotADump, match="unknown ELF machine 4711"):
        elf.arch(elf.header(elf.reader(Elf(machine=4711).build())))


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("like_qemu", [False, True])
def test_segments_are_found_in_every_shape_of_header(
    bits: int, order: str, many: bool, like_qemu: bool
) -> None:
    shape = Elf({0x1000: b"abc"}, bits=bits, order=order, many=many, like_qemu=like_qemu)
    read = elf.reader(shape.build())
    notes, load = elf.segments(read, elf.header(read))
    assert notes.type == elf.PT_NOTE
    assert (load.type, load.paddr, read(load.offset, load.filesz)) == (elf.PT_LOAD, 0x1000, b"abc")


def test_program_headers_beyond_the_end_are_left_out() -> None:
    read = elf.reader(Elf({0x1000: b"abc"}).build()[: 64 + 56 + 10])
    assert len(elf.segments(read, elf.header(read))) == 1


def test_absurd_number_of_program_headers_is_refused() -> None:
    data = bytearray(Elf(many=True).build())
    data[64 + 44 : 64 + 48] = b"\xff\xff\xff\x7f"
    with pytest.raises(NotADump, match="declares 2147483647 program headers"):
        elf.header(elf.reader(bytes(data)))


@pytest.mark.parametrize("data", [b"", b"\x7fEL", b"\x7fELF", b"\x7fELF\x02\x01" + bytes(20)])
def test_no_header_is_not_a_dump(data: bytes) -> None:
    with pytest.raises(NotADump):
        elf.header(elf.reader(data))


def test_note_that_lies_about_its_size_is_cut_at_the_end() -> None:
    data = b"\x04\0\0\0\xff\xff\xff\xff\x03\0\0\0GNU\0abcd"
    assert list(elf.notes(data, "<")) == [elf.Note("GNU", 3, b"abcd")]


def test_build_id_is_read_from_a_note() -> None:
    assert elf.build_id_of(elf.reader(Elf(notes=[GNU]).build())) == GNU[2].hex()


def test_build_id_absent_is_none() -> None:
    assert elf.build_id_of(elf.reader(Elf().build())) is None


@pytest.mark.parametrize("program", ["/bin/sh", "/bin/ls"])
def test_build_id_of_a_program_is_what_readelf_says(program: str) -> None:
    said = subprocess.run(
        [needs("readelf"), "-n", program], capture_output=True, text=True, check=True
    )
    assert f"Build ID: {elf.build_id(Path(program))}" in said.stdout


def test_build_id_and_banner_of_a_vmlinux(vmlinux: Path, vmcore: Path) -> None:
    assert elf.build_id(vmlinux) in vmcore.read_bytes()[:8192].decode("latin-1")
    banner = elf.linux_banner(vmlinux)
    assert banner is not None
    assert banner.startswith("Linux version 6.1.")
    assert banner.endswith("UTC 2025")


def test_beginning_of_a_vmlinux_is_enough_for_build_id_and_banner(vmlinux: Path) -> None:
    with vmlinux.open("rb") as file:
        beginning = elf.reader(file.read(16 << 20))
    assert elf.build_id_of(beginning) == elf.build_id(vmlinux)
    assert elf.linux_banner_of(beginning) == elf.linux_banner(vmlinux)


def test_banner_is_taken_whole_and_without_its_newline() -> None:
    assert elf.banner_in(b"x" * 9 + BANNER.encode() + b"\n\0") == BANNER


def test_weak_copy_of_the_banner_without_a_build_number_is_passed_over() -> None:
    weak = BANNER.replace("#1 SMP", "# SMP").encode() + b"\n\0"
    assert elf.banner_in(weak + BANNER.encode() + b"\n\0") == BANNER


def test_format_string_is_no_banner() -> None:
    assert elf.banner_in(b"Linux version %s (%s)\n\0") is None


def test_unreadable_file_is_not_a_dump(tmp_path: Path) -> None:
    with pytest.raises(NotADump, match="No such file"):
        elf.build_id(tmp_path / "absent")


def linked(order: str, bits: int) -> bytes:
    """A file with a symbol table: of one name two, one that ends in another, one undefined."""
    names = b"\0all_modules\0other\0"
    word, head = ("Q", 64) if bits == 64 else ("I", 52)
    symbols = [(1, 0x1000, 1), (5, 0x2000, 1), (5, 0x3000, 1), (13, 0, 0)]
    if bits == 64:
        rows = [struct.pack(f"{order}IBBHQQ", at, 1, 0, of, value, 8) for at, value, of in symbols]
    else:
        rows = [struct.pack(f"{order}IIIBBH", at, value, 8, 1, 0, of) for at, value, of in symbols]
    table = b"".join(rows)
    sections = b"".join(
        struct.pack(f"{order}II{4 * word}II{2 * word}", 0, kind, 0, 0, offset, size, link, 0, 0, 0)
        for kind, offset, size, link in (
            (0, 0, 0, 0),
            (elf.SHT_SYMTAB, head, len(table), 2),
            (3, head + len(table), len(names), 0),
        )
    )
    ident = b"\x7fELF" + bytes((bits // 32, 1 if order == "<" else 2, 1)) + bytes(9)
    shoff, shentsize = head + len(table) + len(names), len(sections) // 3
    rest = (2, 62, 1, 0, 0, shoff, 0, head, 0, 0, shentsize, 3, 0)
    return ident + struct.pack(f"{order}HHI{3 * word}I6H", *rest) + table + names + sections


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("order", ["<", ">"])
def test_symbols_are_found_by_name_also_within_a_longer_one(order: str, bits: int) -> None:
    read = elf.reader(linked(order, bits))
    found = elf.addresses(read, elf.header(read), ("modules", "all_modules", "other", "absent"))
    assert found == {"all_modules": 0x1000, "modules": 0x2000}
    assert elf.addresses(elf.reader(b"\x7fELF"), elf.header(read), ("modules",)) == {}


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("order", ["<", ">"])
def test_columns_of_symbols_are_those_of_each_symbol(order: str, bits: int) -> None:
    read = elf.reader(linked(order, bits))
    names, symbols = elf.symbols(read, elf.header(read))
    table = elf.symbol_columns(read, elf.header(read))
    types = (info & 0xF for info in table.infos)
    columns = zip(table.names, types, table.sections, table.values, strict=True)
    assert (table.strings, [*columns]) == (names, [*map(tuple, symbols)])
    assert kallsyms.starts(read) == [0x1000, 0x2000, 0x3000]
    assert kallsyms.starts(read, {1: 0x10000}) == [0x11000, 0x12000, 0x13000]
    assert kallsyms.starts(read, {2: 0}) == []
    assert kallsyms.sizes(read, {b"all_modules", b"other"}) == {"all_modules": {0x1000}}

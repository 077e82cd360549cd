"""Reading the formats: small files of every shape, with drgn as a witness."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import cramjam
import drgn
import lzallright
import pytest
import zstandard
from writer import (
    BANNER,
    BUILD_ID,
    CRASHTIME,
    PAGE,
    Elf,
    Kdump,
    flattened,
    identified,
    info_note,
    kernel_memory,
    vmcoreinfo,
    written,
)

from cas.dump import glance, identify

MEMORY, INFO = kernel_memory()
LOG = "[    0.001000] first\n[    2.500000] two\n[    2.500000] lines\n[    3.000000] end\n"
COMPRESSORS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "lzo": (2, lambda data: bytes(lzallright.LZOCompressor().compress(data))),
    "snappy": (4, lambda data: bytes(cramjam.snappy.compress_raw(data))),
    "zstd": (0x20, lambda data: zstandard.ZstdCompressor().compress(data)),
}


def pages(memory: dict[int, bytes], size: int = PAGE) -> dict[int, bytes]:
    return {
        (address + at) // size: data[at : at + size].ljust(size, b"\0")
        for address, data in memory.items()
        for at in range(0, len(data), size)
    }


ELF = Elf(MEMORY, [info_note(INFO)])
KDUMP = Kdump(pages(MEMORY), INFO)


@pytest.mark.parametrize(
    ("data", "format"),
    [
        (ELF.build(), "ELF"),
        (KDUMP.build(), "KDUMP"),
        (flattened(ELF.build()), "flattened ELF"),
        (flattened(KDUMP.build(), 4096), "flattened KDUMP"),
        (flattened(KDUMP.build(), 100, seed=1), "flattened KDUMP"),
        (flattened(ELF.build(), 7, seed=2), "flattened ELF"),
    ],
    ids=["elf", "kdump", "flat-elf", "flat-kdump", "shuffled-kdump", "shuffled-elf"],
)
def test_every_format_tells_the_same(tmp_path: Path, data: bytes, format: str) -> None:
    dump = identified(tmp_path, data)
    assert (dump.format, dump.arch, dump.osrelease) == (format, "x86_64", "6.1.0-test")
    assert (dump.build_id, dump.banner, dump.dmesg) == (BUILD_ID, BANNER, LOG)
    assert dump.crash_time == datetime.fromtimestamp(CRASHTIME, UTC)
    assert (dump.page_size, dump.kaslr_offset) == (PAGE, 0x1C00000)
    assert (dump.is_whole, dump.remarks, dump.size_bytes) == (True, (), len(data))


@pytest.mark.parametrize("name", COMPRESSORS)
def test_pages_of_every_compression_are_read(tmp_path: Path, name: str) -> None:
    flag, compress = COMPRESSORS[name]
    dump = identified(tmp_path, Kdump(pages(MEMORY), INFO, compress, flag, flag).build())
    assert (dump.compression, dump.dmesg) == (name, LOG)


@pytest.mark.parametrize("name", COMPRESSORS)
def test_drgn_reads_the_same_compressed_page(tmp_path: Path, name: str) -> None:
    flag, compress = COMPRESSORS[name]
    path = written(tmp_path, Kdump(pages(MEMORY), INFO, compress, flag, flag).build())
    program = drgn.Program()
    program.set_core_dump(path)
    assert BANNER.encode() in program.read(0x100000, 2 * PAGE, physical=True)


@pytest.mark.parametrize("block", [4096, 65536])
@pytest.mark.parametrize("version", [1, 2, 3, 4, 5, 6])
def test_every_version_and_block_size_of_kdump(tmp_path: Path, version: int, block: int) -> None:
    dump = identified(
        tmp_path, Kdump(pages(MEMORY, block), INFO, version=version, block=block).build()
    )
    assert (dump.osrelease, dump.arch, dump.dump_level) == ("6.1.0-test", "x86_64", 31)
    assert (dump.banner, dump.nodename, dump.is_whole) == (BANNER, "node", True)


@pytest.mark.parametrize(
    ("machine", "bits", "order", "arch"),
    [
        ("i686", 32, "<", "i686"),
        ("armv7l", 32, "<", "arm"),
        ("s390x", 64, ">", "s390x"),
        ("ppc64", 64, ">", "ppc64"),
        ("ppc64le", 64, "<", "ppc64le"),
        ("aarch64", 64, "<", "aarch64"),
    ],
)
def test_kdump_of_every_word_size_and_byte_order(
    tmp_path: Path, machine: str, bits: int, order: str, arch: str
) -> None:
    dump = identified(
        tmp_path,
        Kdump(pages(MEMORY), vmcoreinfo(), machine=machine, bits=bits, order=order).build(),
    )
    assert (dump.arch, dump.osrelease, dump.build_id) == (arch, "6.1.0-test", BUILD_ID)
    assert dump.is_whole


@pytest.mark.parametrize("machine", ["", "Unknown"])
def test_kdump_of_qemu_tells_its_arch_by_its_notes(tmp_path: Path, machine: str) -> None:
    bare = Kdump(
        info=b"", machine=machine, release="", notes=[("CORE", 1, bytes(392))], timestamp=0
    )
    dump = identified(tmp_path, bare.build())
    assert (dump.arch, dump.osrelease, dump.crash_time) == ("aarch64", None, None)


def test_part_of_a_split_dump_is_not_whole(tmp_path: Path) -> None:
    dump = identified(tmp_path, Kdump(pages(MEMORY), INFO, split=(0x100, 0x101)).build())
    assert [m.what for m in dump.missing] == ["is one part of a split dump: page frames 256 to 257"]


def test_without_vmcoreinfo_the_banner_is_found_in_memory(tmp_path: Path) -> None:
    dump = identified(tmp_path, Elf(MEMORY, []).build())
    assert (dump.osrelease, dump.banner, dump.build_id) == ("6.1.0-test", BANNER, None)
    assert dump.remarks == ("no VMCOREINFO in the dump",)


def test_banner_across_two_pages_is_found(tmp_path: Path) -> None:
    image = bytearray(2 * PAGE)
    image[PAGE - 30 : PAGE - 30 + len(BANNER) + 2] = BANNER.encode() + b"\n\0"
    bare = Kdump(pages({0x100000: bytes(image)}), b"", release="", machine="x86_64")
    assert identified(tmp_path, bare.build()).banner == BANNER


@pytest.mark.parametrize("head", [b"", b"\x0b\0\0\0\0\4\0\0\0\0\0\0VMCOREINFO\0\0"])
def test_vmcoreinfo_is_found_in_memory(tmp_path: Path, head: bytes) -> None:
    dump = identified(tmp_path, Elf({**MEMORY, 0x200000: head + INFO}, []).build())
    assert (dump.build_id, dump.dmesg) == (BUILD_ID, LOG)
    assert dump.remarks == ("VMCOREINFO was found in memory, not in the dump's headers",)


def test_vmcoreinfo_of_another_kernel_is_not_believed(tmp_path: Path) -> None:
    wrong = info_note(vmcoreinfo(OSRELEASE="5.0.0-other"))
    dump = identified(tmp_path, Elf(MEMORY, [wrong]).build())
    assert (dump.osrelease, dump.build_id, dump.banner) == ("6.1.0-test", None, BANNER)
    assert "VMCOREINFO names 5.0.0-other, the kernel itself 6.1.0-test" in dump.remarks


def test_right_vmcoreinfo_in_memory_replaces_a_wrong_one(tmp_path: Path) -> None:
    wrong = info_note(vmcoreinfo(OSRELEASE="5.0.0-other"))
    dump = identified(tmp_path, Elf({**MEMORY, 0x200000: INFO}, [wrong]).build())
    assert (dump.osrelease, dump.build_id, dump.dmesg) == ("6.1.0-test", BUILD_ID, LOG)


def test_marks_of_makedumpfile_for_incomplete_dumps(tmp_path: Path) -> None:
    expected = ["makedumpfile marked the dump as incomplete"]
    for data in (Elf(flags=1).build(), Kdump(status=1 | 8).build()):
        assert [m.what for m in identified(tmp_path, data).missing] == expected


def test_later_record_of_a_flattened_stream_replaces_an_earlier_one(tmp_path: Path) -> None:
    right = ELF.build()
    spoilt = flattened(right[:64] + bytes(56) + right[120:], end=False)
    dump = identified(tmp_path, spoilt + flattened(right)[PAGE:])
    assert (dump.dmesg, dump.is_whole) == (LOG, True)


def test_elf_cut_in_its_memory_says_how_much_is_there(tmp_path: Path) -> None:
    whole = Elf({0: bytes(8 << 20)}).build()
    (missing,) = identified(tmp_path, whole[: 4 << 20]).missing
    assert missing.what == "declares 8.0 MiB, data ends at 4.0 MiB (49 %)"
    assert missing.offset == 4 << 20


def test_sparse_dump_of_64_gib_is_whole_and_named(tmp_path: Path) -> None:
    data = bytearray(Elf({**MEMORY, 1 << 32: b""}, [info_note(INFO)]).build())
    size = (64 << 30).to_bytes(8, "little")
    data[64 + 2 * 56 + 32 : 64 + 2 * 56 + 48] = size * 2
    path = tmp_path / "vmcore"
    path.write_bytes(data)
    with path.open("r+b") as file:
        file.truncate(len(data) + (64 << 30))
    dump = identify(path)
    assert (dump.osrelease, dump.build_id, dump.is_whole) == ("6.1.0-test", BUILD_ID, True)


def test_more_segments_than_the_header_can_count(tmp_path: Path) -> None:
    memory = {0x10000000 + 2 * PAGE * number: b"x" for number in range(70_000)}
    dump = identified(tmp_path, Elf({**MEMORY, **memory}, [info_note(INFO)], many=True).build())
    assert (dump.dmesg, dump.is_whole) == (LOG, True)


def test_diskdump_is_the_same_format_without_a_sub_header(tmp_path: Path) -> None:
    old = b"DISKDUMP" + Kdump(pages(MEMORY), b"", version=0).build()[8:]
    dump = identified(tmp_path, old)
    assert (dump.format, dump.banner, dump.is_whole) == ("KDUMP", BANNER, True)


@pytest.mark.parametrize("data", [ELF.build(), KDUMP.build(), flattened(ELF.build())])
def test_glance_tells_the_identity_from_the_beginning(tmp_path: Path, data: bytes) -> None:
    head = data[: data.index(INFO) + len(INFO) + 100]
    seen = glance(written(tmp_path, head))
    assert seen is not None
    assert (seen.osrelease, seen.build_id, seen.arch) == ("6.1.0-test", BUILD_ID, "x86_64")
    assert (seen.missing, seen.dmesg) == ((), None)


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"KDUMP   ", b"x" * 9000, ELF.build()[:200]])
def test_glance_at_too_little_is_none(tmp_path: Path, data: bytes) -> None:
    assert glance(written(tmp_path, data)) is None


def test_glance_at_an_absent_file_is_none(tmp_path: Path) -> None:
    assert glance(tmp_path / "absent") is None


def test_kdump_of_another_release_than_its_kernel_is_told_by_the_banner(tmp_path: Path) -> None:
    dump = identified(tmp_path, Kdump(pages(MEMORY), b"", release="5.0.0-other").build())
    assert dump.osrelease == "6.1.0-test"


def test_a_date_that_cannot_be_is_left_out_and_named(tmp_path: Path) -> None:
    dump = identified(tmp_path, Elf(notes=[info_note(vmcoreinfo(CRASHTIME="77"))]).build())
    assert dump.crash_time is None
    remark = "VMCOREINFO dates the crash to 77 s after 1970, which is not to be believed"
    assert remark in dump.remarks

"""Kernel logs as dmesg -J, netconsole and pstore write them."""

from __future__ import annotations

import json
import random
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import lz4.block
import pytest
from lzallright import LZOCompressor
from zstandard import ZstdCompressor

from cas.klog.fragments import without_fragments
from cas.klog.log_text import kernel_lines
from cas.klog.pstore import opened_record, pstore_part

from installed import needs

LINES = (
    "Linux version 6.1.0-13-amd64 (d@b) (gcc-12) #1 SMP Debian 6.1.55-1",
    'quoted "x" {"msg": 1}, back\\slash and\ttab',
    "BUG: kernel NULL pointer dereference, address: 0000000000000018",
    "RIP: 0010:sum_entries+0x18/0x38 [cas-oops] é",
)
STAMPED = "".join(f"[{1 + n / 1000:12.6f}] {line}\n" for n, line in enumerate(LINES))


def dmesg_json(*records: dict[str, object]) -> str:
    """As util-linux prints it: a field a line, seconds with six decimals."""
    shown = ("\n".join(f"         {json.dumps(k)}: {v}," for k, v in r.items()) for r in records)
    inside = "\n      },{\n".join(each.removesuffix(",") for each in shown)
    return f'{{\n   "dmesg": [\n      {{\n{inside}\n      }}\n   ]\n}}\n'


def test_what_dmesg_itself_writes_as_json_is_the_log(tmp_path: Path) -> None:
    """From a file, where version 2.38 ends no message before the file's end."""
    log = tmp_path / "log"
    log.write_text("".join(f"<4>{line}\n" for line in STAMPED.splitlines()))
    argv = [needs("dmesg"), "-F", log, "-J"]
    done = subprocess.run(argv, check=True, capture_output=True)
    assert b'"dmesg"' in done.stdout
    assert kernel_lines(done.stdout) == STAMPED


@pytest.mark.parametrize("cut", [slice(None), slice(30, None), slice(None, -20)])
def test_json_of_dmesg_is_read_cut_or_whole_with_levels_in_words_and_callers(cut: slice) -> None:
    records = [
        {
            "fac": '"kern"',
            "pri": '"warn"',
            "time": f"{1 + n / 1000:12.6f}",
            **({"caller": f'"T{n}"'} if n % 2 else {}),
            "msg": json.dumps(f"{line}\nmore"),
        }
        for n, line in enumerate(LINES)
    ]
    text = dmesg_json(*records)[cut]
    told = kernel_lines(text.encode()).splitlines()
    expected = [
        f"[{1 + n / 1000:12.6f}] {f'[    T{n}] ' if n % 2 else ''}{each}"
        for n, line in enumerate(LINES)
        for each in (line, "more")
    ]
    assert told == (expected[:-2] if cut.stop else expected)


def test_json_of_dmesg_through_jq_on_one_line_is_read() -> None:
    records = [{"pri": 4, "time": 1 + n / 1000, "msg": line} for n, line in enumerate(LINES)]
    text = json.dumps({"dmesg": records}, separators=(",", ":"), ensure_ascii=False)
    assert kernel_lines(text.encode()) == STAMPED


def fragments(head: str, body: str, *cuts: int) -> list[str]:
    """A line of netconsole's long form in packets; cuts are offsets in bytes."""
    data = body.encode()
    ends = zip((0, *cuts), (*cuts, len(data)), strict=True)
    return [f"{head},ncfrag={a}/{len(data)};{data[a:b].decode()}" for a, b in ends]


HEAD = "6.1.0-13,4,416,1758426,-,caller=T27"
BODY = "Modules linked in: cas_oops(O) é nf_cas_dummy [last unloaded: gone]\n"
WHOLE = f"{HEAD};{BODY}"
OTHER = "4,417,1758500,-;another line\n"


@pytest.mark.parametrize(
    "write",
    [
        pytest.param("".join, id="packets one behind the other"),
        pytest.param("\n".join, id="a packet a line"),
        pytest.param(
            lambda parts: "\n".join(f"Dec  1 10:00:00 db1 {part}" for part in parts), id="syslog"
        ),
    ],
)
def test_a_line_that_netconsole_sent_in_fragments_is_one(write: Callable[..., str]) -> None:
    text = write(fragments(HEAD, BODY, 20, 41)) + OTHER
    assert without_fragments(text).removeprefix("Dec  1 10:00:00 db1 ") == WHOLE + OTHER
    assert kernel_lines(text.encode()).removeprefix("Dec  1 10:00:00 db1 ") == WHOLE + OTHER


def test_fragments_as_linux_6_1_sent_them_are_one_line() -> None:
    """Packets of 1000 and 488 bytes; letters that are not ASCII it writes as numbers."""
    body = "long " + "".join(rf" word{n} \xc3\xa9x" for n in range(84)) + "\n"
    packets = fragments("12,373,7083548,-", body, 969)
    assert list(map(len, packets)) == [1000, 488]
    assert packets[1].startswith("12,373,7083548,-,ncfrag=969/1424;57 ")
    other = "12,374,7087182,-;short line\n"
    for between in ("", "\n"):
        text = between.join((*packets, other))
        assert without_fragments(text) == f"12,373,7083548,-;{body}{between}{other}"


def test_lines_of_another_machine_between_fragments_stay_lines() -> None:
    one, two, three = fragments(HEAD, BODY, 20, 41)
    mine, more = fragments("6,9,5,-", "somebody else's\n", 8)
    text = "\n".join((one, mine, OTHER.rstrip("\n"), two, more.rstrip("\n"), three))
    assert without_fragments(text) == f"{WHOLE}6,9,5,-;somebody else's\n{OTHER}"


def test_what_netconsole_says_of_a_device_stays_behind_its_line() -> None:
    body = "a long message\n SUBSYSTEM=pci\n DEVICE=+pci:0000:00:1f.2\n"
    text = "".join(fragments("3,7,8,-", body, 10, 20)) + OTHER
    assert without_fragments(text) == f"3,7,8,-;{body}{OTHER}"


def test_behind_a_lost_fragment_another_line_begins() -> None:
    one, _, three = fragments(HEAD, BODY, 20, 41)
    end = BODY.encode()[41:].decode()
    text = f"{one}\n{OTHER}{three}"
    assert without_fragments(text) == f"{HEAD};{BODY[:20]}\n{OTHER}{HEAD};{end}"
    assert without_fragments(one) == f"{HEAD};{BODY[:20]}\n"


def test_fragments_that_lie_lose_no_line() -> None:
    rng = random.Random(5)  # noqa: S311
    for _ in range(300):
        words = [rng.choice("b\n ;,") * rng.randrange(9) for _ in range(30)]
        for place in range(0, 30, 3):
            lie = f"\n4,{rng.randrange(3)},7,-,ncfrag={rng.randrange(40)}/{rng.randrange(40)};"
            words[place] = lie
        text = "".join(words)
        kept = without_fragments(text)
        assert kept.count("b") == text.count("b")


PART = f"Panic#2 Part3\n{STAMPED}".encode()


def deflated(data: bytes, window: int = -12) -> bytes:
    """As ``fs/pstore/platform.c`` packs it: bare since Linux 4.19."""
    stream = zlib.compressobj(9, zlib.DEFLATED, window, 4)
    return stream.compress(data) + stream.flush()


def lz4_block(data: bytes) -> bytes:
    return bytes(lz4.block.compress(data, store_size=False))


@pytest.mark.parametrize("notice", [b"", b"\nECC: No errors detected\n", b"\nNo errors detected\n"])
@pytest.mark.parametrize(
    "pack",
    [
        bytes,
        deflated,
        lambda data: deflated(data, 12),
        ZstdCompressor().compress,
        lambda data: bytes(LZOCompressor().compress(data)),
        lz4_block,
    ],
    ids=["plain", "deflate", "zlib", "zstd", "lzo", "lz4"],
)
def test_a_part_that_the_kernel_left_packed_is_unpacked(
    pack: Callable[[bytes], bytes], notice: bytes
) -> None:
    raw = pack(PART) + notice
    assert opened_record(raw) == (PART, None)
    assert kernel_lines(raw) == STAMPED


def test_of_a_part_that_is_damaged_the_beginning_is_kept_and_the_loss_told() -> None:
    text = b"Panic#1 Part1\n" + b"".join(b"[%12.6f] line %d\n" % (n, n * n) for n in range(400))
    packed = bytearray(deflated(text))
    packed[len(packed) // 2 :] = b"\xff" * (len(packed) - len(packed) // 2)
    record = opened_record(bytes(packed))
    assert record is not None
    assert record.flaw == "is damaged: only its beginning could be unpacked"
    assert text.startswith(record.raw[: len(record.raw) // 2])
    assert pstore_part(record.raw) == (1, 1)
    record = opened_record(PART + b"\n12 Corrected bytes, 3 unrecoverable blocks\n")
    assert record == (PART, "has blocks that its codes could not correct: 3")


def test_what_is_no_part_is_none() -> None:
    rng = random.Random(3)  # noqa: S311
    for raw in (b"", b"Panic", deflated(b"anything"), *(rng.randbytes(500) for _ in range(200))):
        assert opened_record(raw) is None

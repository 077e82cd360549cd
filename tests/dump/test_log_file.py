"""What a kernel log in place of a dump, or beside one, is taken to say."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cas.dump import identify, recognise_file
from cas.dump.beside import logs_beside, with_log_beside
from cas.dump.log_file import choose_log, read_log_file
from cas.dump.source import opened_source
from cas.model.dump import KERNEL_LOG, Dump

BANNER = "Linux version 6.1.0-13-amd64 (d@b) (gcc-12) #1 SMP Debian 6.1.55-1"
OOPS = """\
BUG: kernel NULL pointer dereference, address: 0000000000000018
CPU: 1 PID: 27 Comm: kworker/1:1 Not tainted 6.1.0-13-amd64 #1
RIP: 0010:sum_entries+0x18/0x38
Kernel panic - not syncing: Fatal exception
"""
OF_KDUMP = f"""\
{BANNER}
Command line: root=/dev/sda irqpoll nr_cpus=1 elfcorehdr=0x2d000000
CPU: 0 PID: 1 Comm: swapper/0 Not tainted 6.1.0-13-amd64 #1
Kernel panic - not syncing: System is deadlocked on memory
"""

Reading = Callable[[str], Dump]


def stamped(text: str, first_s: float) -> str:
    lines = text.splitlines()
    return "".join(f"[{first_s + n / 1000:12.6f}] {line}\n" for n, line in enumerate(lines))


@pytest.fixture
def read(tmp_path: Path) -> Reading:
    def reading(text: str) -> Dump:
        path = tmp_path / "console.log"
        path.write_text(text)
        with opened_source(path) as source:
            return read_log_file(path, source)

    return reading


@pytest.mark.parametrize("crash", [OOPS, "all is well\n"])
def test_the_kernel_that_was_to_write_the_dump_is_not_judged_for_that_which_crashed(
    read: Reading, crash: str
) -> None:
    log = read(stamped(f"{BANNER}\n{crash}", 0.0) + stamped(OF_KDUMP, 0.0))
    assert "elfcorehdr" not in (log.dmesg or "")
    assert log.panic_message == (OOPS.splitlines()[0] if crash is OOPS else None)
    assert log.remarks[-1] == "the kernel that was to write the dump is boot 2: not judged"


def test_the_log_of_the_kernel_that_was_to_write_the_dump_is_judged_alone_but_not_beside(
    read: Reading, tmp_path: Path
) -> None:
    log = read(stamped(OF_KDUMP, 0.0))
    assert (log.panic_message, log.remarks) == (OF_KDUMP.splitlines()[-1], ())
    assert list(logs_beside([log.path])) == []
    own = tmp_path / "dmesg.txt"
    own.write_text(stamped(OOPS, 50.0))
    chosen = choose_log([log.path, own])
    assert chosen is not None
    assert chosen[0] == (own,)


def test_a_crash_of_another_kernel_than_the_banner_tells_of_is_that_kernels(read: Reading) -> None:
    log = read(f"{BANNER}\n{OOPS.replace('6.1.0-13', '6.1.0-14')}")
    assert (log.osrelease, log.banner) == ("6.1.0-14-amd64", None)
    assert log.remarks == (
        "the log has the banner of kernel 6.1.0-13-amd64, but its crash is one of 6.1.0-14-amd64:"
        " that counts",
    )


def test_the_last_crash_counts_though_no_banner_tells_of_a_later_boot(read: Reading) -> None:
    later = OOPS.replace("0000018", "0000028")
    log = read(stamped(OOPS, 5000.0) + stamped("a\n" * 60 + later, 9.0))
    assert log.panic_message == later.splitlines()[0]
    assert log.remarks == (
        "the log has 2 boots, and 2 of them crashed: this is number 2",
        f"boot 1 crashed too: {OOPS.splitlines()[0]}",
    )


def test_lines_of_two_machines_in_one_log_are_told(read: Reading) -> None:
    pairs = zip(
        stamped("a\n" * 9, 5000.0).splitlines(True),
        stamped(OOPS + "b\n" * 5, 7.0).splitlines(True),
        strict=True,
    )
    log = read("".join(a + b for a, b in pairs))
    assert any("lines of several machines" in remark for remark in log.remarks)


def pstore(path: Path, second: int, crash: int, number: int, text: str) -> Path:
    """A part as efivarfs names it; the copy that was kept of an upload is numbered before that."""
    kept = path / f"{number:04d}-dmesg-efi-{(second * 100 + number) * 1000 + crash}"
    kept.write_text(f"Panic#{crash} Part{number}\n{text}")
    return kept


def test_what_crashed_counts_before_what_only_reported_trouble(
    read: Reading, tmp_path: Path
) -> None:
    crash = stamped(f"{BANNER}\n{OOPS}", 50.0)
    hung = stamped(f"{BANNER}\nINFO: task a:1 blocked for more than 120 seconds.\n", 0.0)
    log = read(crash + hung)
    assert log.panic_message == OOPS.splitlines()[0]
    assert log.remarks[-1] == "boot 2 reported: INFO: task a:1 blocked for more than 120 seconds."
    (tmp_path / "dmesg").write_text(hung)
    part = pstore(tmp_path, 1_764_500_000, 1, 1, OOPS)
    chosen = choose_log([tmp_path / "dmesg", part])
    assert chosen is not None
    assert chosen.files == (part,)


def test_of_two_crashes_in_pstore_the_newer_is_taken_though_it_was_the_first_of_its_boot(
    tmp_path: Path,
) -> None:
    old = [pstore(tmp_path, 1_700_000_000, 2, n, f"[    1.00000{n}] old\n") for n in (1, 2)]
    new = [pstore(tmp_path, 1_700_090_000 + n, 1, n, f"[    2.00000{n}] new\n") for n in (1, 3)]
    same = [pstore(tmp_path, 1_700_000_000, 1, 1, "[    0.000001] old\n")]
    chosen = choose_log([*old, *new, *same])
    assert chosen is not None
    assert chosen.files == (new[1], new[0])
    assert chosen.text == b"[    2.000003] new\n[    2.000001] new\n"
    assert chosen.remarks == (
        "pstore kept 3 records: this is the newest",
        "of the parts that pstore keeps of the crash these are missing: 2",
    )


def test_parts_of_crashes_that_nothing_tells_apart_are_not_put_together(tmp_path: Path) -> None:
    files = [tmp_path / f"dmesg-ramoops-{n}" for n in range(3)]
    for path, text in zip(files, ("calm\n" * 99, OOPS, OOPS), strict=True):
        path.write_text(f"Panic#1 Part1\n{text}")
    chosen = choose_log(files)
    assert chosen is not None
    assert (chosen.files[0] in files[1:], len(chosen.files)) == (True, 1)
    assert "of several crashes that nothing tells apart" in chosen.remarks[0]


def test_a_packed_part_alone_is_a_kernel_log_and_what_of_it_is_lost_is_told(
    tmp_path: Path,
) -> None:
    said = stamped(f"{BANNER}\n{OOPS}", 1.0)
    text = f"Panic#1 Part1\n{said}"
    packed = zlib.compress(text.encode(), wbits=-15)
    path = tmp_path / "dmesg-ramoops-0.enc.z"
    for content, remarks in (
        (packed, ()),
        (packed[:-9], ("this part of pstore is damaged: only its beginning could be unpacked",)),
    ):
        path.write_bytes(content)
        assert recognise_file(path) == KERNEL_LOG
        log = identify(path)
        assert log.banner == BANNER
        assert log.remarks == remarks
    part = pstore(tmp_path, 1_700_000_000, 1, 2, "[    0.900000] before\n")
    renamed = part.rename(part.with_name(part.name.replace("efi-", "efi_pstore-") + ".enc.z"))
    path.rename(tmp_path / "0001-dmesg-efi_pstore-170000000001001.enc.z")
    chosen = choose_log([renamed, tmp_path / "0001-dmesg-efi_pstore-170000000001001.enc.z"])
    assert chosen is not None
    assert len(chosen.files) == 2
    assert chosen.remarks == ("part 1 in pstore is damaged: only its beginning could be unpacked",)


def test_what_systemd_has_put_together_of_pstore_is_a_log_and_no_part(tmp_path: Path) -> None:
    whole = tmp_path / "dmesg.txt"
    whole.write_text(f"Panic#1 Part2\n{stamped('a', 1.0)}Panic#1 Part1\n{stamped(OOPS, 2.0)}")
    part = pstore(tmp_path, 1_700_000_000, 1, 1, stamped(OOPS, 2.0))
    chosen = choose_log([part, whole])
    assert chosen is not None
    assert chosen.files == (whole,)


def test_of_several_logs_with_a_crash_it_is_told_that_there_are_others(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("1-dmesg.txt", "2-dmesg.txt", "3-hung.txt")]
    for path in files:
        path.write_text(OOPS)
    files[2].write_text(
        stamped(f"{BANNER}\nINFO: task a:1 blocked for more than 120 seconds.\n", 0.0)
    )
    chosen = choose_log(files)
    assert chosen is not None
    assert chosen.remarks == (
        "2 of the files tell of a crash: --member NAME takes another than this",
    )


def test_a_crash_that_goes_on_behind_another_machines_banner_is_told(read: Reading) -> None:
    first, other = stamped(f"{BANNER}\n{OOPS}", 5000.0), stamped(f"{BANNER}\na\nb\n", 0.0)
    lines = first.splitlines(True)
    log = read("".join([*lines[:3], other, *lines[3:]]))
    assert any("lines of several machines" in remark for remark in log.remarks)
    log = read(first + other + stamped(OOPS, 900.0))
    assert not any("lines of several machines" in remark for remark in log.remarks)


@pytest.mark.parametrize(
    ("line", "is_own"),
    [
        ("Kernel Offset: 0x2ac00000 from 0xffffffff81000000 (relocation range: 0x0-0x1)", True),
        ("Kernel Offset: 0x1e800000 from 0xffffffff81000000 (relocation range: 0x0-0x1)", False),
        ("rtc_cmos 00:04: setting system clock to 2026-11-21T00:00:00 UTC (1795219200)", True),
        ("rtc_cmos 00:04: setting system clock to 2026-11-18T00:00:00 UTC (1794960000)", False),
    ],
)
def test_the_log_of_an_older_crash_of_the_same_kernel_is_not_taken_for_the_dumps_own(
    tmp_path: Path, line: str, is_own: bool
) -> None:
    log = tmp_path / "vmcore-dmesg.txt"
    log.write_text(stamped(f"{line}\n{OOPS}", 3600.0))
    dump = Dump(
        path=tmp_path / "vmcore",
        format="KDUMP",
        size_bytes=1,
        arch="x86_64",
        crash_time=datetime(2026, 11, 21, 10, tzinfo=UTC),
        kaslr_offset=0x2AC00000,
    )
    told, used = with_log_beside(dump, [log])
    assert (used == log, told.panic_message is not None) == (is_own, is_own)

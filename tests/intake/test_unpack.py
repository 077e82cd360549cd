"""Intake: what is taken from uploads, what is kept beside it, and what is told."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import stat
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from packing import DUMP, apport, intake, names, seven_zip_of, store, tar, zip_of

from cas.errors import (
    CasError,
    DiskFull,
    LimitExceeded,
    NotADump,
    UnpackError,
    UnsupportedFormat,
)
from cas.intake import Storing
from cas.progress import Silent


def other(word: bytes) -> bytes:
    return word + os.urandom(20_000)


@pytest.fixture
def upload(tmp_path: Path) -> Callable[..., Path]:
    def write(data: bytes, name: str = "upload") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


@pytest.fixture
def job(tmp_path: Path) -> Path:
    return tmp_path / "job"


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_the_upload_keeps_its_bytes_and_time(
    upload: Callable[..., Path], job: Path, pack: Callable[[bytes], bytes]
) -> None:
    path = upload(pack(DUMP))
    os.utime(path, (1, 2))
    before = path.read_bytes()
    vmcore = store(path, job).vmcore
    vmcore.write_bytes(b"changed")
    assert (path.read_bytes(), path.stat().st_mtime) == (before, 2)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_what_is_written_is_private(
    upload: Callable[..., Path], job: Path, pack: Callable[[bytes], bytes]
) -> None:
    assert stat.S_IMODE(store(upload(pack(DUMP)), job).vmcore.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("vmcore.12345", "vmcore.12345"),
        ("vmcore 'x'\n", "vmcore"),
        ("crash", "crash"),
        ("report.txt", "report.txt"),
        (os.fsdecode(b"vm\xff"), "vmcore"),
    ],
)
def test_the_copy_has_a_name_of_our_choice(
    upload: Callable[..., Path], job: Path, name: str, stored: str
) -> None:
    assert store(upload(DUMP, name), job).vmcore.name == stored


def test_the_name_of_a_packed_dump_loses_its_suffixes(
    upload: Callable[..., Path], job: Path
) -> None:
    assert store(upload(gzip.compress(DUMP), "vmcore.1.tar.gz"), job).vmcore.name == "vmcore.1"


@pytest.mark.parametrize(
    ("member", "stored"),
    [
        ("127.0.0.1-2026-11-30/vmcore.flat", "vmcore.flat"),
        ("dump.202611300102.xz", "dump.202611300102"),
        ("a b", "case-7"),
        (".hidden", "case-7"),
    ],
)
def test_a_dump_in_an_archive_keeps_its_name(
    upload: Callable[..., Path], job: Path, member: str, stored: str
) -> None:
    data = lzma.compress(DUMP) if member.endswith(".xz") else DUMP
    path = upload(gzip.compress(tar({"readme": b"x", member: data})), "case-7.tar.gz")
    assert store(path, job).vmcore.name == stored


def test_a_report_of_apport_gives_its_dump_and_what_it_says_of_it(
    upload: Callable[..., Path], job: Path
) -> None:
    log = "[    0.000000] Linux\n[    1.000000] Oops"
    report = apport(DUMP, VmCoreDmesg=log, ProcVersion="Linux 6.8")
    stored = store(upload(report, "linux-image-6.8.0-31-generic.crash"), job)
    assert stored.vmcore.name == "VmCore"
    assert stored.vmcore.read_bytes() == DUMP
    (text,) = stored.sidecars
    assert text.read_text().strip("\n") == log


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda data: data[: len(data) // 2], "is cut off"),
        (lambda data: data.replace(b"\n H", b"\n !", 1), "no base64"),
        (lambda data: data[: len(data) // 2 & -4] + b"\nno field\n", "is damaged"),
    ],
)
def test_a_damaged_report_of_apport_is_told(
    upload: Callable[..., Path], job: Path, spoil: Callable[[bytes], bytes], said: str
) -> None:
    path = upload(spoil(apport(DUMP)), "x.crash")
    try:
        missing = [lack.what for lack in store(path, job).missing]
    except UnpackError as error:
        missing = [str(error)]
    assert said in missing[0]


def test_a_report_of_many_short_lines_takes_no_time(upload: Callable[..., Path], job: Path) -> None:
    with pytest.raises(NotADump):
        store(upload(b"ProblemType: Crash\nVmCoreLog: base64\n" + b" QQ==\n" * 500_000), job)


def test_packed_halves_of_a_snapshot_are_told_too(tmp_path: Path, job: Path) -> None:
    paths = [tmp_path / "a.vmss.gz", tmp_path / "a.vmem.gz"]
    for path, data in zip(paths, (other(b"VMSS"), b"memory"), strict=True):
        path.write_bytes(gzip.compress(data))
    with pytest.raises(UnsupportedFormat, match=r"snapshot: a\.vmss, a\.vmem"):
        store(paths, job)


def test_a_sparse_dump_is_copied_with_its_holes(upload: Callable[..., Path], job: Path) -> None:
    path = upload(b"DUMP")
    os.truncate(path, 64 << 20)
    vmcore = store(path, job).vmcore
    assert vmcore.stat().st_size == 64 << 20
    assert vmcore.stat().st_blocks * 512 < 1 << 20


def test_a_half_written_file_of_an_earlier_run_is_replaced(
    upload: Callable[..., Path], job: Path, tmp_path: Path
) -> None:
    job.mkdir()
    (tmp_path / "victim").write_bytes(b"untouched")
    (job / "vmcore").symlink_to(tmp_path / "victim")
    assert store(upload(gzip.compress(DUMP), "vmcore.gz"), job).vmcore.read_bytes() == DUMP
    assert (tmp_path / "victim").read_bytes() == b"untouched"


def test_two_dumps_in_an_archive_are_told(upload: Callable[..., Path], job: Path) -> None:
    with pytest.raises(NotADump, match="2 kernel dumps: a, b") as raised:
        store(upload(tar({"a": DUMP, "b": DUMP})), job)
    assert raised.value.hint == "choose one of them: --member NAME"
    assert names(job) == []


@pytest.mark.parametrize("pack", [tar, zip_of, pytest.param(seven_zip_of, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("member", "found"),
    [("one/vmcore", b"1"), ("two/vmcore", b"2"), ("third", b"3"), ("three/third", b"3")],
)
def test_a_member_can_be_chosen(
    upload: Callable[..., Path], job: Path, pack: Callable[..., bytes], member: str, found: bytes
) -> None:
    members = {"one/vmcore": b"DUMP1", "two/vmcore": b"DUMP2", "three/third": b"DUMP3"}
    stored = store(upload(pack(members)), job, intake(member))
    assert stored.vmcore.read_bytes() == b"DUMP" + found


def test_an_exact_name_counts_before_a_base_name(upload: Callable[..., Path], job: Path) -> None:
    members = {"one/vmcore": b"DUMP1", "vmcore": b"DUMP2"}
    assert store(upload(tar(members)), job, intake("vmcore")).vmcore.read_bytes() == b"DUMP2"


@pytest.mark.parametrize(
    ("member", "reason"), [("vmcore", "2 kernel dumps"), ("x", "it holds one/")]
)
def test_a_member_that_is_not_meant_clearly_is_told(
    upload: Callable[..., Path], job: Path, member: str, reason: str
) -> None:
    members = {"one/vmcore": b"DUMP1", "two/vmcore": b"DUMP2"}
    with pytest.raises(NotADump, match=reason):
        store(upload(tar(members)), job, intake(member))


def test_dumps_in_archives_in_an_archive_have_names_of_their_own(
    upload: Callable[..., Path], job: Path
) -> None:
    members = {"a.zip": zip_of({"vmcore": b"DUMP1"}), "b.zip": zip_of({"vmcore": b"DUMP2"})}
    stored = store(upload(tar(members)), job, intake("b.zip/vmcore"))
    assert stored.vmcore.read_bytes() == b"DUMP2"


def test_parts_of_a_split_set_are_all_kept(upload: Callable[..., Path], job: Path) -> None:
    members = {"x": other(b"PART"), "y": other(b"PART"), "z.gz": gzip.compress(other(b"PART"))}
    stored = store(upload(tar(members)), job)
    assert [part.name for part in stored.parts] == ["x", "y", "z"]
    assert stored.parts[1].read_bytes() == members["y"]


def test_parts_may_be_uploads_of_their_own(upload: Callable[..., Path], job: Path) -> None:
    contents = [other(b"PART"), other(b"PART"), b"log"]
    paths = [
        upload(contents[0], "p1"),
        upload(gzip.compress(contents[1]), "p2.gz"),
        upload(contents[2], "vmcore-dmesg.txt"),
    ]
    stored = store(paths, job)
    assert [part.read_bytes() for part in stored.parts] == contents[:2]
    assert stored.sidecars[0].read_bytes() == b"log"


def test_parts_of_one_name_do_not_take_each_others_place(tmp_path: Path, job: Path) -> None:
    paths = [tmp_path / name / "vmcore.2" for name in ("a", "b", "c")]
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(b"PART" + path.parent.name.encode())
    stored = store(paths, job)
    assert [part.read_bytes() for part in stored.parts] == [b"PARTa", b"PARTb", b"PARTc"]


def test_a_part_and_a_whole_dump_do_not_mix(upload: Callable[..., Path], job: Path) -> None:
    with pytest.raises(NotADump, match="2 kernel dumps"):
        store(upload(tar({"x": other(b"PART"), "y": DUMP})), job)


def test_the_halves_of_a_snapshot_are_named(upload: Callable[..., Path], job: Path) -> None:
    members = {"vm/a.vmss": other(b"VMSS"), "vm/a.vmem": b"memory"}
    with pytest.raises(UnsupportedFormat, match=r"vm/a.vmss, vm/a.vmem") as raised:
        store(upload(tar(members)), job)
    assert "vmss2core -N6" in raised.value.hint


def test_a_member_that_is_not_there_is_not_said_to_be_no_dump(
    upload: Callable[..., Path], job: Path
) -> None:
    with pytest.raises(NotADump, match="no dump and no kernel log called b; in it: a") as error:
        store(upload(tar({"a.txt": b"log"})), job, intake(member="b"))
    assert error.value.hint == "choose one of them: --member NAME"


def test_sidecars_are_kept_under_safe_names(upload: Callable[..., Path], job: Path) -> None:
    members = {
        "../../vmcore-dmesg.txt": b"log",
        "a/dmesg.202611": b"log2",
        "vmcore": DUMP,
        "vmcore.sha256": b"sum",
        "notes.log.gz": gzip.compress(b"log3"),
        "sosreport-x/proc/cmdline": b"quiet",
        "sosreport-x/binary": b"\0\1",
        "else": b"no",
    }
    stored = store(upload(tar(members)), job)
    sidecars = sorted(stored.sidecars)
    assert [path.name for path in sidecars] == [
        "0000-vmcore-dmesg.txt",
        "0001-dmesg.202611",
        "0002-vmcore.sha256",
        "0003-notes.log.gz",
        "0004-cmdline",
    ]
    assert sidecars[3].read_bytes() == b"log3"
    assert names(job / "sidecars") == [path.name for path in sidecars]


@pytest.mark.parametrize("name", ["var/log/messages-20261130", "console.0", "kern.log.1", "own"])
def test_a_log_without_a_dump_is_kept_by_the_names_that_logs_have_or_by_its_own(
    upload: Callable[..., Path], job: Path, name: str
) -> None:
    def choose(paths: Sequence[Path]) -> tuple[tuple[Path, ...], bytes, tuple[str, ...]]:
        return tuple(paths), b"".join(path.read_bytes() for path in paths), ()

    packed = upload(tar({name: b"log", "other": b"no log"}))
    asked = intake(member="own" if name == "own" else None)
    stored = store(packed, job, replace(asked, choose_log=choose))
    assert stored.vmcore.read_bytes() == b"log"
    with pytest.raises(NotADump) as error:
        store(upload(tar({"other": b"no log"})), job, replace(intake(), choose_log=choose))
    assert error.value.hint.endswith("to take one of these as a kernel log: --member NAME")


def test_the_sidecars_of_the_dumps_own_directory_come_first(
    upload: Callable[..., Path], job: Path
) -> None:
    old, new = "crash/127.0.0.1-2026-11-01-10:00:00", "crash/127.0.0.1-2026-11-21-10:00:00"
    members = {
        f"{old}/vmcore-dmesg.txt": b"old",
        f"{new}/vmcore": DUMP,
        f"{new}/vmcore-dmesg.txt": b"new",
        "notes.txt": b"note",
    }
    stored = store(upload(tar(members)), job)
    assert [path.read_bytes() for path in stored.sidecars] == [b"new", b"old", b"note"]


def test_sidecars_beyond_their_limit_are_left_out(upload: Callable[..., Path], job: Path) -> None:
    members = {"1.txt": b"x" * 600, "2.txt": b"y" * 600, "3.txt": b"z" * 300, "vmcore": DUMP}
    stored = store(upload(tar(members)), job, intake(sidecar_bytes=1000))
    assert [path.read_bytes()[:1] for path in stored.sidecars] == [b"x", b"z"]
    assert "1 sidecar file left out" in stored.remarks[0]


@pytest.mark.parametrize(
    ("limits", "limit"),
    [
        ({"unpack_bytes": 2 << 20}, "unpackLimit"),
        ({"members": 2}, "memberLimit"),
        ({"depth": 1}, "depthLimit"),
    ],
)
def test_a_limit_refuses_and_leaves_nothing(
    upload: Callable[..., Path], job: Path, limits: dict[str, int], limit: str
) -> None:
    members = {"a.txt": b"1", "vmcore": DUMP, "b.txt": b"2"}
    with pytest.raises(LimitExceeded) as raised:
        store(upload(gzip.compress(tar(members))), job, intake(**limits))
    assert raised.value.limit == limit
    assert names(job) == []


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_full_disk_says_need_and_have_and_leaves_nothing(
    upload: Callable[..., Path], job: Path, pack: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(DiskFull, match=r"needs .* has "):
        store(upload(pack(DUMP)), job, intake(reserve_bytes=1 << 60))
    assert names(job) == []


def test_a_plain_dump_is_readable_at_once_where_it_lies(
    upload: Callable[..., Path], job: Path
) -> None:
    job.mkdir()
    path = upload(DUMP)
    with Storing([path], job, intake(), Silent()) as storing:
        assert storing.head() == path
        assert storing.stored().vmcore.read_bytes() == DUMP


def test_the_head_of_a_packed_dump_is_readable_before_the_rest(job: Path, tmp_path: Path) -> None:
    job.mkdir()
    data = b"DUMP" + os.urandom(9 << 20)
    packed = gzip.compress(data, 1)
    path = tmp_path / "upload"
    path.write_bytes(packed)
    with Storing([path], job, intake(), Silent()) as storing:
        head = storing.head()
        assert head.parent == job / "vmcore"
        assert head.read_bytes()[: 8 << 20] == data[: 8 << 20]
        assert storing.settled().vmcore == head


def test_leaving_by_an_exception_stops_the_work(
    upload: Callable[..., Path], job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))  # Python's own bzip2 is slow enough to be met
    path = upload(bz2.compress(b"DUMP" + os.urandom(1 << 20)) * 20)
    with pytest.raises(KeyboardInterrupt), Storing([path], job, intake(), Silent()) as storing:
        storing.head()
        raise KeyboardInterrupt
    assert storing.unpacked_bytes < 20 << 20
    assert names(job) == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("cas-")]


def test_leaving_by_an_exception_ends_the_decompressor(
    upload: Callable[..., Path], job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.mkdir()
    pid = tmp_path / "pid"
    # more than the 8 MiB that make it readable, and what waits to be written at most
    lines = [f"echo $$ >{pid}", "printf DUMP", "head -c 16000000 /dev/zero", "exec sleep 600"]
    program = upload("\n".join(("#!/bin/sh", *lines)).encode(), "lbzip2")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    path = upload(bz2.compress(DUMP))
    with pytest.raises(KeyboardInterrupt), Storing([path], job, intake(), Silent()) as storing:
        storing.head()
        raise KeyboardInterrupt
    assert names(job) == []
    assert not Path(f"/proc/{int(pid.read_text())}").exists()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.touch(), "is empty"),
        (os.mkfifo, "is not a regular file"),
    ],
)
def test_an_upload_that_is_no_file_is_told(
    tmp_path: Path, job: Path, make: Callable[[Path], None], reason: str
) -> None:
    path = tmp_path / "upload"
    make(path)
    with pytest.raises(CasError, match=reason):
        store(path, job)

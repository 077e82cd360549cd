"""Which files of a host are dumps, known ones, missing ones, or none of our business."""

from __future__ import annotations

import lzma
import os
import shutil
import threading
import zlib
from pathlib import Path

import pytest
from made_crashes import CUT, FILTERED, FLAT, FULL
from swept_hosts import Sweeper, aged

from cas.dump.log_file import choose_log
from cas.model.host import Host
from cas.progress import Silent
from cas.sweep.far_host import reached
from cas.sweep.fetching import Fetching
from cas.sweep.host_sweep import Claims
from cas.sweep.walk import Kind, Walk, kind_of_name

LOGS = Path(__file__).parents[1] / "findings" / "logs"
PANIC, OTHER = LOGS / "init-segfault.log", LOGS / "lustre-lbug.log"
THIRD = LOGS / "forced-ext4-panic.log"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("vmcore", Kind.DUMP),
        ("vmcore.flat", Kind.DUMP),
        ("vmcore-incomplete", Kind.DUMP),
        ("dump.202611301200", Kind.DUMP),
        ("db01.kdump", Kind.DUMP),
        ("vmcore-dmesg.txt", Kind.LOG),
        ("vmcore-dmesg-incomplete.txt", Kind.LOG),
        ("dmesg.202611301200", Kind.LOG),
        ("dmesg-efi-170000000001001", Kind.PART),
        ("kexec-dmesg.log", None),
        ("_usr_bin_python3.1000.crash", None),
        ("vmlinux-6.1.gz", None),
    ],
)
def test_files_count_by_the_names_that_dumpers_give(name: str, kind: Kind | None) -> None:
    assert kind_of_name(name.encode()) is kind


@pytest.mark.parametrize("name", [FULL, FILTERED, FLAT, CUT])
def test_each_kind_of_file_is_fetched(sweeper: Sweeper, name: str) -> None:
    dump = sweeper.dump(1, name)
    swept = sweeper.sweep()
    assert swept.problem is None
    (missing,) = swept.missing
    (file,) = sweeper.archive.read(missing.crash).files
    path = sweeper.archive.file_path(missing.crash, str(file.digest))
    assert path.read_bytes() == dump.read_bytes()
    assert swept.read_bytes <= 64 << 10


def test_a_better_file_of_a_known_crash_is_missing_and_a_lesser_one_is_not(
    sweeper: Sweeper,
) -> None:
    sweeper.dump(1, CUT, "vmcore-incomplete")
    assert len(sweeper.sweep().missing) == 1
    full = sweeper.dump(1, FULL, "vmcore")
    (missing,) = sweeper.sweep().missing
    assert missing.path == str(full)
    sweeper.dump(1, FILTERED, "vmcore.small")
    assert not sweeper.sweep().missing
    files = sweeper.archive.read(missing.crash).files
    assert sorted(file.is_whole for file in files) == [False, True]


def test_what_was_purged_here_does_not_come_back(sweeper: Sweeper) -> None:
    from msgspec.structs import replace

    sweeper.dump(1)
    (missing,) = sweeper.sweep().missing
    with sweeper.archive.changing(missing.crash) as draft:
        files = tuple(replace(file, purged_s=1) for file in draft.info.files)
        draft.info = replace(draft.info, files=files)
    shutil.rmtree(sweeper.archive.path / "swept")
    swept = sweeper.sweep()
    assert (swept.known, swept.missing) == (1, [])


def test_what_the_archive_does_not_know_any_more_is_missing_again(sweeper: Sweeper) -> None:
    sweeper.dump(1)
    (missing,) = sweeper.sweep().missing
    shutil.rmtree(sweeper.archive.directory_of(missing.crash))
    assert [each.crash for each in sweeper.sweep().missing] == [missing.crash]


def test_a_file_that_was_replaced_after_it_had_come_is_not_taken_for_what_came(
    sweeper: Sweeper,
) -> None:
    dump = sweeper.dump(1)
    rules = sweeper.config.sweep_rules()
    with reached(Host("db01"), rules, sweeper.config) as there:
        walk = Walk(there)
        walk.through(rules.directories)
        fetching = Fetching(there, sweeper.archive, sweeper.config, Silent(), lambda _: None)
        arrived = fetching.arrived(walk.found[0])
        arrived.part.publish()
        arrived.stack.close()  # as a run that ends here
    shutil.copy(sweeper.dump(2), dump)
    shutil.rmtree(sweeper.there / "127.0.0.1-2026-11-01-12:00:02")
    swept = sweeper.sweep()
    (missing,) = swept.missing
    assert not missing.is_fetched
    (first,) = sweeper.archive.ids()
    assert sweeper.archive.read(first).swept == ()
    assert f"as one of {first}" in str(swept.left)
    (missing,) = sweeper.sweep().missing
    assert missing.is_fetched
    assert set(sweeper.archive.ids()) == {first, missing.crash}


def test_of_one_dump_in_two_places_one_is_brought(sweeper: Sweeper) -> None:
    dump = sweeper.dump(1)
    shutil.copy(dump, sweeper.there / "vmcore")
    dry = sweeper.sweep(fetches=False)
    assert (len(dry.missing), len(dry.left)) == (1, 1)
    assert dry.left[0].why.startswith("it is the same as /")
    claims = Claims()
    first = sweeper.sweep(fetches=False, name="db01", claims=claims)
    other = sweeper.sweep(fetches=False, name="db02", claims=claims)
    assert (len(first.missing), other.missing) == (1, [])
    assert {left.why for left in other.left} == {"db01 has it, too, and brings it"}
    claims.give_up(Host("db01"))
    assert len(sweeper.sweep(name="db02", claims=claims).missing) == 1


def test_a_damaged_record_here_keeps_no_other_file_from_coming(sweeper: Sweeper) -> None:
    damaged = sweeper.dump(2)
    (missing,) = sweeper.sweep().missing
    (sweeper.archive.directory_of(missing.crash) / "info.json").write_text("{")
    older = aged(sweeper.dump(1), 60)
    shutil.rmtree(sweeper.archive.path / "swept")
    swept = sweeper.sweep()
    assert [(each.path, each.is_fetched) for each in swept.missing] == [(str(older), True)]
    assert "info.json" in sweeper.left(swept)[f"{damaged.parent.name}/vmcore"]
    assert "info.json" in str(swept.problem)


def test_known_files_are_not_opened_again_and_by_their_ids_cost_kilobytes(
    sweeper: Sweeper,
) -> None:
    for number in range(3):
        sweeper.dump(number)
    sweeper.sweep()
    again = sweeper.sweep()
    assert (again.known, again.read_bytes) == (3, 0)
    shutil.rmtree(sweeper.archive.path / "swept")
    by_id = sweeper.sweep()
    assert (by_id.known, by_id.missing) == (3, [])
    assert 0 < by_id.read_bytes <= 3 * (64 << 10)


def test_a_file_that_grows_between_two_looks_is_left_for_the_next_sweep(sweeper: Sweeper) -> None:
    dump = sweeper.dump(1)
    sweeper.rule(settle_s=1.0)
    content, stop = dump.read_bytes(), threading.Event()

    def grow() -> None:
        with dump.open("ab") as file:
            while not stop.wait(0.05):
                file.write(b"more")
                file.flush()

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        swept = sweeper.sweep()
    finally:
        stop.set()
        writer.join()
    assert swept.missing == []
    assert "the next sweep looks again" in sweeper.left(swept)[f"{dump.parent.name}/vmcore"]
    assert swept.problem is None
    dump.write_bytes(content)
    assert len(sweeper.sweep().missing) == 1


def test_a_kernel_log_counts_where_no_dump_lies_beside_it(sweeper: Sweeper) -> None:
    dump = sweeper.dump(1)
    shutil.copy(PANIC, dump.parent / "vmcore-dmesg.txt")
    alone = sweeper.there / "pstore/dmesg.txt"
    alone.parent.mkdir()
    shutil.copy(PANIC, alone)
    spoilt = sweeper.there / "spoilt"
    spoilt.mkdir()
    (spoilt / "vmcore").write_bytes(b"\x7fELF" + bytes(100))
    shutil.copy(OTHER, spoilt / "vmcore-dmesg.txt")
    swept = sweeper.sweep()
    fetched = {Path(each.path) for each in swept.missing}
    assert fetched == {dump, alone, spoilt / "vmcore-dmesg.txt"}
    left = sweeper.left(swept)
    assert left[f"{dump.parent.name}/vmcore-dmesg.txt"] == "the dump beside it has the log"
    assert left["spoilt/vmcore"] == "no ELF header"
    again = sweeper.sweep()
    assert (again.missing, again.known, again.read_bytes) == ([], 3, 0)
    assert sweeper.left(again) == left


def parts_into(directory: Path, log: Path, second: int) -> list[Path]:
    """A kernel log as pstore keeps it in EFI, newest part first; the second one is packed."""
    directory.mkdir(exist_ok=True)
    text, parts = log.read_bytes(), []
    size = len(text) // 3 + 1
    for number in (1, 2, 3):
        end = len(text) - size * (number - 1)
        content = b"Panic#1 Part%d\n" % number + text[max(0, end - size) : end]
        path = directory / f"dmesg-efi-{(second * 100 + number) * 1000 + 1}"
        if number == 2:
            stream = zlib.compressobj(9, zlib.DEFLATED, -12)
            content, path = stream.compress(content) + stream.flush(), path.with_suffix(".enc.z")
        path.write_bytes(content)
        parts.append(path)
    return parts


def test_parts_in_pstore_are_put_together_as_those_of_an_upload(sweeper: Sweeper) -> None:
    raw = sweeper.there / "170000000"
    parts = parts_into(raw, PANIC, 1_700_000_000)
    older = parts_into(raw, OTHER, 1_600_000_000)
    for directory, name in (
        (sweeper.there / "joined", "dmesg.txt"),
        (sweeper.there / "a", "vmcore"),
    ):
        parts_into(directory, PANIC, 1_700_000_000)
        shutil.copy(THIRD if name == "dmesg.txt" else sweeper.dump(1), directory / name)
    (raw / "dmesg-erst-1").write_bytes(b"\0" * 100)
    swept = sweeper.sweep()
    assert swept.problem is None
    crashes = {Path(each.path).relative_to(sweeper.there): each.crash for each in swept.missing}
    assert crashes.keys() >= {Path("170000000", parts[0].name), Path("170000000", older[0].name)}
    for files in (parts, older):
        chosen = choose_log(files)
        assert chosen
        crash = crashes[files[0].relative_to(sweeper.there)]
        (file,) = sweeper.archive.read(crash).files
        assert sweeper.archive.file_path(crash, str(file.digest)).read_bytes() == chosen.text
    left = sweeper.left(swept)
    assert left[f"joined/{parts[1].name}"] == "the log beside it has all parts"
    assert left[f"a/{parts[1].name}"] == "the dump beside it has the log"
    assert left["170000000/dmesg-erst-1"] == "it is no part of a kernel log"
    again = sweeper.sweep()
    assert (again.missing, again.read_bytes, again.known) == ([], 0, 9)
    shutil.rmtree(sweeper.archive.path / "swept")
    assert (sweeper.sweep().missing, sweeper.left(again)) == ([], left)


def test_a_log_that_tells_of_no_crash_and_what_is_no_dump_are_left(sweeper: Sweeper) -> None:
    quiet = "\n".join(f"[    0.0000{n:02}] Linux version 6.1.0 boots" for n in range(40))
    (sweeper.there / "dmesg.txt").write_text(quiet)
    (sweeper.there / "vmcore").write_text("somebody's notes\n" * 100)
    (sweeper.there / "vmcore.xz").write_bytes(lzma.compress(bytes(5000)))
    (sweeper.there / "empty.kdump").touch()
    swept = sweeper.sweep()
    left = sweeper.left(swept)
    assert (swept.missing, swept.problem) == ([], None)
    assert left["dmesg.txt"] == "this kernel log tells of no crash"
    assert left["vmcore.xz"].startswith("it is packed: cas upload sftp://")
    assert set(left) == {"dmesg.txt", "vmcore", "vmcore.xz", "empty.kdump"}
    assert swept.log
    assert len(swept.log.read_text().splitlines()) == 4
    assert sweeper.sweep().read_bytes == 0


def test_foreign_files_links_and_pipes_are_not_opened(sweeper: Sweeper, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    dump = sweeper.dump(1)
    shutil.move(dump, secret / "vmcore")
    (sweeper.there / "vmcore").symlink_to(secret / "vmcore")
    (sweeper.there / "elsewhere").symlink_to(secret)
    (sweeper.there / "loop").symlink_to(sweeper.there)
    os.mkfifo(sweeper.there / "vmcore.1")
    (sweeper.there / "customers.txt").write_text("none of our business")
    swept = sweeper.sweep()
    assert swept.missing == []
    assert sweeper.left(swept) == {
        "vmcore": "it is a symbolic link, which is not followed",
        "vmcore.1": "it is a pipe",
    }


def test_a_configured_directory_may_be_a_link(sweeper: Sweeper, tmp_path: Path) -> None:
    sweeper.dump(1)
    (tmp_path / "crash").symlink_to(sweeper.there)
    sweeper.rule(directories=(str(tmp_path / "crash"), "/nowhere/at/all"))
    assert len(sweeper.sweep().missing) == 1


def test_names_of_any_bytes_are_fetched_and_shown_on_one_line(sweeper: Sweeper) -> None:
    dump = sweeper.dump(1)
    name = os.fsencode(dump.parent) + b"/vmcore.\n\x1b[31m\xff"
    os.rename(dump, name)  # noqa: PTH104  not UTF-8
    swept = sweeper.sweep()
    (missing,) = swept.missing
    assert missing.path.isprintable()
    (place,) = sweeper.archive.read(missing.crash).swept
    assert place.path == missing.path
    assert (sweeper.sweep().known, sweeper.sweep().read_bytes) == (1, 0)


def test_clocks_of_hosts_are_not_believed(sweeper: Sweeper) -> None:
    future = sweeper.dump(1)
    os.utime(future, (4_000_000_000, 4_000_000_000))
    past = sweeper.dump(2)
    os.utime(past, (1, 1))
    swept = sweeper.sweep()
    assert len(swept.missing) == 2
    times = {sweeper.archive.read(each.crash).swept[0].modified_s for each in swept.missing}
    assert times == {4_000_000_000, 1}
    assert sweeper.sweep().known == 2


def test_limits_of_bytes_leave_the_older_ones_for_the_next_sweep(sweeper: Sweeper) -> None:
    size = 0
    for number in range(3):
        dump = sweeper.dump(number)
        os.utime(dump, (1_700_000_000 + number, 1_700_000_000 + number))
        size = dump.stat().st_size
    sweeper.rule(size_bytes=2 * size)
    first = sweeper.sweep()
    assert [Path(each.path).parent.name[-2:] for each in first.missing] == ["02", "01"]
    assert (len(first.left), first.problem) == (1, None)
    assert len(sweeper.sweep().missing) == 1
    sweeper.dump(4)
    sweeper.rule(size_bytes=size - 1)
    assert "larger than" in str(sweeper.sweep().problem)


def test_one_dump_on_two_hosts_is_fetched_once_and_both_are_noted(sweeper: Sweeper) -> None:
    sweeper.dump(1)
    (missing,) = sweeper.sweep(name="db01").missing
    assert sweeper.sweep(name="db02").known == 1
    places = sweeper.archive.read(missing.crash).swept
    assert [place.host for place in places] == ["db01", "db02"]


def test_a_dry_sweep_writes_nothing(sweeper: Sweeper) -> None:
    sweeper.dump(1)
    (missing,) = sweeper.sweep(fetches=False).missing
    assert not missing.is_fetched
    assert not sweeper.archive.path.exists()

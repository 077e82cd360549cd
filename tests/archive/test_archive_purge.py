"""What a purge takes from the archive, what it leaves, and what it says of both."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from stored_crashes import CUT, DAY_S, FILTERED, WHOLE, files, keep_busy, opened, place, put

from cas.archive.freeing import remove_leftovers
from cas.archive.record import File, info_of
from cas.units import human_size
from cas_admin.archive_purging import look_through
from cas_admin.purging import Purging

from installed import COMMANDS, Site, needs

PURGE = ("-p", "-d", "0", "--unfinished", "--yes")


@pytest.fixture
def site(site: Site) -> Site:
    """One whose jobs wait for a kernel: they end in a moment, and their dumps are kept."""
    site.settings["debugs"] = str(site.directory / "debugs")
    return site


def archived(site: Site, vmcore: Path, ticket: str = "T-1") -> str:
    """The id of a dump's crash, once a job has brought it into the archive."""
    done = site.cas("-i", ticket, "-f", vmcore)
    assert done.returncode == 6, done.stderr
    return site.cas("object", vmcore).stdout.strip()


def info(site: Site, crash_id: str) -> dict[str, object]:
    done = site.cas("info", crash_id)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def freed(output: str) -> str:
    *_, last = output.splitlines()
    assert last.endswith(" freed"), output
    return last.removesuffix(" freed")


ID = "0123456789abcdef" * 2


@pytest.fixture
def busy(site: Site) -> Site:
    """One where something was done every twenty days."""
    keep_busy(site)
    return site


def test_what_was_freed_is_said_once_the_last_name_is_gone(site: Site, vmcore_b: Path) -> None:
    archived(site, vmcore_b)
    crash_id = archived(site, vmcore_b, "T-2")
    (kept,) = files(site, crash_id)
    assert kept.stat().st_nlink == 3
    dump_bytes = kept.stat().st_blocks * 512
    second = site.directory / "second"
    os.link(kept, second)
    done = site.admin(*PURGE)
    assert (done.returncode, files(site, crash_id)) == (0, [])
    assert done.stdout.count("removed ") == 2
    assert freed(done.stdout).endswith("KiB")  # the dump has a name elsewhere
    assert second.stat().st_nlink == 1
    archived(site, vmcore_b, "T-3")
    size, unit = freed(site.admin(*PURGE).stdout).split()
    assert unit == "MiB"
    assert float(size) >= float(human_size(dump_bytes).split()[0])
    assert info(site, crash_id)["presence"] == "purged"


def test_a_dump_that_lies_in_its_job_alone_stays_while_a_ticket_needs_it(
    site: Site, small: Path
) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == site.directory.stat().st_dev:
        pytest.skip(f"{memory} is no file system of its own here")
    with tempfile.TemporaryDirectory(dir=memory) as elsewhere:
        site.settings["store"] = elsewhere
        crash_id = archived(site, small)
        dump = Path(str(info(site, crash_id)["dump"]))
        assert dump.is_relative_to(site.job("T-1"))
        assert site.cas("ticket", crash_id, "KEEP").returncode == 0
        done = site.admin(*PURGE)
        assert (done.returncode, done.stdout) == (0, "")
        assert "lies only here, and the ticket KEEP was set" in done.stderr
        assert dump.exists()
        assert site.cas("unticket", crash_id).returncode == 0
        assert site.admin(*PURGE).returncode == 0
        assert not dump.exists()
        assert info(site, crash_id)["presence"] == "purged"


def test_files_without_a_job_go_by_their_own_age(busy: Site) -> None:
    old, new, ticketed = (f"{number}{ID[1:]}" for number in (1, 2, 3))
    put(busy, old, {b"old" * 5000: WHOLE}, days=200)
    put(busy, new, {b"one": WHOLE, b"two": msgspec.structs.replace(CUT, added_s=150 * DAY_S)}, 200)
    put(busy, ticketed, {b"three": WHOLE}, days=200)
    assert busy.cas("ticket", ticketed, "T-1").returncode == 0
    listed = busy.admin("-p", "--dry-run")
    assert listed.stdout == f"files of the crash {old}  16.0 KiB\n", listed.stdout + listed.stderr
    done = busy.admin("-p", "--yes")
    assert done.stdout == f"removed files of the crash {old}\n16.0 KiB freed\n"
    assert [len(files(busy, each)) for each in (old, new, ticketed)] == [0, 2, 1]
    assert info(busy, old)["presence"] == "purged"
    assert busy.admin("-p", "--yes").stdout == ""


def test_a_clock_that_is_ahead_purges_no_files(busy: Site) -> None:
    put(busy, ID, {b"old": WHOLE}, days=55 * 365)
    done = busy.admin("-p", "--yes")
    assert (done.returncode, len(files(busy, ID))) == (5, 1)
    assert "0 jobs and files of 1 crash may be young" in done.stderr
    assert busy.admin("-p", "--dry-run").stdout.startswith(f"files of the crash {ID}")


def test_a_lesser_file_goes_once_the_better_one_is_read_and_right(busy: Site) -> None:
    put(busy, ID, {b"better": WHOLE, b"cut": CUT, b"filtered": FILTERED}, days=200)
    assert busy.cas("ticket", ID, "T-1").returncode == 0
    listed = busy.admin("-p", "--dry-run").stdout
    assert listed == f"files of the crash {ID}, of which a better file has everything  8.0 KiB\n"
    better = next(path for path in files(busy, ID) if path.read_bytes() == b"better")
    better.write_bytes(b"damage")
    done = busy.admin("-p", "--yes")
    assert f"stay: {better} is damaged" in done.stderr
    assert (done.returncode, len(files(busy, ID))) == (0, 3)
    better.write_bytes(b"better")
    done = busy.admin("-p", "--yes")
    assert done.stdout.splitlines()[-1] == "8.0 KiB freed"
    assert files(busy, ID) == [better]
    found = info(busy, ID)
    assert (found["presence"], found["size"]) == ("here", 6)
    assert sum("purged_s" in each and bool(each["purged_s"]) for each in found["files"]) == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "contents",
    [
        {b"cut": CUT, b"cut too": CUT},
        {
            b"a": msgspec.structs.replace(WHOLE, dump_level=1),
            b"b": msgspec.structs.replace(WHOLE, dump_level=2),
        },
        {b"cut": CUT, b"new": msgspec.structs.replace(WHOLE, added_s=150 * DAY_S)},
    ],
)
def test_a_file_that_another_has_not_all_of_stays(busy: Site, contents: dict[bytes, File]) -> None:
    put(busy, ID, contents, days=200)
    assert busy.cas("ticket", ID, "T-1").returncode == 0
    assert busy.admin("-p", "--yes").stdout == ""


def test_nothing_goes_of_what_is_held(busy: Site, small: Path) -> None:
    crash_id = archived(busy, small)
    put(busy, ID, {b"whole": WHOLE, b"cut": CUT}, days=200)
    done = busy.cas("hold", "type=crash", "for the audit")
    assert (done.returncode, done.stdout.startswith("hold: ")) == (0, True)
    held = info(busy, crash_id)["hold"]
    assert [each.partition(": ")[2] for each in held] == ["for the audit"]  # type: ignore[attr-defined]
    assert len(busy.cas("ls", "hold=*audit").stdout.splitlines()) > 2
    purge = busy.admin(*PURGE)
    assert (purge.returncode, purge.stdout) == (0, "")
    assert f"{busy.job('T-1')} stays: the crash {crash_id} is held by " in purge.stderr
    assert busy.cas("hold", "nothing").returncode == 2
    assert busy.cas("unhold", "type=crash").returncode == 0
    record = info_of((place(busy, crash_id) / "info.json").read_bytes())
    assert [each.what for each in record.changes] == ["hold", "unhold"]
    done = busy.admin(*PURGE)
    record = info_of((place(busy, crash_id) / "info.json").read_bytes())
    assert [each.what for each in record.changes] == ["hold", "unhold", "purge"]
    assert {each.by for each in record.changes} == {getpass.getuser()}
    assert done.stdout.count("removed ") == 2, done.stdout + done.stderr
    assert files(busy, ID) == files(busy, crash_id) == []


def test_what_is_in_use_is_told_and_stays_until_it_is_not(busy: Site, small: Path) -> None:
    crash_id = archived(busy, small)
    put(busy, ID, {b"old": WHOLE}, days=200)
    archive = opened(busy)
    with archive.using(crash_id), archive.using(ID):
        done = busy.admin(*PURGE)
        assert done.returncode == 0, done.stderr
        assert f"the crash {ID} is in use" in done.stderr
        assert f"{busy.job('T-1')} stays: the crash {crash_id} is in use" in done.stderr
        assert len(files(busy, ID)) == len(files(busy, crash_id)) == 1
    assert busy.admin(*PURGE).returncode == 0
    assert files(busy, ID) == files(busy, crash_id) == []


def test_what_stopped_runs_left_goes_and_nothing_that_may_still_become_something(
    busy: Site,
) -> None:
    put(busy, ID, {b"kept": WHOLE}, days=1)
    (kept,) = files(busy, ID)
    young = kept.with_name("ab" * 32)
    young.write_bytes(b"young")
    unborn = place(busy, "f" * 32) / "files"
    unborn.mkdir(parents=True)
    (unborn / "x.part").touch()
    assert busy.admin("-p", "--yes").stdout == ""
    an_hour, archive = time.time() + 3700, opened(busy)
    found = look_through(archive, datetime.fromtimestamp(an_hour, UTC)).leftovers
    assert {*found} >= {ID, "f" * 32}
    assert [path for path, _ in remove_leftovers(archive, ID, an_hour)] == [young]
    assert [path for path, _ in remove_leftovers(archive, "f" * 32, an_hour)] == [
        unborn / "x.part",
        unborn.parent,
    ]
    assert files(busy, ID) == [kept]
    assert not unborn.parent.exists()


def test_a_file_that_is_recorded_as_purged_goes_with_the_next_purge(busy: Site) -> None:
    put(busy, ID, {b"purged": msgspec.structs.replace(WHOLE, purged_s=1)}, days=1)
    (left,) = files(busy, ID)
    done = busy.admin("-p", "--yes")
    assert (
        done.stdout == f"removed {left}, which a stopped run left in the archive\n4.0 KiB freed\n"
    )
    assert files(busy, ID) == []


@pytest.mark.long
def test_an_upload_that_was_stopped_is_finished_before_what_is_left_goes(
    busy: Site, small: Path
) -> None:
    crash_id = busy.cas("object", small).stdout.strip()
    part = place(busy, crash_id) / ".info.json.part"
    inject = ["-P", str(part), "-e", "inject=rename:signal=SIGKILL"]
    command = [sys.executable, str(COMMANDS / "cas"), "upload", str(small)]
    killed = subprocess.run(
        [needs("strace"), "-f", "-qq", "-o", "/dev/null", *inject, *command],
        env=busy.prepared() | {"PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
    )
    assert killed.returncode == -9
    assert not (place(busy, crash_id) / "info.json").exists()
    (dump,) = files(busy, crash_id)
    later = replace(busy.world(), now=datetime.now(UTC) + timedelta(hours=2))
    purging, kept = Purging.of(later), list[str]()
    assert dump in list(purging.leftovers())
    old = purging.old(1000, with_unfinished=False)
    assert [*purging.remove(old, purging.remains(), kept), *kept] == []
    assert files(busy, crash_id) == [dump]
    assert info(busy, crash_id)["presence"] == "here"


def test_an_uploaded_crash_is_purged_with_the_rest_and_keeps_its_record(
    busy: Site, small: Path
) -> None:
    crash_id = busy.cas("upload", small).stdout.strip()
    assert busy.cas("set", crash_id, "triage", "bmc").returncode == 0
    done = busy.admin(*PURGE)
    assert f"removed files of the crash {crash_id}\n" in done.stdout, done.stderr
    found = info(busy, crash_id)
    assert (found["presence"], found["properties"]) == ("purged", {"triage": "bmc"})
    assert busy.admin("check").returncode == 0
    assert busy.cas("upload", small).stdout.strip() == crash_id
    assert info(busy, crash_id)["presence"] == "here"

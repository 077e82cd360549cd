"""Uploads: each dump once, all files of a crash together, and nothing lost when one is stopped."""

from __future__ import annotations

import json
import lzma
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from made_crashes import CUT, FILTERED, FLAT, FULL, PIECE, files_of_crash, weak_files

from cas.archive import incoming
from cas.archive.archive import Archive
from cas.choices import Fetch
from cas.commands import World
from cas.errors import DiskFull, NotADump, NotPermitted, TryAgain
from cas.files.digest import BLOCKS, Fingerprint
from cas.jobs.job import Job, load_job
from cas.jobs.lock import LOCK
from cas.jobs.order import Order
from cas.model.dump import Stored
from cas.progress import Silent

from installed import Answer, Site, answer


class Said(Silent):
    """Progress that keeps what it was told."""

    def __init__(self) -> None:
        self.text = ""

    def say(self, text: str) -> None:
        self.text += f"* {text}\n"

    def warn(self, text: str) -> None:
        self.text += f"! {text}\n"


@pytest.fixture
def site(site: Site) -> Site:
    """One without kernels, where all wait in a moment."""
    site.settings["debugs"] = str(site.directory / "debugs")
    return site


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def world(site: Site, said: Said) -> World:
    return replace(site.world(), progress=said)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return files_of_crash(tmp_path / "given")


def uploaded(world: World, *files: Path) -> Answer:
    return answer(replace(world, now=datetime.now(world.now.tzinfo)), "cas", "upload", *files)


def archive_of(world: World) -> Archive:
    return Archive.of(world.config)


def the_crash(world: World) -> dict[str, Any]:
    """What ``cas info`` prints of the only one."""
    found = answer(world, "cas", "info", "type=crash")
    assert found.status == 0
    told: dict[str, Any] = json.loads("\n".join(found.lines))
    return told


def left(world: World) -> list[Path]:
    """What lies where uploads are under way."""
    with suppress(FileNotFoundError):
        return list((archive_of(world).path / incoming.NAME).iterdir())
    return []


def require_sound(world: World, crash_id: str, contents: list[bytes]) -> None:
    """All files are there, once, as they were recorded, and nothing else is."""
    archive = archive_of(world)
    info = archive.read(crash_id)
    kept = {path.read_bytes() for path in (archive.directory_of(crash_id) / "files").iterdir()}
    assert kept == set(contents)
    assert len(info.files) == len(kept)
    for file in info.files:
        path = archive.path_of(info, file)
        assert path
        assert Fingerprint(file.size_bytes, str(file.digest)).fits(path)
        state = path.stat()
        assert (state.st_nlink, state.st_mode & 0o777) == (1, 0o400)
        assert file.looks == (state.st_ino, state.st_mtime_ns, state.st_ctime_ns)
    assert archive.answers(crash_id) == ([info.answer] if info.answer else [])
    assert left(world) == []


def test_an_upload_keeps_the_dump_and_its_first_answer_without_a_job(
    world: World, said: Said, files: dict[str, Path]
) -> None:
    dump = files[FULL]
    content = dump.read_bytes()
    found = uploaded(world, dump)
    (crash_id,) = answer(world, "cas", "object", dump).lines
    assert found == Answer((crash_id,), 0)
    assert "Linux 6.1.0-test" in said.text
    assert "! waiting: no debuginfo for 6.1.0-test" in said.text
    require_sound(world, crash_id, [content])
    assert dump.read_bytes() == content
    assert {path.name for path in world.config.work_directory.iterdir()} == {".archive"}
    info = archive_of(world).read(crash_id)
    assert info.facts["release"] == "6.1.0-test"
    assert (info.jobs, info.files[0].name) == ((), FULL)
    place = archive_of(world).answer_of(info)
    assert place
    result = json.loads((place / "result.json").read_text())
    assert result["dump"]["path"] == the_crash(world)["dump"]
    assert (result["ticket"], result["directory"]) == (crash_id, str(place))
    assert load_job(place).stored == incoming.reference_to(
        archive_of(world), crash_id, Fingerprint(0, BLOCKS).like(dump)
    )
    assert f"CAS report for {crash_id}" in (place / "report.txt").read_text()


def test_the_same_file_makes_no_second_copy_and_keeps_what_people_said(
    world: World, said: Said, files: dict[str, Path], tmp_path: Path
) -> None:
    (crash_id,) = uploaded(world, files[FULL]).lines
    for words in (("ticket", crash_id, "T-1"), ("set", crash_id, "triage", "bmc")):
        assert answer(world, "cas", *words).status == 0
    before = the_crash(world)
    packed = tmp_path / "other-name.xz"
    packed.write_bytes(lzma.compress(files[FULL].read_bytes()))
    other = Path(shutil.copy(files[FULL], tmp_path / "other-name"))
    for again in (files[FULL], other, packed, Path(before["dump"])):
        said.text = ""
        assert uploaded(world, again) == Answer((crash_id,), 0)
        assert f"the archive has this file, as {FULL} of {crash_id}: no second copy" in said.text
        assert the_crash(world) == before
        require_sound(world, crash_id, [files[FULL].read_bytes()])


@pytest.mark.parametrize(
    ("first", "second", "best"),
    [
        (CUT, FULL, FULL),
        (FULL, CUT, FULL),
        pytest.param(FILTERED, FULL, FULL, marks=pytest.mark.long),
        (FULL, FILTERED, FULL),
        pytest.param(CUT, FILTERED, FILTERED, marks=pytest.mark.long),
        pytest.param(PIECE, CUT, CUT, marks=pytest.mark.long),
        pytest.param(CUT, FLAT, FLAT, marks=pytest.mark.long),
    ],
)
def test_another_file_of_a_crash_is_kept_and_the_best_one_is_used(
    world: World, files: dict[str, Path], first: str, second: str, best: str
) -> None:
    (crash_id,) = uploaded(world, files[first]).lines
    assert uploaded(world, files[second]) == Answer((crash_id,), 0)
    require_sound(world, crash_id, [files[name].read_bytes() for name in (first, second)])
    info = archive_of(world).read(crash_id)
    assert info.best_file
    assert info.best_file.name == best
    assert info.facts_of == info.best_file.digest
    place = archive_of(world).answer_of(info)
    assert place
    path = json.loads((place / "result.json").read_text())["dump"]["path"]
    assert Path(path).read_bytes() == files[best].read_bytes()


def test_crashes_that_may_have_one_id_keep_all_their_bytes(
    world: World, said: Said, tmp_path: Path
) -> None:
    files = weak_files(tmp_path)
    found = uploaded(world, *files)
    (crash_id,) = set(found.lines)
    assert (len(found.lines), found.status) == (2, 0)
    require_sound(world, crash_id, [file.read_bytes() for file in files])
    assert archive_of(world).read(crash_id).is_weak
    assert said.text.count("may be of several crashes") == 1


def test_when_it_was_added_stands_for_the_time_of_a_crash_that_tells_none(
    world: World, tmp_path: Path
) -> None:
    first, second = weak_files(tmp_path)
    (crash_id,) = uploaded(world, first).lines
    with archive_of(world).changing(crash_id) as draft:
        long_ago_s = draft.info.added_s - 1000
        draft.info = msgspec.structs.replace(
            draft.info, added_s=long_ago_s, time_s=long_ago_s, facts_at_s=long_ago_s
        )
    uploaded(world, first)
    uploaded(world, second)
    told = the_crash(world)
    assert (told["time"], told["added"], len(told["files"])) == (long_ago_s, long_ago_s, 2)


def test_one_of_several_that_is_no_dump_keeps_no_other(
    world: World, said: Said, files: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "text").write_text("no dump")
    found = uploaded(world, tmp_path / "text", files[FULL], tmp_path / "gone")
    assert (len(found.lines), found.status) == (1, 4)
    assert f"* {files[FULL]}\n" in said.text
    assert f"! {tmp_path / 'text'}: " in said.text
    assert f"! {tmp_path / 'gone'}: cannot read" in said.text
    for only in ("text", "gone"):
        with pytest.raises(NotADump):
            uploaded(world, tmp_path / only)
    assert left(world) == []


def test_a_kernel_log_comes_through_a_pipe(site: Site) -> None:
    log = sorted((Path(__file__).parents[1] / "findings" / "logs").glob("*.log"))[0].read_text()
    done = site.cas("upload", "-", input=log)
    assert done.returncode == 0, done.stderr
    found = json.loads(site.cas("info", done.stdout.strip()).stdout)
    assert (found["format"], found["files"][0]["name"]) == ("kernel log", "stdin")
    assert Path(found["dump"]).read_text() == log


def test_where_there_is_no_room_nothing_is_kept(site: Site, files: dict[str, Path]) -> None:
    site.settings["diskReserve"] = "1000T"
    with pytest.raises(DiskFull) as caught:
        uploaded(site.world(), files[FULL])
    assert caught.value.exit_code == 75
    assert "cas upload" in caught.value.hint
    assert left(site.world()) == []
    assert answer(site.world(), "cas", "ls").lines[1:] == ()
    assert not list(archive_of(site.world()).ids())


def test_an_archive_that_cannot_be_written_is_told(site: Site, files: dict[str, Path]) -> None:
    site.settings["store"] = "/proc/self/archive"  # not even root makes a directory there
    with pytest.raises((NotPermitted, TryAgain)) as caught:
        uploaded(site.world(), files[FULL])
    assert "/proc/self/archive" in str(caught.value)
    assert caught.value.exit_code in (2, 75)


@pytest.fixture
def stopped(world: World, files: dict[str, Path]) -> Iterator[Path]:
    """An upload whose run was killed once its dump was there, and nothing was known of it."""
    order = Order(incoming.NAME, files[FULL], fetch=Fetch.ALL)
    with incoming.new_upload(archive_of(world), order, world.now) as job:
        dump = job.directory / "vmcore" / FULL
        dump.parent.mkdir()
        shutil.copy(files[FULL], dump)
        kept = {f"vmcore/{FULL}": Fingerprint.of(dump)}
        replace(job, stored=Stored(dump), files=kept).save()
        assert incoming_is_left_alone(world)
    yield job.directory


def incoming_is_left_alone(world: World) -> bool:
    """Whether another run leaves an upload that is under way."""
    return answer(world, "cas-admin", "index").status == 0 and len(left(world)) == 1


def test_an_upload_that_was_stopped_is_finished_by_the_next_index(
    world: World, said: Said, files: dict[str, Path], stopped: Path
) -> None:
    assert answer(world, "cas-admin", "index").status == 0
    assert "was stopped: it is in the archive now" in said.text
    crash_id = the_crash(world)["id"]
    require_sound(world, crash_id, [files[FULL].read_bytes()])
    assert not stopped.exists()
    assert the_crash(world)["verdict"] == "interrupted"
    assert uploaded(world, files[FULL]) == Answer((crash_id,), 0)
    assert the_crash(world)["verdict"] == "waiting"
    require_sound(world, crash_id, [files[FULL].read_bytes()])


def test_what_a_stopped_upload_left_without_a_dump_is_removed(
    world: World, files: dict[str, Path]
) -> None:
    order = Order(incoming.NAME, files[CUT], fetch=Fetch.ALL)
    with incoming.new_upload(archive_of(world), order, world.now) as job:
        (job.directory / "vmcore").mkdir()
        (job.directory / "vmcore" / CUT).write_bytes(b"half")
    (crash_id,) = uploaded(world, files[FULL]).lines
    require_sound(world, crash_id, [files[FULL].read_bytes()])


def test_nobody_takes_up_an_upload_that_is_being_removed(
    world: World, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, taken = archive_of(world), list[Job]()
    remove_tree = shutil.rmtree

    def half_removed(path: Path) -> None:
        (path / LOCK).unlink()  # which frees the lock for who looks now
        taken.extend(incoming.left_uploads(archive))
        remove_tree(path)

    order = Order(incoming.NAME, files[CUT], fetch=Fetch.ALL)
    with incoming.new_upload(archive, order, world.now) as job:
        monkeypatch.setattr(shutil, "rmtree", half_removed)
        incoming.remove_upload(job)
    assert (taken, left(world)) == ([], [])


def test_what_a_killed_removal_of_an_upload_left_goes_with_the_next_upload(
    world: World, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    order = Order(incoming.NAME, files[CUT], fetch=Fetch.ALL)
    with (
        incoming.new_upload(archive_of(world), order, world.now) as job,
        monkeypatch.context() as patched,
    ):
        patched.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            incoming.remove_upload(job)
    assert len(left(world)) == 1
    uploaded(world, files[FULL])
    assert left(world) == []


def test_the_beginning_of_a_file_of_a_server_is_kept_for_its_url(
    world: World, files: dict[str, Path]
) -> None:
    url = "https://dumps.example.com/vmcore"
    order = Order(incoming.NAME, Path(), url=url, fetch=Fetch.ALL)
    with incoming.new_upload(archive_of(world), order, world.now) as job:
        (job.directory / "download").mkdir()
        part = job.directory / "download" / ".vmcore.part"
        part.write_bytes(b"begun")
    uploaded(world, files[FULL])
    assert part.read_bytes() == b"begun"
    with ExitStack() as stack:
        found = incoming.begun_upload(archive_of(world), url, stack)
        assert found
        assert found.directory == job.directory
        assert incoming.begun_upload(archive_of(world), url, stack) is None  # it is ours
    os.utime(part, (1, 1))
    uploaded(world, files[FULL])
    assert left(world) == []


def test_a_database_of_no_use_keeps_no_upload(
    site: Site, world: World, said: Said, files: dict[str, Path]
) -> None:
    Path(site.settings["database"]).mkdir()
    found = uploaded(world, files[FULL])
    (crash_id,) = found.lines
    assert found.status == 75
    assert "the index has it with the next command" in said.text
    Path(site.settings["database"]).rmdir()
    assert the_crash(world)["id"] == crash_id
    require_sound(world, crash_id, [files[FULL].read_bytes()])


def test_a_damaged_file_of_the_archive_is_replaced_by_a_sound_one(
    world: World, files: dict[str, Path]
) -> None:
    (crash_id,) = uploaded(world, files[FULL]).lines
    kept = Path(the_crash(world)["dump"])
    kept.chmod(0o600)
    with kept.open("r+b") as file:
        file.seek(-10, os.SEEK_END)
        file.write(b"damage")
    assert uploaded(world, files[FULL]) == Answer((crash_id,), 0)
    require_sound(world, crash_id, [files[FULL].read_bytes()])


def test_an_upload_waits_for_its_kernel_and_a_build_completes_it(
    site_b: Site, vmcore_b: Path
) -> None:
    kernels = site_b.settings["kernels"]
    database = Path(site_b.settings["database"])
    catalogue = database.read_bytes()
    database.unlink()
    site_b.settings["kernels"] = str(site_b.directory / "kernels")
    site_b.settings["debugs"] = str(site_b.directory / "debugs")
    assert site_b.cas("upload", vmcore_b).returncode == 0
    database.write_bytes(catalogue)
    for file in site_b.directory.glob("cas.db-*"):
        file.unlink()
    site_b.settings["kernels"] = kernels
    assert site_b.admin("index").returncode == 0
    done = site_b.admin("resume")
    assert done.stdout.startswith("complete "), done.stderr
    found = json.loads(site_b.cas("info", vmcore_b).stdout)
    assert found["verdict"] == "complete"
    assert found["culprit"]
    assert site_b.admin("resume").stdout == ""
    assert left(site_b.world()) == []


@pytest.fixture
def elsewhere(site: Site) -> Iterator[Path]:
    """The archive on another file system than the jobs."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == site.directory.stat().st_dev:
        pytest.skip(f"{memory} is no file system of its own here")
    with TemporaryDirectory(dir=memory) as name:
        site.settings["store"] = f"{name}/archive"
        yield Path(name) / "archive"


@pytest.mark.parametrize("is_job_first", [True, pytest.param(False, marks=pytest.mark.long)])
def test_on_another_file_system_jobs_keep_their_dumps_and_uploads_are_copied(
    site: Site, elsewhere: Path, files: dict[str, Path], *, is_job_first: bool
) -> None:
    calls = [(6, ("-i", "T-1", "-f", files[FULL])), (0, ("upload", files[FULL]))]
    for status, words in calls if is_job_first else reversed(calls):
        assert site.cas(*words).returncode == status
        if words[0] == "-i" and is_job_first:
            own = site.job("T-1") / "vmcore" / FULL
            found = json.loads(site.cas("info", "T-1").stdout)
            assert (found["dump"], found["presence"]) == (str(own), "here")
    found = json.loads(site.cas("info", "T-1").stdout)
    assert Path(found["dump"]).is_relative_to(elsewhere)
    assert [file["at"] for file in found["files"]] == [None]
    require_sound(site.world(), found["id"], [files[FULL].read_bytes()])


@pytest.mark.parametrize("is_job_first", [True, pytest.param(False, marks=pytest.mark.long)])
def test_a_job_and_an_upload_have_one_copy(
    site: Site, files: dict[str, Path], *, is_job_first: bool
) -> None:
    calls = [(6, ("-i", "T-1", "-f", files[FULL])), (0, ("upload", files[FULL]))]
    for status, words in calls if is_job_first else reversed(calls):
        assert site.cas(*words).returncode == status
    found = json.loads(site.cas("info", "T-1").stdout)
    assert Path(found["dump"]).samefile(site.job("T-1") / "vmcore" / FULL)
    assert Path(found["dump"]).stat().st_nlink == 2
    assert [file["name"] for file in found["files"]] == [FULL]


def test_a_dump_that_stays_where_it_is_comes_to_the_archive_by_an_upload(
    site: Site, files: dict[str, Path]
) -> None:
    site.settings["storage"] = "reference"
    assert site.cas("-i", "T-1", "-f", files[FULL]).returncode == 6
    found = json.loads(site.cas("info", "T-1").stdout)
    assert (found["dump"], found["presence"]) == (str(files[FULL]), "elsewhere")
    assert site.cas("upload", files[FULL]).returncode == 0
    require_sound(site.world(), found["id"], [files[FULL].read_bytes()])
    assert json.loads(site.cas("info", "T-1").stdout)["presence"] == "here"


def test_jobs_wait_while_their_crash_is_changed(
    site: Site, world: World, files: dict[str, Path]
) -> None:
    (crash_id,) = uploaded(world, files[FULL]).lines
    with archive_of(world).changing(crash_id):
        job = site.start("cas", "-i", "T-1", "-f", files[FULL])
        while not list(site.jobs.glob("T-1/*/sys")):  # that is written before
            assert job.poll() is None
            time.sleep(0.05)
        assert archive_of(world).read(crash_id).jobs == ()
    with job:
        assert job.wait(60) == 6
    assert len(archive_of(world).read(crash_id).jobs) == 1


@pytest.mark.parametrize("uploaded_name", [FULL, pytest.param(CUT, marks=pytest.mark.long)])
def test_what_somebody_uploaded_does_not_go_with_the_last_job(
    site: Site, files: dict[str, Path], uploaded_name: str
) -> None:
    assert site.cas("-i", "T-1", "-f", files[CUT]).returncode == 6
    crash_id = site.cas("upload", files[uploaded_name]).stdout.strip()
    assert site.admin("-p", "-d", "0", "--unfinished", "--yes").returncode == 0
    archive = archive_of(site.world())
    left = {each.name for each in archive.read(crash_id).files if each.purged_s is None}
    assert left == {uploaded_name}
    kept = list((archive.directory_of(crash_id) / "files").iterdir())
    assert [path.read_bytes() for path in kept] == [files[uploaded_name].read_bytes()]

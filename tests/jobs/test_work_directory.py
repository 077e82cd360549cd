"""What below the work directory is ours, and what is left alone."""

from __future__ import annotations

import grp
import os
import pwd
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

import pytest

from cas.engines import salvage
from cas.engines.crash import wrapper
from cas.errors import CasError, Refused, TryAgain
from cas.files.whole import opener_below, read_regular, write_whole, writing_below
from cas.jobs.job import Job, load_job
from cas.jobs.lock import lock_job
from cas.jobs.log import logged
from cas.jobs.new_job import create_job
from cas.jobs.order import Order
from cas.jobs.work_directory import Kind, UnsafeWorkDirectory, WorkDirectory
from cas.model.dump import Dump
from cas.progress import Silent
from cas.report import outbox
from cas.settings.config import Config

STAMP = "2026.11.21.08.41.20"
NOBODY = 65534
NOW = datetime(2026, 11, 21, 8, 41, 20, tzinfo=UTC)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def make_fifo(path: Path, _: Path) -> None:
    os.mkfifo(path)


@pytest.fixture
def work(tmp_path: Path) -> WorkDirectory:
    """With the job T-1."""
    (tmp_path / "cores").mkdir()
    found = WorkDirectory(tmp_path / "cores")
    job(found.path, "T-1")
    return found


def job(cores: Path, ticket: str, stamp: str = STAMP) -> Path:
    directory = cores / ticket / stamp
    directory.mkdir(parents=True)
    (directory / "job.json").write_text("{}")
    return directory


def kinds(work: WorkDirectory) -> dict[str, Kind]:
    return {str(entry.path.relative_to(work.path)): entry.kind for entry in work.entries()}


def test_left_overs_have_the_exact_form_of_our_names(work: WorkDirectory) -> None:
    ticket = work.path / "T-1"
    ours = {".new-ab_c01xy": Kind.UNBORN, f".purged-{STAMP}": Kind.PURGED}
    for name in (*ours, ".new-x", ".new-ABCDEFGH", ".new-abcdefghi", ".purged-x", ".purged-", "x"):
        (ticket / name).mkdir()
    found = kinds(work)
    assert found.pop(f"T-1/{STAMP}") is Kind.JOB
    assert found == {f"T-1/{name}": kind for name, kind in ours.items()}


def test_nothing_below_a_name_that_is_no_ticket_is_ours(work: WorkDirectory) -> None:
    job(work.path, ".hidden")
    job(work.path, "a..b")
    assert list(kinds(work)) == [f"T-1/{STAMP}"]


def test_symbolic_links_are_named_and_not_followed(work: WorkDirectory, tmp_path: Path) -> None:
    outside = job(tmp_path / "outside", "T-9")
    (work.path / "T-2").symlink_to(outside.parent)
    (work.path / "T-3").mkdir()
    (work.path / "T-3" / STAMP).symlink_to(outside)
    (work.path / "T-3" / ".new-abcdefgh").symlink_to(outside)
    assert list(work.jobs()) == [work.path / "T-1" / STAMP]
    (line,) = work.skipped()
    assert line == (
        f"left alone in {work.path}: T-2, T-3/.new-abcdefgh, T-3/{STAMP}: a symbolic link"
    )


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/etc/passwd")])
def test_a_record_that_is_no_regular_file_makes_no_job(
    work: WorkDirectory, make: Callable[[Path], object]
) -> None:
    record = job(work.path, "T-2") / "job.json"
    record.unlink()
    make(record)
    assert list(work.jobs("T-2")) == []
    assert work.skipped() == [
        f"left alone in {work.path}: T-2/{STAMP}: its job.json is no regular file"
    ]
    with pytest.raises(CasError, match="it is no regular file"):
        load_job(record.parent)


@as_root
def test_what_belongs_to_others_is_named_with_its_owner(work: WorkDirectory) -> None:
    theirs = job(work.path, "T-2")
    os.chown(theirs.parent, NOBODY, NOBODY)
    os.chown(job(work.path, "T-3"), NOBODY, NOBODY)
    os.chown(job(work.path, "T-4") / "job.json", NOBODY, NOBODY)
    (work.path / "notes").mkdir()
    os.chown(work.path / "notes", NOBODY, NOBODY)
    nobody = pwd.getpwuid(NOBODY).pw_name
    assert list(work.jobs()) == [work.path / "T-1" / STAMP]
    assert work.skipped() == [
        f"left alone in {work.path}: T-2, T-3/{STAMP}: belongs to {nobody}",
        f"left alone in {work.path}: T-4/{STAMP}: its job.json belongs to {nobody}",
    ]
    assert len(list(WorkDirectory(work.path, frozenset({0, NOBODY})).jobs())) == 4


@as_root
def test_casuser_owns_jobs_too(work: WorkDirectory) -> None:
    nobody = pwd.getpwuid(NOBODY).pw_name
    config = Config(work.path, work.path, work.path, "", casuser=nobody)
    assert WorkDirectory.of(config).owners == {0, NOBODY}


@pytest.mark.parametrize("mode", [0o777, 0o702])
def test_where_others_may_write_is_not_ours(work: WorkDirectory, mode: int) -> None:
    (work.path / "T-1").chmod(mode)
    job(work.path, "T-2").chmod(mode)
    assert list(work.jobs()) == []
    (line,) = work.skipped()
    assert line.startswith(f"left alone in {work.path}: T-1, T-2/{STAMP}: others may write")


def test_the_owners_private_group_is_not_others(work: WorkDirectory) -> None:
    user = pwd.getpwuid(os.geteuid())
    if grp.getgrgid(user.pw_gid).gr_name != user.pw_name:
        pytest.skip("this user has no private group")
    os.chown(work.path / "T-1", -1, user.pw_gid)
    (work.path / "T-1").chmod(0o770)
    assert list(work.jobs()) != []
    # acl(5): user::rwx user:65534:rwx group::rwx mask::rwx other::---, as the kernel keeps them
    entries = ((1, 7, -1), (2, 7, NOBODY), (4, 7, -1), (0x10, 7, -1), (0x20, 0, -1))
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    os.setxattr(work.path / "T-1", "system.posix_acl_access", acl)
    assert list(work.jobs()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_the_private_group_of_casuser_is_not_others(tmp_path: Path) -> None:
    user = pwd.getpwnam("daemon")  # with a private group on every Debian
    work = WorkDirectory(tmp_path / "cores", frozenset({os.geteuid(), user.pw_uid}))
    work.path.mkdir()
    os.chown(work.path, 0, user.pw_gid)
    work.path.chmod(0o2770)
    work.require_safe()
    with pytest.raises(UnsafeWorkDirectory):
        WorkDirectory(work.path).require_safe()


@pytest.mark.parametrize(
    ("mode", "is_safe"), [(0o755, True), (0o1777, True), (0o777, False), (0o3777, True)]
)
def test_the_sticky_bit_protects_a_work_directory(
    work: WorkDirectory, mode: int, *, is_safe: bool
) -> None:
    work.path.chmod(mode)
    if is_safe:
        work.require_safe()
        return
    with pytest.raises(UnsafeWorkDirectory, match=r"others than .* may write") as caught:
        work.require_safe()
    assert f"chmod +t {work.path}" in caught.value.hint


@as_root
def test_a_strangers_work_directory_is_not_used(work: WorkDirectory) -> None:
    os.chown(work.path, NOBODY, NOBODY)
    with pytest.raises(UnsafeWorkDirectory, match="belongs to nobody"):
        work.require_safe()


def test_no_job_is_made_in_a_directory_that_is_not_ours(
    work: WorkDirectory, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (work.path / "T-2").symlink_to(tmp_path / "outside")
    (work.path / "T-3").touch()
    for ticket in ("T-2", "T-3"):
        with pytest.raises(Refused, match="is no place for a job"):
            create_job(work, Order(ticket, tmp_path / "vmcore"), NOW)
    assert list((tmp_path / "outside").iterdir()) == []


def test_only_regular_files_are_read_and_written(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (tmp_path / "link").symlink_to(secret)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "below").symlink_to(tmp_path)
    for name in ("link", "fifo", "below/secret", "absent"):
        with pytest.raises(OSError, match=r"regular|directory"):
            read_regular(tmp_path / name, 100)
    with pytest.raises(OSError, match="more than 5"):
        read_regular(secret, 5)
    assert read_regular(secret, 6) == b"secret"
    with pytest.raises(OSError, match="symbolic"):
        open(tmp_path / "link", "w", opener=opener_below(tmp_path))  # noqa: SIM115
    assert secret.read_text() == "secret"


def write_log(job: Job) -> None:
    with logged(job, "INFO", Silent()):
        pass


def take_lock(job: Job) -> None:
    with lock_job(job.directory):
        pass


INSTALLED = wrapper.Installation("/usr/bin/python3", Path("/opt/cas"))
WRITERS: dict[str, Callable[[Job], object]] = {
    "crash.in": lambda job: wrapper.write_commands(job.directory, []),
    "crash.out": lambda job: wrapper.write_transcript(job.directory, []),
    "crash": lambda job: wrapper.write_wrapper(job.directory, INSTALLED),
    "sys": lambda job: salvage.salvaged_sections(dump(job), job.directory),
    "T-1.log": write_log,
    ".lock": take_lock,
    ".mail.lock": lambda job: outbox.queue(EmailMessage(), job.directory),
    ".result.json.part": lambda job: write_whole(job.directory / "result.json", b"{}"),
}
"""What writes a file of a job, by the file's name."""


def dump(job: Job) -> Dump:
    return Dump(job.directory / "vmcore", "ELF", 0, "x86_64", osrelease="6.1")


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("make", [lambda path, victim: path.symlink_to(victim), make_fifo])
def test_nothing_is_written_through_what_stands_in_a_files_place(
    tmp_path: Path, name: str, make: Callable[[Path, Path], object]
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    job = create_job(WorkDirectory(tmp_path / "cores"), Order("T-1", tmp_path / "vmcore"), NOW)
    make(job.directory / name, victim)
    if make is make_fifo and name.endswith(".lock"):  # a lock is taken, nothing is written
        WRITERS[name](job)
        return
    with (
        pytest.raises(CasError, match="is a symbolic link or no file, and left alone") as caught,
        writing_below(job.directory),
    ):
        WRITERS[name](job)
    assert caught.value.hint.endswith(f": rm {job.directory / name}")
    assert victim.read_text() == "precious"


def test_an_upload_that_goes_while_a_job_is_written_is_not_said_to_be_written(
    tmp_path: Path,
) -> None:
    gone = pytest.raises(TryAgain, match="up/vmcore is not there any more")
    with gone, writing_below(tmp_path / "job"):
        (tmp_path / "up" / "vmcore").stat()

"""Dumps of the archive in a store, moto's S3, and back again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

sys.path.append(str(Path(__file__).parents[1] / "fetch"))

from made_crashes import FULL, files_of_crash
from moved_crashes import opened, put_crash
from store_servers import BUCKET, know_store, opened_bucket, served_store, spoiling

from cas.archive.record import Info

from installed import Site, few_of

TIER = f"s3://{BUCKET}/tier"
ID = "ab" * 16
OTHER = "cd" * 16
LOG = "ef" * 16


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A store with an empty bucket."""
    with served_store() as endpoint:
        yield endpoint


@pytest.fixture
def moving(site: Site, endpoint: str) -> Site:
    """A site that knows it."""
    know_store(site, endpoint)
    site.settings["engine"] = "drgn"
    return site


def files_of(site: Site, info: Info) -> list[Path]:
    return sorted((opened(site).directory_of(info.id) / "files").iterdir())


def test_a_crash_goes_to_a_store_and_comes_back_as_it_was(moving: Site) -> None:
    content = bytes(range(256)) * 40_000  # 10 MB: in parts, and blocks of the digest
    before = put_crash(moving, ID, content)
    done = moving.cas("move", ID, "--to", TIER)
    assert done.returncode == 0, done.stderr
    assert f"{ID} is in {TIER} now" in done.stdout
    moved = opened(moving).read(ID)
    assert files_of(moving, moved) == []
    (file,) = moved.files
    assert file.copy
    hex_digits = str(file.digest).partition(":")[2]
    assert file.at == file.copy.url == f"{TIER}/{ID}/{hex_digits}"
    assert (file.digest, file.size_bytes) == (before.files[0].digest, len(content))
    assert moving.cas("ls", "presence=elsewhere").stdout.count("\n") == 2
    done = moving.cas("move", ID, "--to", "local")
    assert done.returncode == 0, done.stderr
    assert f"{ID} is on this machine again; its copy stays: {file.at}" in done.stdout
    (path,) = files_of(moving, before)
    assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == 0o400
    back = opened(moving).read(ID)
    assert (path.name, back.files[0].at) == (hex_digits, None)
    assert [each.what for each in back.changes] == [f"move to {file.at}", "move to local"]
    assert moving.cas("ls", "presence=here").stdout.count("\n") == 2
    checked = moving.admin("check")
    assert checked.returncode == 0, checked.stdout
    assert moving.cas("move", ID, "--to", TIER).returncode == 0
    moving.settings["diskReserve"] = "100T"
    done = moving.cas("move", ID, "--to", "local")
    assert (done.returncode, "no room for " in done.stderr) == (75, True)
    assert list((opened(moving).path / "moves").iterdir()) == []  # nothing has come
    del moving.settings["diskReserve"]
    assert moving.cas("move", ID, "--to", "local").returncode == 0
    # once it is purged here, its copy is told
    assert moving.admin("purge", "--larger", "1", "--delete").returncode == 0
    done = moving.cas("move", ID, "--to", "local")
    assert done.stderr.endswith(
        f"were purged; a copy may be in the store still: cas upload {file.at}\n"
    )


def test_a_moved_dump_of_a_job_is_read_where_it_is_and_comes_back_into_the_job(
    site_b: Site, endpoint: str, vmcore_b: Path
) -> None:
    site = site_b
    know_store(site, endpoint)
    site.settings["engine"] = "drgn"
    site.keep_snippets("sys")
    assert site.cas("-i", "T-1", "-f", vmcore_b).returncode == 0
    job, archive = site.job("T-1"), opened(site)
    (crash_id,) = archive.ids()
    dump = job / "vmcore" / vmcore_b.name
    assert dump.stat().st_nlink == 2
    done = site.cas("move", crash_id, "--to", TIER)
    assert done.returncode == 0, done.stderr
    # no second name keeps the bytes, and the job is whole without them
    assert not dump.exists()
    assert files_of(site, archive.read(crash_id)) == []
    checked = site.admin("check")
    assert checked.returncode == 0, checked.stdout
    shown = site.cas("show", "T-1")
    assert "NULL pointer" in shown.stdout + shown.stderr, shown.stderr
    # by ranges, with the job's kmods, by its ticket, its id and its own script
    back = f"cas move {crash_id} --to local"
    for words in (("debug", "T-1", "-c", "bt"), ("debug", crash_id, "-c", "bt")):
        done = site.cas(*words)
        assert done.returncode == 0, done.stderr
        assert f"the dump is read where it is, {TIER}/" in done.stderr
        assert back in done.stderr
        assert "cas_" in done.stdout
    done = site.cas("debug", "T-1", "--engine", "crash", "-c", "bt")
    assert done.returncode == 2
    assert f"to fetch it: {back}" in done.stderr
    done = site.cas("analyze", crash_id, "bt")
    assert (done.returncode, "cas_" in done.stdout) == (0, True), done.stderr
    site.cas("analyzer", "python", input="print(prog['init_uts_ns'].name.release.string_())")
    done = site.cas("analyze", crash_id, "python")
    assert (done.returncode, "b'6.1." in done.stdout) == (0, True), done.stderr
    site.cas("analyzer", "shell", input="#!/bin/sh\ntest -s $CAS_DUMP")
    done = site.cas("analyze", crash_id, "shell")
    assert (done.returncode, back in done.stderr) == (2, True), done.stderr
    assert site.cas("move", crash_id, "--to", "local").returncode == 0
    assert dump.stat().st_nlink == 2
    assert dump.read_bytes() == vmcore_b.read_bytes()
    assert site.admin("check").returncode == 0
    done = site.cas("debug", "T-1", "-c", "bt")
    assert "read where it is" not in done.stderr


def prefix(directory: Path) -> str:
    """A place in the store that no other test uses."""
    return f"{TIER}/{directory.name}"


SPOILT = {
    "refuses to take it": ({"PUT": ["403"]}, 4, "403 Forbidden"),
    "refuses to give it back": ({"GET": ["404", "403"]}, 4, "403 Forbidden"),
    "gives other bytes back": ({"GET": ["fine", "lies"]}, 4, "the file stays here"),
    "is full": ({"PUT": ["507"]}, 75, "507 Insufficient Storage"),
    "is too busy": ({"PUT": ["503"]}, 75, "503 Service Unavailable"),
    "dies": ({"PUT": ["dies"]}, 75, "cannot be reached, or breaks off"),
    "dies while it is read": ({"GET": ["fine", "dies"]}, 75, "s3://"),
}


@pytest.mark.parametrize("how", few_of(SPOILT, {"refuses to take it", "gives other bytes back"}))
def test_a_store_that_fails_costs_no_file_and_the_next_move_goes_there(
    moving: Site, endpoint: str, tmp_path: Path, how: str
) -> None:
    spoilt, status, said = SPOILT[how]
    info = put_crash(moving, ID, b"dump" * 1000)
    with spoiling(endpoint, **{name: [*acts] for name, acts in spoilt.items()}) as bad:
        know_store(moving, bad)
        done = moving.cas("move", ID, "--to", prefix(tmp_path))
    assert (done.returncode, said in done.stderr) == (status, True), done.stderr
    assert "Traceback" not in done.stderr
    assert opened(moving).read(ID).files == info.files
    assert files_of(moving, info)[0].read_bytes() == b"dump" * 1000
    know_store(moving, endpoint)
    assert moving.cas("move", ID, "--to", prefix(tmp_path)).returncode == 0
    assert moving.cas("ls", "presence=elsewhere").stdout.count("\n") == 2


def test_a_store_that_is_busy_once_is_asked_again(
    moving: Site, endpoint: str, tmp_path: Path
) -> None:
    put_crash(moving, ID, b"dump" * 1000)
    with spoiling(endpoint, PUT=["503", "fine"], GET=["503", "fine"]) as bad:
        know_store(moving, bad)
        done = moving.cas("move", ID, "--to", prefix(tmp_path))
    assert done.returncode == 0, done.stderr


def test_a_copy_that_changes_or_goes_is_told_and_what_is_known_stays(
    moving: Site, endpoint: str, tmp_path: Path
) -> None:
    import obstore

    dump = files_of_crash(tmp_path / "given")[FULL]
    crash_id = moving.cas("object", dump).stdout.strip()
    put_crash(moving, crash_id, dump.read_bytes())
    assert moving.cas("move", crash_id, "--to", prefix(tmp_path)).returncode == 0
    (file,) = opened(moving).read(crash_id).files
    key, bucket = str(file.at).removeprefix(f"s3://{BUCKET}/"), opened_bucket(endpoint)
    # the same dump is known by its digest, while the store has it
    done = moving.cas("upload", dump)
    assert f"in {file.at}: no second copy" in done.stderr
    assert opened(moving).read(crash_id).files[0].is_moved
    obstore.put(bucket, key, bytes(file.size_bytes))
    done = moving.cas("move", crash_id, "--to", "local")
    assert (done.returncode, "is not what was moved there" in done.stderr) == (4, True)
    assert moving.cas("ls", "presence=missing").stdout.count("\n") == 2
    assert opened(moving).read(crash_id).files[0].is_moved
    # nothing there is overwritten, whoever comes
    assert bytes(obstore.get(bucket, key).bytes()) == bytes(file.size_bytes)
    obstore.delete(bucket, key)
    checked = moving.admin("check")
    assert (checked.returncode, "is gone from there" in checked.stdout) == (4, True)
    # what may be lost is taken once more
    done = moving.cas("upload", dump)
    assert "no second copy" not in done.stderr
    assert opened(moving).read(crash_id).files[0].at is None
    assert moving.cas("ls", "presence=here").stdout.count("\n") == 2


def test_an_object_of_that_name_that_is_another_one_is_never_overwritten(
    moving: Site, endpoint: str, tmp_path: Path
) -> None:
    import obstore

    info = put_crash(moving, ID, b"dump" * 1000)
    digest = str(info.files[0].digest).partition(":")[2]
    key = f"{prefix(tmp_path)}/{ID}/{digest}".removeprefix(f"s3://{BUCKET}/")
    for other in (b"another", b"DUMP" * 1000):
        obstore.put(opened_bucket(endpoint), key, other)
        done = moving.cas("move", ID, "--to", prefix(tmp_path))
        assert (done.returncode, "move to another prefix" in done.stderr) == (4, True)
        assert bytes(obstore.get(opened_bucket(endpoint), key).bytes()) == other
    assert opened(moving).read(ID).files == info.files


def test_what_is_used_or_waited_for_stays_and_a_dry_run_says_so(
    moving: Site, tmp_path: Path
) -> None:
    archive = opened(moving)
    put_crash(moving, ID, b"dump" * 1000)
    with archive.using(ID):
        done = moving.cas("move", ID, "--to", prefix(tmp_path))
        assert (done.returncode, "is in use" in done.stderr) == (75, True)
    with archive.changing(ID) as draft:
        draft.info = msgspec.structs.replace(draft.info, facts={"verdict": "waiting"})
    put_crash(moving, OTHER, b"other" * 1600)
    assert moving.cas("hold", OTHER).returncode == 0
    done = moving.cas("move", "type=crash", "--to", prefix(tmp_path), "-n")
    waits, moves = done.stdout.splitlines()
    assert waits.startswith(f"the crash {ID} stays here: its analysis waits for a kernel")
    assert moves == f"{OTHER} would be moved to {prefix(tmp_path)}  8.0 KiB"
    # what has no file to be moved is not waited for
    put_crash(moving, LOG, b"log")
    with archive.changing(LOG) as draft:
        files = (msgspec.structs.replace(draft.info.files[0], format="kernel log"),)
        draft.info = msgspec.structs.replace(
            draft.info, facts={"verdict": "waiting"}, files=files, changes=()
        )
    done = moving.cas("move", LOG, "--to", prefix(tmp_path))
    assert done.stderr == f"* {LOG} has no file that could be moved\n"
    with archive.changing(LOG) as draft:
        draft.info = msgspec.structs.replace(draft.info, facts={"verdict": "partial"})
    assert moving.admin("purge", f"id={LOG}", "--larger", "1", "--delete").returncode == 0
    assert moving.cas("ls", "presence=here").stdout.count("\n") == 3
    # held ones are moved: nothing is lost
    done = moving.cas("move", "type=crash", "--to", prefix(tmp_path))
    assert done.returncode == 1
    assert f"{OTHER} is in {prefix(tmp_path)} now" in done.stdout


def test_the_rule_for_the_timer_takes_what_nobody_has_used(moving: Site, tmp_path: Path) -> None:
    done = moving.cas("move", "--due")
    assert (done.returncode, "`tierAfter` of cas.conf is not set" in done.stderr) == (2, True)
    moving.settings |= {"tierAfter": "30 days", "tierStore": prefix(tmp_path)}
    put_crash(moving, ID, b"old" * 1000, age_s=31 * 86_400)
    put_crash(moving, OTHER, b"new" * 1000, age_s=29 * 86_400)
    done = moving.cas("move", "--due")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{ID} is in {prefix(tmp_path)} now; 4.0 KiB freed"]
    assert moving.cas("move", ID, "--to", "local").returncode == 0
    assert moving.cas("move", "--due").stdout == ""


def test_another_name_of_a_file_is_told_and_a_stopped_move_is_finished(
    moving: Site, tmp_path: Path
) -> None:
    info = put_crash(moving, ID, b"dump" * 1000)
    (path,) = files_of(moving, info)
    own = tmp_path / "own"
    own.hardlink_to(path)
    done = moving.cas("move", ID, "--to", prefix(tmp_path))
    assert "had another name: its bytes stay on the disk there" in done.stderr
    # as a kill leaves it, once the record was written
    path.hardlink_to(own)
    note = opened(moving).path / "moves" / ID
    note.write_text(f'{{"to": "{prefix(tmp_path)}", "by": "somebody"}}')
    checked = moving.admin("check")
    assert checked.returncode == 0
    assert "by somebody, was stopped; the next cas move, or cas-admin index" in checked.stdout
    done = moving.admin("index")
    assert "was stopped: finished now" in done.stderr
    assert not path.exists()
    assert not note.exists()
    assert own.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("move", ID), "it is not said where to"),
        (("move", "--to", "local"), "it is not said which crashes"),
        (("move", ID, "--to", "s3://user:key@dumps/x"), "--to takes a store and a prefix"),
        (("move", ID, "--to", "gs://elsewhere/x"), "does not say where the bucket elsewhere is"),
    ],
)
def test_a_move_that_cannot_be_meant_is_refused(
    moving: Site, words: tuple[str, ...], said: str
) -> None:
    put_crash(moving, ID, b"dump" * 1000)
    done = moving.cas(*words)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert "key" not in done.stderr

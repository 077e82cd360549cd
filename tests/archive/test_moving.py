"""Dumps of the archive in a store, moto's S3, and back again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "fetch"))

from moved_crashes import opened, put_crash
from store_servers import BUCKET, know_store, served_store

from cas.archive.record import Info

from installed import Site

TIER = f"s3://{BUCKET}/tier"
ID = "ab" * 16
OTHER = "cd" * 16


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

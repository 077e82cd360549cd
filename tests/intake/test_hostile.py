"""Intake: nothing that an archive says is obeyed; every archive ends in a sentence or a dump."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest
from hostile import hostile
from packing import intake, names, store

from cas.errors import CasError

BUDGET = 64 << 20
ARCHIVES = hostile()


def tree(directory: Path) -> Mapping[str, tuple[int, int]]:
    """Every file, link and directory with its kind and size."""
    found = {}
    for parent, directories, files in os.walk(directory):
        for name in (*directories, *files):
            state = (Path(parent) / name).lstat()
            size = 0 if stat.S_ISDIR(state.st_mode) else state.st_size
            found[str(Path(parent) / name)] = (state.st_mode, size)
    return found


def test_there_are_as_many_as_promised() -> None:
    assert len(ARCHIVES) >= 60


@pytest.mark.parametrize("name", ARCHIVES)
def test_nothing_outside_the_directory_changes(tmp_path: Path, name: str) -> None:
    around = tmp_path / "a" / "b" / "c"
    job = around / "job"
    job.mkdir(parents=True)
    upload = tmp_path / "upload"
    upload.write_bytes(ARCHIVES[name])
    before, escaped = tree(tmp_path), Path("/tmp/escaped").exists()
    try:
        store(upload, job, intake(unpack_bytes=BUDGET))
    except CasError as error:
        assert error.verdict in ("failed", "refused")
        assert names(job) == []
    inside = tree(job)
    assert {key: value for key, value in tree(tmp_path).items() if key not in inside} == before
    assert Path("/tmp/escaped").exists() == escaped
    for path, (mode, size) in inside.items():
        directory = path in (str(job / "sidecars"), str(job / "vmcore"))
        assert stat.S_ISDIR(mode) if directory else stat.S_ISREG(mode), path
        assert directory or (stat.S_IMODE(mode) == 0o600 and size <= BUDGET)

"""What a killed run over many crashes leaves, and who goes on with it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from cas.analyzers.unfinished import KEPT_S, unfinished_run
from cas.archive.archive import Archive
from cas.database.store import Store


class Killed(Exception):
    """What ends a run before its end."""


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path, tmp_path, Store(str(tmp_path / "db")), frozenset({os.geteuid()}))


def killed(archive: Archive, *asked: str) -> Path:
    """The directory of a run that was killed when two crashes were done."""
    with pytest.raises(Killed), unfinished_run(archive, asked, archive.path) as run:
        for crash_id, failure in (("aa", None), ("bb", "exit status 3"), ("cc", None)):
            run.output(crash_id).write_bytes(b"said")
            run.note_done(crash_id, failure)
        run.output("cc").unlink()
        raise Killed
    return run.directory


def test_what_is_done_counts_where_its_output_is_there(archive: Archive) -> None:
    directory = killed(archive, "bmc", "fmri")
    with unfinished_run(archive, ("bmc", "other"), archive.path) as run:
        assert run.failures == {}
    with unfinished_run(archive, ("bmc", "fmri"), archive.path) as run:
        assert run.failures == {"aa": None, "bb": "exit status 3"}
        with unfinished_run(archive, ("bmc", "fmri"), archive.path) as second:
            assert second.failures == {}
    assert not directory.exists()


def test_what_nobody_has_gone_on_with_for_a_week_goes(archive: Archive) -> None:
    old, young = killed(archive, "old"), killed(archive, "young")
    then = time.time() - KEPT_S - 60
    os.utime(old, (then, then))
    with unfinished_run(archive, ("another",), archive.path):
        assert (old.exists(), young.exists()) == (False, True)

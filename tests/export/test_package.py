"""An export is there whole or not at all, and takes nobody's place."""

from __future__ import annotations

import errno
import os
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cas.errors import DiskFull, TryAgain
from cas.export.package import Exists, exporting

NOW = datetime(2026, 12, 1, tzinfo=UTC)
TARGETS = pytest.mark.parametrize("name", ["case", "case.tar", "case.tar.gz", "case.tar.zst"])


@TARGETS
def test_what_fails_on_its_way_leaves_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(TryAgain), exporting(tmp_path / name, NOW) as place:
        (place / "report.txt").write_text("half")
        (place / "absent").read_text()
    with pytest.raises(KeyboardInterrupt), exporting(tmp_path / name, NOW):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


@TARGETS
def test_who_comes_second_is_refused_and_the_first_stays(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    with pytest.raises(Exists), exporting(target, NOW) as place:
        (place / "report.txt").write_text("first")
        with exporting(target, NOW) as other:
            (other / "report.txt").write_text("second")
        assert target.exists()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    if target.is_dir():
        assert (target / "report.txt").read_text() == "second"


def test_no_room_is_told_of_the_file_system_that_has_none(tmp_path: Path) -> None:
    with pytest.raises(DiskFull) as refused, exporting(tmp_path / "case", NOW):
        raise OSError(
            errno.ENOSPC, os.strerror(errno.ENOSPC)
        )  # as write(2) says it, without a name
    assert f"no room for a file in {tmp_path}: has " in str(refused.value)
    assert refused.value.place == tmp_path


@TARGETS
def test_what_a_killed_one_has_left_goes_with_the_next_of_that_name(
    tmp_path: Path, name: str
) -> None:
    target, process = tmp_path / name, os.fork()
    if not process:
        with exporting(target, NOW) as place:
            (place / "report.txt").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(process, 0)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(f".{name}-")
    long_ago = NOW.timestamp() - 86400
    with exporting(target, NOW):  # it may be that of a run that has just begun
        assert left.exists()
    other = tmp_path / "other"
    with exporting(other, NOW), exporting(tmp_path / f"{name}x", NOW):
        assert left.exists()
    target.rename(tmp_path / "first")
    os.utime(left, (long_ago, long_ago))
    with exporting(target, NOW) as place:
        assert not left.exists()
        os.utime(place.parent, (long_ago, long_ago))
        with pytest.raises(Exists), exporting(target, NOW):
            (place / "report.txt").write_text("whole")
            target.touch()
        target.unlink()
    assert target.exists()


@TARGETS
def test_not_even_a_link_to_nothing_is_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Exists), exporting(tmp_path / name, NOW):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [name]

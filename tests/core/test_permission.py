"""Which file is in a user's way."""

import errno
import os
from pathlib import Path

from cas.permission import not_permitted, obstacle_to, unread


def denied(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def test_what_is_not_there_is_in_the_way_of_nobody(tmp_path: Path) -> None:
    assert obstacle_to(tmp_path / "none") == tmp_path
    assert obstacle_to(tmp_path / "none" / "below" / "file") == tmp_path


def test_a_read_only_file_system_is_nobodys_fault(tmp_path: Path) -> None:
    error = not_permitted(tmp_path / "file", denied(errno.EROFS))
    assert (error.obstacle, error.exit_code) == (None, 2)
    assert str(error) == f"{tmp_path}/file cannot be written: Read-only file system"
    assert error.hint == "mount the file system for writing"


def test_other_reasons_are_told_as_they_are(tmp_path: Path) -> None:
    assert unread(tmp_path, denied(errno.EIO)) == f"{tmp_path} cannot be read: Input/output error"

"""Which file is in a user's way."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cas.files.permission import not_permitted, obstacle_to, unread


def denied(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def test_what_is_not_there_is_in_the_way_of_nobody(tmp_path: Path) -> None:
    assert obstacle_to(tmp_path / "none") == tmp_path
    assert obstacle_to(tmp_path / "none" / "below" / "file") == tmp_path


def test_a_read_only_file_system_is_nobodys_fault(tmp_path: Path) -> None:
    error = not_permitted(tmp_path / "file", denied(errno.EROFS))
    assert (error.obstacle, error.exit_code) == (None, 2)
    assert str(error) == f"{tmp_path}/file cannot be written: Read-only file system"
    assert "mount the file system for writing; in a service see ReadWritePaths=" in str(error.hint)


def test_other_reasons_are_told_as_they_are(tmp_path: Path) -> None:
    assert unread(tmp_path, denied(errno.EIO)) == f"{tmp_path} cannot be read: Input/output error"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_upload_below_where_the_user_may_not_enter_is_kept_open_by_whatever_name(
    tmp_path: Path,
) -> None:
    below = tmp_path / "closed" / "open"
    below.mkdir(parents=True)
    (below / "vmcore").touch()
    below.parent.chmod(0o700)
    script = (
        "import os; from pathlib import Path; from cas.settings import users\n"
        "held = users.opened_uploads([Path('vmcore')])\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "print([str(path) for path in users.keep_needed(held)])"
    )
    argv = [sys.executable, "-c", script]
    kept = subprocess.run(argv, cwd=below, capture_output=True, text=True, check=True)
    assert kept.stdout == "['vmcore']\n"

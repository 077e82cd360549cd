"""A plain upload that becomes the job's own file: ``--take`` moves it instead of copying it.

It gets a second name in the job first, and loses its own only when the job's record says that the
dump is kept: whenever a run is stopped, the file has one of its names at least.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from shlex import quote

from cas.errors import NotPermitted
from cas.files.permission import user_name
from cas.files.whole import is_there, sync_directory
from cas.jobs.work_directory import STATE

_PRIVATE = 0o600


def why_copied(upload: Path, directory: Path) -> str | None:
    """What is in the way of moving a file into a job; ``None``: nothing is.

    :param directory: of the job
    :raises OSError: there is no such file
    """
    state, ours = upload.lstat(), os.geteuid()
    is_shut = not os.access(upload.parent, os.W_OK | os.X_OK, effective_ids=True)
    is_elsewhere = state.st_dev != directory.stat().st_dev
    obstacles = (
        (stat.S_ISLNK(state.st_mode), "it is a symbolic link"),
        (state.st_uid != ours, f"it belongs to {user_name(state.st_uid)}, not {user_name(ours)}"),
        (state.st_nlink != 1, f"the file has {state.st_nlink} names"),
        (is_elsewhere, "it lies on another file system than the work directory"),
        (is_of_job(upload), "it belongs to another job"),
        (is_shut, f"{upload.parent} cannot be written to"),
    )
    return next((why for is_so, why in obstacles if is_so), None)


def is_of_job(upload: Path) -> bool:
    """Whether a file lies in the directory of a job."""
    return any(is_there(parent / STATE) for parent in upload.resolve().parents)


def move_out(upload: Path, kept: Path) -> None:
    """Take a file's own name away, if it is the file that the job keeps.

    :raises NotPermitted: it cannot be taken away
    """
    if not is_same(upload, kept):
        return
    try:
        kept.chmod(_PRIVATE)
        upload.unlink()
    except OSError as error:
        hint = f"it is the same file as {kept}; to have it there only: rm {quote(str(upload))}"
        said = f"{upload} keeps its name: {error.strerror}"
        raise NotPermitted(said, upload.parent, hint=hint) from error
    with suppress(OSError):  # a power cut may bring the name back, and takes nothing away
        sync_directory(upload.parent)


def forget_link(upload: Path, kept: Path) -> None:
    """Remove the job's name of a file that it does not keep after all, and that has its own."""
    if is_same(upload, kept):
        kept.unlink()


def is_same(upload: Path, kept: Path) -> bool:
    """Whether both are names of one file."""
    try:
        states = upload.lstat(), kept.lstat()
    except OSError:
        return False
    return len({(state.st_dev, state.st_ino) for state in states}) == 1

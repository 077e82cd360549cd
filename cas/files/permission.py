"""What the system does not let this user do: which file is in the way, and whose it is."""

from __future__ import annotations

import errno
import os
import pwd
import stat
from pathlib import Path

from cas.errors import NotPermitted

DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
"""What the system says to a user who may not do something; it says so again the next time."""


def not_permitted(path: Path, error: OSError, done: str = "written") -> NotPermitted:
    """The error for a file or directory that this user may not use.

    :param error: one of `DENIED`
    :param done: what cannot be done to it
    """
    said = f"{path} cannot be {done}: {error.strerror}"
    if error.errno == errno.EROFS:
        hint = "mount the file system for writing; in a service see ReadWritePaths= of its unit"
        return NotPermitted(said, None, hint=hint)
    obstacle = obstacle_to(path)
    try:
        state = obstacle.lstat()
    except OSError:
        return NotPermitted(said, obstacle)
    what = "it" if obstacle == path else str(obstacle)
    if state.st_uid != os.geteuid():
        owner, user = user_name(state.st_uid), user_name(os.geteuid())
        return NotPermitted(f"{said}; {what} belongs to {owner}, and this runs as {user}", obstacle)
    mode = stat.S_IMODE(state.st_mode)
    hint = f"see to the modes and attributes of {obstacle}: chmod u+rwX, lsattr"
    return NotPermitted(f"{said}; {what} has the mode {mode:04o}", obstacle, hint=hint)


def denial(error: OSError) -> NotPermitted | None:
    """What Python says of a file that this user may not use; ``None``: it says something else."""
    if error.errno not in DENIED or not isinstance(error.filename, str):
        return None
    return not_permitted(Path(error.filename), error, "used")


def unread(path: Path, error: OSError) -> str:
    """That a file cannot be read, and whose it is where that is the reason."""
    if error.errno in DENIED:
        return str(not_permitted(path, error, "read"))
    return f"{path} cannot be read: {error.strerror}"


def obstacle_to(path: Path) -> Path:
    """What keeps this user from a file: a directory on the way that he may not enter, the file
    itself, or the directory that it is in."""
    path = path.absolute()
    for directory in reversed(path.parents):
        if not os.path.lexists(directory):
            return directory.parent
        if not os.access(directory, os.X_OK):
            return directory
    if not os.path.lexists(path):
        return path.parent
    needed = os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)
    return path if not os.access(path, needed) else path.parent


def user_name(uid: int) -> str:
    """A user's name; the number of one who has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"

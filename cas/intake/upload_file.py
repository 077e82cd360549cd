"""The file of an upload, before anything is made of it: what unpacks is not imported for that."""

from __future__ import annotations

import stat
from pathlib import Path

from cas.errors import AGAIN, NotADump, TryAgain
from cas.files.patient_calls import NoAnswer, answering
from cas.files.permission import DENIED, not_permitted

HEAD_BYTES = 128 << 10
"""Of a file, in which it is looked what it is."""


def check_upload(path: Path) -> None:
    """Make sure that there is a regular, readable, non-empty file.

    :raises NotADump: with the reason
    :raises TryAgain: its file system does not answer
    """
    try:
        answering(path)
    except NoAnswer as error:
        said = f"{path} cannot be read: {error}"
        raise TryAgain(said, hint=f"see to its mount, then {AGAIN}") from error
    except (OSError, ValueError):
        pass  # what is wrong is told below
    try:
        state = path.stat()
        if stat.S_ISREG(state.st_mode) or stat.S_ISDIR(state.st_mode):
            path.open("rb").close()
    except OSError as error:
        if error.errno in DENIED:
            said = str(not_permitted(path, error, "read"))
            raise NotADump(
                said, hint="have it made readable, or run cas as a user who may read it"
            ) from error
        hint = "check the path"
        raise NotADump(f"cannot read {path}: {error.strerror}", hint=hint) from error
    if not stat.S_ISREG(state.st_mode):
        raise NotADump(f"{path} is not a regular file")
    if state.st_size == 0:
        raise NotADump(f"{path} is empty", hint="the transfer failed: ask for the file again")

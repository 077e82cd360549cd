"""One run at a time works in a job's directory."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from cas.errors import JobBusy
from cas.files.whole import opener_below, writing_below

LOCK = ".lock"


@contextlib.contextmanager
def lock_job(directory: Path) -> Iterator[None]:
    """Keep other runs away from a job; the kernel releases it if we die.

    :raises JobBusy: another run has it
    :raises TryAgain: the directory cannot be written
    """
    with writing_below(directory):
        descriptor = opener_below(directory)(LOCK, os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise JobBusy(f"another run of cas is working in {directory}") from error
        yield
    finally:
        os.close(descriptor)

"""A file system whose server never answers, as of an NFS server that is gone."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

DETACH = 2


@contextmanager
def silent(directory: Path) -> Iterator[None]:
    """Mount a file system there whose server never answers."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        server = os.open("/dev/fuse", os.O_RDWR)
    except OSError as error:
        pytest.skip(f"no FUSE here: {error}")
    options = f"fd={server},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
    try:
        if libc.mount(b"cas", os.fsencode(directory), b"fuse.cas", 0, options.encode()):
            pytest.skip(f"no mount here: {os.strerror(ctypes.get_errno())}")
        yield
    finally:
        libc.umount2(os.fsencode(directory), DETACH)
        os.close(server)

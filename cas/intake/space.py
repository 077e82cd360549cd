"""Writing a file whole or not at all, when what it is made of is still unknown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cas.errors import CasError
from cas.files import FULL, no_room
from cas.text import human_size


@contextmanager
def writing(target: Path, need_bytes: int | None, what: str) -> Iterator[None]:
    """Write a file whole or not at all: a failure removes it and says what was missing.

    :raises DiskFull: the disk or the quota is full
    :raises CasError: the system refused to write for another reason
    """
    try:
        yield
    except OSError as error:
        written = target.stat().st_size if target.exists() else 0
        target.unlink(missing_ok=True)
        if error.errno is None:  # gzip and bz2 report damaged input so
            raise
        if error.errno not in FULL:
            raise CasError(f"cannot write {target}: {error.strerror}") from error
        need = human_size(need_bytes) if need_bytes else f"more than {human_size(written)}"
        raise no_room(target.parent, need, what) from error
    except BaseException:
        target.unlink(missing_ok=True)
        raise

"""What a run over many crashes has done so far, so that a killed one is gone on with.

A directory of ``analyses`` below the archive, named by what was asked for, has the output of every
crash that is done, and beside it how that ended. The run that has it holds a lock. A run that came
to its end leaves nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import field
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from cas.archive.archive import Archive
from cas.frozen import dataclass

DIRECTORY = "analyses"
KEPT_S = 7 * 24 * 60 * 60
"""Since it was worked on last, after which nobody goes on with a run."""


@dataclass(frozen=True, slots=True)
class UnfinishedRun:
    """A run over many crashes."""

    directory: Path
    failures: dict[str, str | None] = field(default_factory=dict)
    """Of every crash that is done, why it failed, if it did."""

    def output(self, crash_id: str) -> Path:
        """The file with what was printed on a crash."""
        return self.directory / f"{crash_id}.out"

    def note_done(self, crash_id: str, failure: str | None) -> None:
        """Note that a crash is done, when its output is whole.

        :raises OSError: it cannot be written
        """
        self.failures[crash_id] = failure
        part = self.directory / f".{crash_id}"
        part.write_text(json.dumps({"failure": failure}))
        part.replace(self._ending(crash_id))

    def _ending(self, crash_id: str) -> Path:
        return self.directory / f"{crash_id}.json"

    def read(self) -> None:
        """Take what an earlier run has done."""
        for path in self.directory.glob("*.json"):
            with suppress(OSError, ValueError, KeyError, TypeError):
                failure = json.loads(path.read_text())["failure"]
                if self.output(path.stem).is_file():
                    self.failures[path.stem] = None if failure is None else str(failure)


@contextmanager
def unfinished_run(archive: Archive, asked: Sequence[str], parent: Path) -> Iterator[UnfinishedRun]:
    """The run that was asked for, as far as an earlier one came; it is forgotten at the end.

    A second one at the same time, and whoever may not write there, begin anew, and leave nothing.

    :param asked: by whom, with what, of which crashes
    :param parent: a directory of ours for that case
    """
    name = sha256("\0".join(asked).encode("utf-8", "surrogateescape")).hexdigest()
    directory = archive.path / DIRECTORY / name
    descriptor = _locked(directory)
    if descriptor is None:
        with TemporaryDirectory(dir=parent) as temporary:
            yield UnfinishedRun(Path(temporary))
        return
    try:
        _sweep(directory.parent)
        found = UnfinishedRun(directory)
        found.read()
        yield found
        shutil.rmtree(directory, ignore_errors=True)
    finally:
        os.close(descriptor)


def _locked(directory: Path) -> int | None:
    """A descriptor that has a directory to ourselves; ``None``: we may not have it."""
    descriptor = None
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_ours = os.access(directory, os.W_OK) and directory.is_dir()
    except OSError:
        is_ours = False
    if is_ours:
        return descriptor
    if descriptor is not None:
        os.close(descriptor)
    return None


def _sweep(parent: Path) -> None:
    """Remove what nobody goes on with any more."""
    for path in parent.iterdir():
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > KEPT_S:
                descriptor = _locked(path)
                if descriptor is not None:
                    shutil.rmtree(path, ignore_errors=True)
                    os.close(descriptor)

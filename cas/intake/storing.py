"""The upload on its way into the job directory, while the work on it already goes on."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Self

from cas.intake.unpack import IsDump, plan, settle, store
from cas.progress import Progress

PATIENCE_S = 1.0
"""A copy that takes longer than this is shown."""


class Storing:
    """Copies or unpacks an upload; a context manager that ends when the dump is on the disk.

    A plain dump can be read where it lies while its copy is made; a wrapped one is unpacked first.
    """

    def __init__(self, path: Path, directory: Path, is_dump: IsDump, progress: Progress) -> None:
        """Begin.

        :raises CasError: the upload cannot be read, unpacked or written
        """
        self._upload = plan(path)
        self._target = directory / self._upload.vmcore_name
        self._progress = progress
        self._pool = ThreadPoolExecutor(1)
        self._stored: Future[Path] = Future()
        if self._upload.wrapping:
            self._stored.set_result(store(self._upload, directory, is_dump, progress))
        else:
            self._stored = self._pool.submit(store, self._upload, directory, is_dump, progress)
        self._settled = self._pool.submit(lambda: settle(self._stored.result()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown()
        if kind is None:
            self.settled()

    @property
    def readable(self) -> Path:
        """A file that holds the dump now: the upload itself, or what was unpacked."""
        return self.stored() if self._upload.wrapping else self._upload.path

    def stored(self) -> Path:
        """The dump in the job directory, once all of it is written."""
        try:
            return self._stored.result(timeout=PATIENCE_S)
        except TimeoutError:
            self._watch()
        return self._stored.result()

    def _watch(self) -> None:
        seen = 0
        what, total = f"Copying {self._upload.path.name}", self._upload.size_bytes
        with self._progress.bar(what, total) as advance:
            while not self._stored.done():
                wait([self._stored], timeout=0.2)
                written = self._target.stat().st_size if self._target.exists() else 0
                advance(written - seen)
                seen = written

    def settled(self) -> Path:
        """The dump in the job directory, once it would survive a power cut."""
        self._settled.result()
        return self.stored()

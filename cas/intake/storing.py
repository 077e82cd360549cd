"""The upload on its way into the job directory, while the work on it already goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Self

from cas.errors import AGAIN, UnpackError
from cas.files.whole import sync, sync_directory
from cas.intake.selection import Intake, Selection, is_plain
from cas.intake.upload_file import check_upload
from cas.jobs.layout import DUMP, SIDECARS
from cas.model.dump import Stored
from cas.progress import Progress
from cas.streams.budget import Account
from cas.text import printable

PATIENCE_S = 1.0
"""A copy that takes longer than this is shown."""
_LARGEST_KEPT_BYTES = (32 << 20) - 8192
"""Just below DEFAULT_MMAP_THRESHOLD_MAX of glibc; nothing is written to it."""


class Storing:
    """Copies or unpacks uploads in the background.

    A context manager that ends when the dump is on the disk; when it is left by an exception, the
    work stops at its next block and what is half-written goes.
    """

    def __init__(
        self, paths: Sequence[Path], directory: Path, intake: Intake, progress: Progress
    ) -> None:
        """Prepare; nothing is written yet.

        :param paths: uploads that belong together, in their order
        :raises NotADump: one of them cannot be read
        """
        for path in paths:
            check_upload(path)
        self._paths = tuple(paths)
        self._directory = directory
        self._progress = progress
        self._intake = intake
        self._account = Account(intake.limits, directory)
        self._readable: Future[Path] = Future()
        self._is_wanted = threading.Event()
        self._selection = Selection(intake, self._account, self._readable, self._is_wanted)
        self._pool = ThreadPoolExecutor(1, "cas-storing")
        self._begun = 0.0
        self._stored: Future[Stored] = Future()
        self._settled: Future[Stored] = Future()

    def __enter__(self) -> Self:
        # Once a block of this size was freed, glibc keeps what is freed (mallopt(3),
        # M_MMAP_THRESHOLD). Else each piece is mapped, cleared and unmapped anew: 33,000 page
        # faults for 590 MB of zstd instead of 6,600, and a tenth more time.
        bytes(_LARGEST_KEPT_BYTES)
        self._begun = time.monotonic()
        self._stored = self._pool.submit(self._store_uploads)
        self._settled = self._pool.submit(self._make_lasting)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._account.stop()
        self.want()
        self._pool.shutdown()
        if kind is None:
            self.settled()

    @property
    def unpacked_bytes(self) -> int:
        """What was unpacked so far, all layers and members together."""
        return self._account.unpacked_bytes

    def left_s(self) -> float:
        """About how long the rest takes, if it goes on as it went so far."""
        total, read = sum(path.stat().st_size for path in self._paths), self._account.read_bytes
        if self._stored.done() or not read:
            return 0.0
        return (total - read) / read * (time.monotonic() - self._begun)

    def head(self) -> Path:
        """A file that holds the dump's first 8 MiB, or all of it: the upload itself where it is
        plain, else a file that still grows.

        :raises CasError: there is no dump, or it cannot be written
        """
        is_copy = is_plain(self._paths[0], self._intake.kind_of)
        self._show_progress(self._readable, PATIENCE_S if is_copy else 0.0)
        return self._readable.result()

    def want(self) -> None:
        """Copy a plain dump now, which else may still wait for the first answer."""
        self._is_wanted.set()

    @property
    def is_over(self) -> bool:
        """Whether all of the dump is written, or cannot be."""
        return self._stored.done()

    @property
    def vmcore(self) -> Path | None:
        """The file in the job directory that is written; known when `head` is."""
        return self._selection.vmcore

    def written(self) -> Stored:
        """As `stored`, without showing that it is waited for."""
        self.want()
        return self._stored.result()

    def stored(self) -> Stored:
        """The dump in the job directory, once all of it is written.

        :raises CasError: the uploads cannot be unpacked, or not be written
        """
        self.want()
        self._show_progress(self._stored, PATIENCE_S)
        return self._stored.result()

    def settled(self) -> Stored:
        """The dump in the job directory, once it would survive a power cut.

        :raises CasError: as `stored`
        """
        return self._settled.result()

    def _show_progress(self, result: Future[Any], patience_s: float) -> None:
        """Show what goes on, if it takes long."""
        pending: list[Future[Any]] = [result]
        wait(pending, timeout=patience_s)
        if result.done():
            return
        total, seen = sum(path.stat().st_size for path in self._paths), 0
        first = self._paths[0]
        verb = "Copying" if is_plain(first, self._intake.kind_of) else "Unpacking"
        with self._progress.bar(f"{verb} {printable(first.name)}", total) as advance:
            is_over = False
            while not is_over:
                is_over = bool(wait(pending, timeout=0.2).done)
                read = self._account.read_bytes
                advance(read - seen)
                seen = read

    def _store_uploads(self) -> Stored:
        selection, looks = self._selection, list(map(state_of_upload, self._paths))
        try:
            try:
                for path in self._paths:
                    selection.search_upload(path, is_one_of_many=len(self._paths) > 1)
                stored = selection.result()
            finally:
                self._require_unchanged(looks)
        except BaseException as error:
            for path in selection.files:
                path.unlink(missing_ok=True)
            for parent in (self._directory / DUMP, self._directory / SIDECARS):
                if parent.is_dir() and not any(parent.iterdir()):
                    parent.rmdir()
            if not self._readable.done():
                self._readable.set_exception(error)
            raise
        if not self._readable.done():
            self._readable.set_result(stored.vmcore)
        return stored

    def _require_unchanged(self, looks: Sequence[tuple[int, ...] | None]) -> None:
        """Let nothing pass that was written to while it was read.

        :raises UnpackError: an upload was
        """
        for path, before in zip(self._paths, looks, strict=True):
            if before and (now := state_of_upload(path)) and now != before:
                raise UnpackError(
                    f"{printable(str(path))} changed while it was read, "
                    f"from {before[-1]:,} bytes to {now[-1]:,}",
                    hint=f"wait until it is written to its end, then {AGAIN}",
                )

    def _make_lasting(self) -> Stored:
        stored = self._stored.result()
        paths = {stored.vmcore, *stored.parts, *stored.sidecars} & {*self._selection.files}
        for path in paths:
            self._account.check()
            sync(path)
        for directory in {path.parent for path in paths} | {self._directory}:
            sync_directory(directory)
        return stored


def state_of_upload(path: Path) -> tuple[int, ...] | None:
    """By what a file is told from a changed one, its size last; ``None``: it is gone."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_dev, state.st_ino, state.st_mtime_ns, state.st_size

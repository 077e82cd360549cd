"""A file on a server as bytes at random: blocks of it, each fetched when it is first asked for.

What came stays in a file without a name, so that no dump takes memory here, and nothing is left
behind by whoever is killed.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cas.errors import CasError, FetchError
from cas.fetch.attempts import Attempts
from cas.fetch.source import Broken, Changed, FetchPolicy, NoRanges, Ranges, Spent
from cas.fetch.url import Url
from cas.files.whole import cannot_write
from cas.progress import Progress
from cas.units import human_size

if TYPE_CHECKING:
    from cas.fetch.http_ranges import HttpRanges
    from cas.fetch.sftp_ranges import SftpRanges

BLOCK_BYTES = 64 << 10
"""Of 64 KiB to 1 MiB the size with which the least is fetched in vain."""
RUN_BLOCKS = 16
"""Most blocks of one request."""
AT_ONCE = 8
"""Requests."""
HEAD_BYTES = 128 << 10
"""The beginning comes with the first request: it tells what the file is."""


class TooMuch(FetchError):
    """More of a file is asked for than it is worth to read by ranges."""


class RangedFile:
    """A file on a server; :class:`cas.dump.memory.Source` says what it can.

    Several threads may read at once.
    """

    def __init__(
        self,
        url: Url,
        ranges: Ranges,
        spent: Spent,
        directory: Path,
        attempts: Callable[[], Attempts],
    ) -> None:
        """Nothing but its version is known.

        :param directory: where the blocks that came take room
        :param attempts: counts those at one request
        :raises CasError: no file can be made there
        """
        assert ranges.version.size_bytes is not None  # noqa: S101  what `Ranges` promises
        self.size = ranges.version.size_bytes
        self.spent = spent
        self._url = url
        self._ranges = ranges
        self._directory = directory
        try:
            self._cache = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115  close() does
        except OSError as error:
            raise cannot_write(directory, error, 0) from error
        self._attempts = attempts
        self._pool = ThreadPoolExecutor(AT_ONCE, "ranges")
        self._lock = threading.Lock()
        self._held = set[int]()
        """Numbers of the blocks that are there."""
        self._under_way: dict[int, Future[None]] = {}
        self.is_for_one_answer = False
        """Then one failure is enough, and who asks on is not let wait once more."""
        self.limit_bytes: int | None = None
        """Of what is read of it, at most."""
        self.failure: CasError | None = None
        """Why a reader, who may not be one of ours, did not get what it asked for."""
        self._waiting = 0
        """Readers that wait for the server."""
        self._is_closed = False
        self._behind_last = -1
        """The block after those that were asked for last."""
        self._ahead = 0
        """Blocks to ask for beyond what is needed, while somebody reads on and on."""

    def read(self, offset: int, size: int) -> bytes:
        """The bytes there; fewer, or none, at the end and at offsets that no file has.

        :raises Changed: the file is another one by now
        :raises TooMuch: it is no use to go on by ranges
        :raises FetchError: the server has no such part for us
        :raises Broken: the server fails again and again
        """
        if offset < 0 or size <= 0 or offset >= self.size:
            return b""
        end = min(offset + size, self.size)
        if self.is_for_one_answer and self.failure:
            raise self.failure
        with self._lock:
            self._waiting += 1
        try:
            self._require(offset // BLOCK_BYTES, -(-end // BLOCK_BYTES))
        except CasError as error:
            self.failure = self.failure or error
            raise
        finally:
            with self._lock:
                self._waiting -= 1
        return self._kept(offset, end)

    def guess(self, offset: int, size: int) -> bytes:
        """As `read`, for bytes that nobody may need: nothing is tried again, no failure counts.

        :raises CasError: they are not to be had
        """
        if offset < 0 or size <= 0 or offset >= self.size:
            return b""
        end = min(offset + size, self.size)
        first, last = offset // BLOCK_BYTES, -(-end // BLOCK_BYTES)
        wanted = self._asked_for(first, last)
        try:
            for future in wanted:
                future.result()
        except CancelledError:
            raise Broken(f"{self._url} is read no more") from None
        return self._kept(offset, end)

    def _kept(self, offset: int, end: int) -> bytes:
        """Bytes that have come."""
        with self._lock:  # its descriptor may become another file's once it is closed
            if self._is_closed:
                raise Broken(f"{self._url} is read no more")
            return os.pread(self._cache.fileno(), end - offset, offset)

    def data(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """All of a range: a server tells of no holes."""
        if 0 <= start < min(end, self.size):
            yield start, min(end, self.size)

    def gap(self, _start: int, _end: int) -> None:
        """There is none: the file is no stream that was put in order."""

    def require_same(self) -> None:
        """Make sure that all that was read is of one version of the file, and has come.

        :raises Changed: it may be of several
        :raises Broken: somebody waits for the server, or has given that up
        """
        if self._waiting:
            raise Broken(f"{self._url}: the server did not answer in time")
        self._ranges.require_same()

    def add(self, offset: int, data: bytes) -> None:
        """Keep what came: whole blocks, or the file's last."""
        try:
            left = memoryview(data)
            while left:
                left = left[os.pwrite(self._cache.fileno(), left, offset + len(data) - len(left)) :]
        except OSError as error:
            raise cannot_write(self._directory / self._url.name, error, len(data)) from error
        first = offset // BLOCK_BYTES
        with self._lock:
            self._held.update(range(first, first + -(-len(data) // BLOCK_BYTES)))

    def close(self) -> None:
        """Let go of the server; who still waits for it hears of it."""
        with self._lock:
            self._is_closed = True
        self._ranges.close()
        self._pool.shutdown(cancel_futures=True)
        with self._lock:
            self._cache.close()

    def _require(self, first: int, end: int) -> None:
        """Have these blocks; what fails is tried again with patience."""
        attempts: Attempts | None = None
        while True:
            wanted = self._asked_for(first, end, reads_on=True)
            if not wanted:
                return
            wait(wanted)
            try:
                for future in wanted:
                    future.result()
            except Changed:
                raise
            except CancelledError:
                raise Broken(f"{self._url} is read no more") from None
            except Broken as error:
                if self._is_closed:
                    raise
                attempts = attempts or self._attempts()
                attempts.failed(error, self.spent.size_bytes)

    def _asked_for(self, first: int, end: int, *, reads_on: bool = False) -> set[Future[None]]:
        """What brings those of these blocks that are not there yet.

        :param reads_on: whether who reads on and on from there is to find more
        """
        with self._lock:
            lacking = [number for number in range(first, end) if number not in self._held]
            if not lacking:
                if reads_on:
                    self._behind_last = end
                return set()
            self._require_worth(len(lacking))
            self._ask_for(lacking)
            if reads_on:
                self._read_on(first, end)
            return {self._under_way[number] for number in lacking}

    def _require_worth(self, more: int) -> None:
        size = (len(self._held) + more) * BLOCK_BYTES
        if self.limit_bytes is not None and size > self.limit_bytes:
            limit = human_size(self.limit_bytes)
            raise TooMuch(f"more than {limit} of {self._url} would have to be read")

    def _read_on(self, first: int, end: int) -> None:
        """Ask for what comes next, where somebody reads a long piece from its beginning on."""
        if first != self._behind_last:
            self._ahead = 0
        else:
            self._ahead = min(max(2 * self._ahead, 1), RUN_BLOCKS)
            last = -(-self.size // BLOCK_BYTES)
            self._ask_for(range(end, min(end + self._ahead, last)))

    def _ask_for(self, numbers: Iterable[int]) -> None:
        """Ask for blocks that nobody has asked for; neighbours in one request."""
        run: list[int] = []
        for number in numbers:
            if number in self._held or number in self._under_way:
                continue
            if run and (number != run[-1] + 1 or len(run) == RUN_BLOCKS):
                self._submit(run)
                run = []
            run.append(number)
        if run:
            self._submit(run)

    def _submit(self, run: list[int]) -> None:
        if self._is_closed:
            raise Broken(f"{self._url} is read no more")
        future = self._pool.submit(self._fetch_run, run[0], run[-1] + 1)
        self._under_way |= dict.fromkeys(run, future)

    def _fetch_run(self, first: int, end: int) -> None:
        try:
            start = first * BLOCK_BYTES
            self.add(start, self._ranges.part(start, min(end * BLOCK_BYTES, self.size)))
        finally:
            with self._lock:
                for number in range(first, end):
                    self._under_way.pop(number, None)


class Guesses:
    """A file on a server as a :class:`cas.dump.memory.Source` of bytes that nobody may need."""

    def __init__(self, file: RangedFile) -> None:
        """Nothing is asked yet."""
        self.size = file.size
        self.read = file.guess
        self.data = file.data
        self.gap = file.gap


@contextmanager
def opened_ranged(
    url: Url, policy: FetchPolicy, directory: Path, progress: Progress
) -> Iterator[RangedFile]:
    """A file on a server, to be read by ranges.

    :param directory: where what comes may take room
    :raises NoRanges: the server, or the protocol, gives whole files only
    :raises Refused: policy forbids where it leads
    :raises FetchError: the server has no such file for us
    :raises Broken: it cannot be reached
    """
    attempts, spent = Attempts(policy, progress), Spent()
    with ExitStack() as stack:
        while True:
            try:
                ranges, head = _opened_ranges(url, policy, spent)
                break
            except Broken as error:
                attempts.failed(error, 0)
        try:
            file = RangedFile(url, ranges, spent, directory, lambda: Attempts(policy, progress))
        except BaseException:
            ranges.close()
            raise
        stack.callback(file.close)
        file.add(0, head)
        yield file


def _opened_ranges(url: Url, policy: FetchPolicy, spent: Spent) -> tuple[Ranges, bytes]:
    """The parts of a file by its scheme, and its beginning; its library is loaded only now."""
    ranges = _ranges_by_scheme(url, policy, spent)
    try:
        return ranges, ranges.first(HEAD_BYTES)
    except BaseException:
        ranges.close()
        raise


def _ranges_by_scheme(url: Url, policy: FetchPolicy, spent: Spent) -> HttpRanges | SftpRanges:
    if url.scheme == "ftp":
        raise NoRanges(f"{url}: by ftp a file is fetched to its end")
    if url.scheme == "sftp":
        from cas.fetch.sftp_ranges import SftpRanges

        return SftpRanges(url, policy, spent)
    from cas.fetch.http_ranges import HttpRanges

    if url.is_object:
        from cas.fetch.stores import by_http

        return HttpRanges(*by_http(url, policy), spent)
    return HttpRanges(url, policy, spent)

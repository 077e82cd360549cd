"""A dump read here and there, before all of it is at hand: on its server, or in its wrapping."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, BinaryIO, Protocol

from cas.choices import Fetch
from cas.dump import identify_by_ranges, is_for_ranges, kind_of
from cas.dump.source import opened_source
from cas.errors import CasError, NotADump, UnpackError
from cas.files.whole import require_room
from cas.model.dump import Dump
from cas.model.report import ByRanges
from cas.streams.flow import Damaged
from cas.triage.context import Context
from cas.triage.upload import Arrival
from cas.units import human_size

if TYPE_CHECKING:
    from cas.dump.ahead import Ahead
    from cas.dump.memory import Source
    from cas.fetch.ranged_file import RangedFile
    from cas.streams.random_access import Readable

WORTH_S = 10.0
"""An upload that is unpacked sooner is not read before: of 1 GiB in blocks of xz, unpacked in 7 s,
the answer came half as late again; of 6 GiB, in 30 s, in half the time."""
UNPACKED_LIMIT_BYTES = 2 << 30
"""What may be unpacked of a dump here and there, to be thrown away afterwards."""

LIMIT_BYTES = 64 << 20
"""A dump of which more than this must be read to tell what crashed is better fetched whole."""


class DumpByRanges(Protocol):
    """A dump of which some bytes can be had now."""

    @property
    def path(self) -> Path:
        """What to call it; there need be no such file."""

    @property
    def source(self) -> Source:
        """Its bytes."""

    @property
    def failure(self) -> CasError | None:
        """Why something that was asked for did not come, whoever asked."""

    def require_sound(self) -> None:
        """Make sure that all that was read of it, by whomever, is of one file, and came.

        :raises CasError: it is not, or did not
        """

    def told(self) -> str:
        """How much was read, in a sentence."""

    def read_ahead(self, dump: Dump, vmlinux: Path) -> None:
        """Begin to read what drgn will ask for, where waiting for it takes longer than reading.

        :param dump: what it says of itself
        :param vmlinux: its kernel's
        """


class FarDump:
    """A dump on a server, opened; see `DumpByRanges`."""

    def __init__(self, file: RangedFile, path: Path, ahead: Ahead) -> None:
        """Nothing of it is told yet.

        :param path: what to call it
        :param ahead: reads what will be asked for
        """
        self.source = self.file = file
        self.path = path
        self._ahead = ahead

    def read_ahead(self, dump: Dump, vmlinux: Path) -> None:
        """See `DumpByRanges.read_ahead`."""
        self._ahead.begin(dump, vmlinux)

    @property
    def failure(self) -> CasError | None:
        """See `DumpByRanges.failure`."""
        return self.file.failure

    def require_sound(self) -> None:
        """See `DumpByRanges.require_sound`."""
        if self.file.failure:
            raise self.file.failure
        self.file.require_same()

    @property
    def spent(self) -> ByRanges:
        """What was asked of the server so far."""
        return ByRanges(self.file.spent.requests, self.file.spent.size_bytes)

    def told(self) -> str:
        """See `DumpByRanges.told`."""
        of = f"{human_size(self.spent.size_bytes)} of {human_size(self.file.size)}"
        return f"read by ranges: {of}, in {self.spent.requests} requests"


class PackedDump:
    """A dump in a wrapping that can be undone here and there; see `DumpByRanges`."""

    def __init__(self, inside: Readable, path: Path) -> None:
        """Nothing of it is told yet.

        :param path: what to call it
        """
        self.source: Source = self
        self.path = path
        self.failure: CasError | None = None
        self.size = inside.size
        self._inside = inside
        self._read_bytes = 0

    def read(self, offset: int, size: int) -> bytes:
        """See `Source.read`.

        :raises UnpackError: a piece is not what it should be, or too much would be unpacked
        """
        try:
            found = self._inside.read(offset, size)
        except (Damaged, OSError) as error:
            self.failure = self.failure or UnpackError(f"{self.path} {error}")
            raise self.failure from error
        self._read_bytes += len(found)
        return found

    def data(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """See `Source.data`: a wrapping tells of no holes."""
        if 0 <= start < min(end, self.size):
            yield start, min(end, self.size)

    def gap(self, _start: int, _end: int) -> None:
        """See `Source.gap`: it is no stream that was put in order."""

    def require_sound(self) -> None:
        """See `DumpByRanges.require_sound`."""
        if self.failure:
            raise self.failure

    def read_ahead(self, dump: Dump, vmlinux: Path) -> None:
        """See `DumpByRanges.read_ahead`: to undo a wrapping keeps a processor busy."""

    def told(self) -> str:
        """See `DumpByRanges.told`."""
        return (
            f"read before it is unpacked: {human_size(self._read_bytes)} of {human_size(self.size)}"
        )


def identified(dump: DumpByRanges) -> Dump:
    """What it says of itself, see `identify_by_ranges`."""
    return identify_by_ranges(dump.path, dump.source)


def opened_inside(arrival: Arrival, stack: ExitStack) -> PackedDump | None:
    """The dump in an upload that is being unpacked, where its wrapping lets it be read already.

    :param stack: closes it
    """
    upload = arrival.packed_upload()
    if upload is None or arrival.left_s() < WORTH_S:
        return None
    from cas.intake.inside import dump_inside
    from cas.intake.upload_file import HEAD_BYTES

    directory = arrival.download_directory()

    def scratch() -> BinaryIO:
        return stack.enter_context(TemporaryFile(dir=directory))

    with suppress(Damaged, OSError, CasError):
        source = stack.enter_context(opened_source(upload))
        inside = dump_inside(source, kind_of, scratch, UNPACKED_LIMIT_BYTES)
        if inside and is_for_ranges(inside.read(0, HEAD_BYTES)):
            require_room(directory, inside.size + UNPACKED_LIMIT_BYTES, "reading a packed dump")
            return PackedDump(inside, upload)
    return None


def opened_far(arrival: Arrival, context: Context, stack: ExitStack) -> FarDump | None:
    """The dump that is to be fetched, where its server and its format let it be read by ranges.

    Why not is told where somebody may have expected it.

    :param stack: closes it
    :raises CasError: it cannot be fetched either
    """
    url = arrival.url_to_fetch()
    if url is None:
        return None
    # three protocols, for few jobs
    from cas.dump.ahead import Ahead
    from cas.fetch.ranged_file import HEAD_BYTES, Guesses, opened_ranged
    from cas.fetch.source import FetchPolicy, NoRanges

    policy, directory = FetchPolicy.of(context.config), arrival.download_directory()
    try:
        file = stack.enter_context(opened_ranged(url, policy, directory, context.progress))
        file.limit_bytes, file.is_for_one_answer = LIMIT_BYTES, True
        is_dump = is_for_ranges(file.read(0, HEAD_BYTES))
    except NoRanges as lack:
        tell_fetched(str(lack), context)
        return None
    if is_dump:
        ahead = Ahead(Guesses(file))
        stack.callback(ahead.close)
        return FarDump(file, Path(url.name), ahead)
    if context.fetch is Fetch.ANSWER:
        tell_fetched(f"{url} is packed, or no dump that is read by ranges", context)
    return None


def tell_fetched(why: str, context: Context) -> None:
    """Tell why a dump is fetched whole; aloud only who has asked for less."""
    tell = context.remark if context.fetch is Fetch.ANSWER else context.note
    tell(f"{why}: it is fetched whole")


def is_better_whole(error: CasError) -> bool:
    """Whether a dump that cannot be read by ranges may be read once it is fetched."""
    from cas.fetch.ranged_file import TooMuch
    from cas.fetch.source import Changed, NoRanges

    return isinstance(error, NoRanges | TooMuch | Changed | NotADump)

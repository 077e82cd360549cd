"""A dump on a server, read where it lies: what crashed is told before the rest is fetched."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from cas.choices import Fetch
from cas.dump import identify_by_ranges, is_for_ranges
from cas.errors import CasError, NotADump
from cas.model.dump import Dump
from cas.model.report import ByRanges
from cas.triage.context import Context
from cas.triage.upload import Arrival
from cas.units import human_size

if TYPE_CHECKING:
    from cas.fetch.ranged_file import RangedFile


class FarDump:
    """A dump on a server, opened."""

    def __init__(self, file: RangedFile, path: Path) -> None:
        """Nothing of it is told yet.

        :param path: what to call it; there is no such file
        """
        self.file = file
        self.path = path

    def identified(self) -> Dump:
        """What it says of itself, see `identify_by_ranges`."""
        return identify_by_ranges(self.path, self.file)

    def require_sound(self) -> None:
        """Make sure that all that was read of it, by whomever, is of one file, and came.

        :raises CasError: it is not, or did not
        """
        if self.file.failure:
            raise self.file.failure
        self.file.require_same()

    @property
    def spent(self) -> ByRanges:
        """What was asked of the server so far."""
        return ByRanges(self.file.spent.requests, self.file.spent.size_bytes)


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
    from cas.fetch.ranged_file import HEAD_BYTES, opened_ranged
    from cas.fetch.source import NoRanges

    policy, directory = arrival.fetch_policy(), arrival.download_directory()
    try:
        file = stack.enter_context(opened_ranged(url, policy, directory, context.progress))
        is_dump = is_for_ranges(file.read(0, HEAD_BYTES))
    except NoRanges as lack:
        tell_fetched(str(lack), context)
        return None
    if is_dump:
        return FarDump(file, Path(url.name))
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


def told_spent(far: FarDump) -> str:
    """How much was read, in a sentence."""
    spent = far.spent
    of = f"{human_size(spent.size_bytes)} of {human_size(far.file.size)}"
    return f"read by ranges: {of}, in {spent.requests} requests"

"""A file of the archive in a store, read where it is; what is found wrong with it is recorded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cas.archive.archive import Archive
from cas.archive.keeping import note_flaw
from cas.archive.record import File
from cas.errors import FetchError
from cas.fetch.source import FetchPolicy, NotThere
from cas.fetch.url import parse_url
from cas.frozen import dataclass
from cas.progress import Progress

if TYPE_CHECKING:
    from cas.fetch.ranged_file import RangedFile

NO_OBJECT = "there is no such object"
PUT_BACK = "put the object back from a backup; what is known of the crash stays"


class OtherObject(FetchError):
    """What a store has is not the file that it should be."""

    hint = "see who has put it there; move to another prefix, or remove that object by other means"


@dataclass(frozen=True, slots=True)
class CopyReader:
    """Reads files of the archive in stores."""

    archive: Archive
    policy: FetchPolicy
    directory: Path
    """Where what comes may take room."""
    progress: Progress

    @contextmanager
    def opened(self, crash_id: str, file: File) -> Iterator[RangedFile]:
        """A file in a store, to be read by ranges.

        :param file: one that was moved
        :raises NotThere: it is gone from there, which is recorded
        :raises OtherObject: it has another size, which is recorded
        :raises CasError: it cannot be read now
        """
        from cas.fetch.ranged_file import opened_ranged

        assert file.copy  # noqa: S101  it was moved
        url = parse_url(file.copy.url)
        with (
            absence_noted(self.archive, crash_id, file),
            opened_ranged(url, self.policy, self.directory, self.progress) as opened,
        ):
            if opened.size != file.size_bytes:
                flaw = f"it has {opened.size:,} bytes, and not {file.size_bytes:,}"
                note_flaw(self.archive, crash_id, file, flaw)
                raise OtherObject(f"{url} is not what was moved there: {flaw}", hint=PUT_BACK)
            note_flaw(self.archive, crash_id, file, None)
            yield opened


def is_in_store(archive: Archive, crash_id: str, file: File, policy: FetchPolicy) -> bool:
    """Whether a store has a file that was moved there, as far as its size tells; if not, that is
    recorded.

    :raises CasError: it does not tell, or not now
    """
    from cas.fetch.objects import object_size

    assert file.copy  # noqa: S101  it was moved
    size_bytes, flaw = object_size(parse_url(file.copy.url), policy), None
    if size_bytes != file.size_bytes:
        flaw = NO_OBJECT if size_bytes is None else f"it has {size_bytes:,} bytes"
    note_flaw(archive, crash_id, file, flaw)
    return flaw is None


@contextmanager
def absence_noted(archive: Archive, crash_id: str, file: File) -> Iterator[None]:
    """Have it recorded where a store has not what was moved there.

    :raises NotThere: that is so
    """
    try:
        yield
    except NotThere as error:
        note_flaw(archive, crash_id, file, NO_OBJECT)
        raise NotThere(str(error), hint=PUT_BACK) from error

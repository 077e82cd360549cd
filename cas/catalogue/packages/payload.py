"""An RPM's payload as a stream: decompressed piece by piece, then split into cpio members.

Nothing is held in memory but the piece at hand, and nothing is read beyond the member wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from cas.catalogue.packages.archive import Listed, Listing, payload_of
from cas.catalogue.packages.rpm_files import Header, build_ids_of_links, read_file_list
from cas.streams.cpio import cpio_members
from cas.streams.layer import CONTENT_LIMIT, Payload
from cas.streams.member import SizedMember


@contextmanager
def open_rpm_payload(
    path: Path, header: Header, advance: Callable[[int], None] = lambda _: None
) -> Iterator[Iterator[SizedMember]]:
    """The payload's members, for the length of a ``with`` block.

    :param advance: told how many compressed bytes have been read
    :raises PackageError: at any point where the payload turns out to be damaged or unreadable
    """
    listed_bytes = header.content_bytes  # None, or such as no disk could hold, where it lies
    layer = Payload(min(CONTENT_LIMIT if listed_bytes is None else listed_bytes, CONTENT_LIMIT))
    listed = [(file.path, file.payload_bytes) for file in header.files]
    begin = header.payload_offset
    with payload_of(path, (begin, path.stat().st_size - begin), layer, advance) as flow:
        yield cpio_members(flow, layer, listed)


def rpm_listing(path: Path) -> Listing:
    """What an RPM lists.

    :raises PackageError: the content is not an RPM, or is damaged
    :raises OSError: the file cannot be read
    """
    header = read_file_list(path)
    by_target = build_ids_of_links(header.files)
    files = {
        file.path: Listed(file.digest, by_target.get(file.path), file.size_bytes)
        for file in header.files
        if file.is_regular
    }
    size = path.stat().st_size - header.payload_offset
    return Listing(files, size, partial(open_rpm_payload, path, header))

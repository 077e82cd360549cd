"""cpio archives as packages have them: members in order, and none that an archive only claims."""

from collections.abc import Iterator, Sequence

import pytest

from cas.streams.cpio import cpio_members
from cas.streams.flow import Damaged, Flow
from cas.streams.layer import Payload
from cas.streams.member import SizedMember


def newc(name: str, size: int, content: bytes) -> bytes:
    fields = [1, 0o100644, 0, 0, 1, 0, size, 0, 0, 0, 0, len(name) + 1, 0]
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
    return padded(padded(head) + content)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def stream(*pieces: bytes, listed: Sequence[tuple[str, int]] = ()) -> Iterator[SizedMember]:
    return cpio_members(Flow(pieces), Payload(), listed)


TRAILER = newc("TRAILER!!!", 0, b"")


def test_a_member_that_is_not_read_is_skipped() -> None:
    archive = newc("./a", 5, b"aaaaa") + newc("./b", 3, b"bbb") + TRAILER
    pieces = [archive[at : at + 7] for at in range(0, len(archive), 7)]
    found = [
        (member.path, b"".join(member.flow.rest()))
        for member in stream(*pieces)
        if member.path == "/b"
    ]
    assert found == [("/b", b"bbb")]


def test_the_stripped_format_takes_names_and_sizes_from_the_header() -> None:
    archive = (
        padded(b"07070X00000001") + padded(b"bbb") + padded(b"07070X00000000") + padded(b"aaaaaa")
    )
    members = stream(archive + TRAILER, listed=[("/a", 6), ("/b", 3)])
    found = [(member.path, b"".join(member.flow.rest())) for member in members]
    assert found == [("/b", b"bbb"), ("/a", b"aaaaaa")]


@pytest.mark.parametrize(
    "archive",
    [
        b"",
        b"07070",
        b"garbage, and enough of it to be a header" * 10,
        b"070701" + b"+0000001" * 13,
        b"070701" + b"ffffffff" * 13,
        newc("./a", 0xFFFFFFFF, b"short"),
        newc("./a", 3, b"abc"),
        b"07070X00000005",
        b"07070X-0000001",
        b"07070Xffffffff",
    ],
)
def test_an_archive_that_lies_is_damaged(archive: bytes) -> None:
    with pytest.raises(Damaged):
        for member in stream(archive, listed=[("/a", 1)]):
            member.flow.drain()


def test_content_that_the_header_does_not_list_is_not_read() -> None:
    archive = newc("./a", 5, b"aaaaa") + newc("./b", 1 << 30, b"")
    with pytest.raises(Damaged, match="more content than is listed"):
        list(cpio_members(Flow([archive]), Payload(5)))

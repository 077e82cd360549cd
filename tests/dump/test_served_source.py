"""A dump that another process answers for, over a socket."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from writer import flattened

from cas.dump.flattened import Flattened
from cas.dump.memory import Source
from cas.dump.served_source import BLOCK_BYTES, SourceServer, source_behind
from cas.dump.source import Bytes, FileSource
from cas.errors import NotADump

CONTENT = bytes(range(256)) * 1000


@pytest.fixture
def sparse(tmp_path: Path) -> Iterator[FileSource]:
    """A file of some blocks with a hole of a MiB among them."""
    path = tmp_path / "sparse"
    with path.open("w+b") as file:
        file.write(CONTENT)
        file.seek(1 << 20, os.SEEK_CUR)
        file.write(CONTENT)
        file.flush()
        yield FileSource(file.fileno())


def test_a_served_source_is_the_source(sparse: FileSource) -> None:
    with SourceServer(sparse) as server:
        served = source_behind(server.theirs.fileno())
        assert served.size == sparse.size
        for offset, size in (
            (0, 8),
            (BLOCK_BYTES - 1, 2),
            (100, 3 * BLOCK_BYTES),
            (sparse.size - 5, 100),
            (sparse.size, 1),
            (-1, 1),
            (5, 0),
            (1 << 63, 1),
        ):
            assert served.read(offset, size) == sparse.read(offset, size)
        assert list(served.data(0, 1 << 62)) == list(sparse.data(0, 1 << 62))
        assert served.gap(0, sparse.size) is None


def test_a_flattened_stream_tells_its_gaps_through_the_socket() -> None:
    stream = Flattened(Bytes(flattened(CONTENT[:5000])[:-3000]))
    with SourceServer(stream) as server:
        served = source_behind(server.theirs.fileno())
        assert served.gap(0, 5000) == stream.gap(0, 5000) is not None


def test_a_descriptor_of_a_file_is_read_as_a_file(sparse: FileSource, tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("rb") as file:
        assert isinstance(source_behind(file.fileno()), FileSource)


class Broken(Bytes):
    """A source of which only the size can be had."""

    def read(self, offset: int, size: int) -> bytes:
        raise NotADump("the server has another file by now" + "!" * BLOCK_BYTES)


def test_what_cannot_be_read_is_an_error_of_the_asking_side_and_ends_nothing() -> None:
    with SourceServer(Broken(CONTENT)) as server:
        served = source_behind(server.theirs.fileno())
        for _ in range(2):
            with pytest.raises(OSError, match="the server has another file by now!!"):
                served.read(0, 1)
        assert list(served.data(0, 10)) == [(0, 10)]


def test_who_asks_after_the_end_is_told_so() -> None:
    with SourceServer(Bytes(CONTENT)) as server:
        served = source_behind(server.theirs.fileno())
    with pytest.raises(OSError):
        served.read(0, 1)


@pytest.mark.parametrize(
    "question",
    [
        struct.pack("<IBQQ", 7, 99, 0, 0),
        struct.pack("<IBQQ", 7, 2, 1 << 63, 1 << 63),
        struct.pack("<IBQQ", 7, 2, 0, (1 << 64) - 1),
        struct.pack("<IBQQ", 7, 3, (1 << 64) - 1, 0),
        struct.pack("<IBQQ", 7, 3, 1 << 63, (1 << 64) - 1),
        struct.pack("<IBQQ", 7, 4, 0, (1 << 64) - 1),
    ],
)
def test_no_question_gets_more_than_a_block(question: bytes, sparse: Source) -> None:
    with SourceServer(sparse) as server:
        server.theirs.send(question)
        answer = server.theirs.recv(1 << 20)
        assert answer[:4] == question[:4]
        assert len(answer) <= 5 + BLOCK_BYTES
        assert source_behind(server.theirs.fileno()).read(0, 8) == CONTENT[:8]


def test_what_is_no_question_ends_the_service(sparse: Source) -> None:
    with SourceServer(sparse) as server:
        server.theirs.send(b"GET / HTTP/1.0")
        server.theirs.settimeout(60)
        assert server.theirs.recv(1) == b""


def test_a_late_answer_is_passed_over(sparse: FileSource) -> None:
    with SourceServer(sparse) as server:
        served = source_behind(server.theirs.fileno())
        server.theirs.send(struct.pack("<IBQQ", 0, 2, 8, 8))  # whose asker has given up
        assert served.read(BLOCK_BYTES, 8) == sparse.read(BLOCK_BYTES, 8)

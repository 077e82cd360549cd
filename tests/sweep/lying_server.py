"""A server that speaks sftp as a host does that means harm: ``lying_server.py HOW DIRECTORY``.

Source: draft-ietf-secsh-filexfer-02.
"""

from __future__ import annotations

import itertools
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

HOW = sys.argv[1]
DUMP = Path(sys.argv[2]) / "vmcore"
REGULAR, FOLDER, LINK = 0o100600, 0o40755, 0o120777
SIZE = 1 << 20


def text(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def attributes(mode: int = REGULAR, size: int = SIZE, modified: int = 1_700_000_000) -> bytes:
    return struct.pack(">IQIIIII", 1 | 2 | 4 | 8, size, 0, 0, mode, modified, modified)


def named(*names: tuple[bytes, bytes]) -> bytes:
    return struct.pack(">I", len(names)) + b"".join(
        text(name) + text(b"-") + state for name, state in names
    )


def listings() -> Iterator[bytes]:
    """Answers to those who read the directory, one after another."""
    if HOW == "endless":
        for number in itertools.count():
            many = range(1000 * number, 1000 * number + 1000)
            yield named(*((b"vmcore.%d" % each, attributes()) for each in many))
    if HOW == "deep":
        while True:
            yield named((b"below", attributes(FOLDER)))
            yield b""
    if HOW == "broken-directories":
        folders = (b"below%d" % each for each in range(3000))
        yield named(*((each, attributes(FOLDER)) for each in folders))
    if HOW == "count":
        yield struct.pack(">I", 0xFFFFFFFF)
    if HOW == "extended":
        yield (
            struct.pack(">I", 1)
            + text(b"vmcore")
            + text(b"-")
            + struct.pack(">II", 1 << 31, 1 << 31)
        )
    if HOW == "climbing":
        yield named((b"../../etc/shadow", attributes()), (b"vmcore\0", attributes()))
    if HOW == "names":
        evil = b"vmcore\n\x1b]0;owned\x07\xff"
        yield named((evil, attributes(LINK)), (b"vmcore", attributes(0o10600)))
    yield named((b"vmcore", attributes()))


def answer(kind: int, body: bytes, lists: Iterator[bytes]) -> tuple[int, bytes]:
    """What is said to a request; the kind 0: nothing, ever."""
    if kind == 11 and HOW == "broken-directories" and b"/below" in body:
        return 101, struct.pack(">I", 4) + text(b"I/O error") + text(b"")
    if kind in (3, 11):
        return 102, text(b"h")
    if kind == 12:
        found = next(lists, b"")
        return (104, found) if found else (101, struct.pack(">I", 1) + text(b"") * 2)
    if kind == 16:
        (size,) = struct.unpack_from(">I", body)
        return 104, named((body[4 : 4 + size], attributes()))
    if kind in (7, 8):
        mode = LINK if HOW == "swapped" and kind == 7 else REGULAR
        return 105, attributes(mode)
    if kind == 5:
        return read(body)
    return 101, struct.pack(">I", 0) + text(b"") * 2


def read(body: bytes) -> tuple[int, bytes]:
    (size,) = struct.unpack_from(">I", body)
    offset, wanted = struct.unpack_from(">QI", body, 4 + size)
    if HOW == "silent":
        sys.stdin.buffer.read()  # until who asks has gone
        sys.exit()
    if HOW == "shrinking" and offset >= 4096:
        return 101, struct.pack(">I", 1) + text(b"") * 2
    if (
        HOW == "breaking"
        and offset >= SIZE // 2
        and not (marker := DUMP.with_name("tried")).exists()
    ):
        marker.touch()
        sys.exit()
    if HOW == "generous":
        return 103, text(b"\x7fELF" + bytes(1 << 20))
    with DUMP.open("rb") as file:
        file.seek(offset)
        data = file.read(wanted)
    return (103, text(data)) if data else (101, struct.pack(">I", 1) + text(b"") * 2)


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    if HOW == "garbage":
        answers.write(b"Welcome to db01!\n" * 1000)
        answers.flush()
        return
    lists = listings()
    while head := requests.read(5):
        size, kind = struct.unpack(">IB", head)
        body = requests.read(size - 1)
        if kind == 1:
            said = b"\x02" + struct.pack(">I", 3)
        else:
            kind, content = answer(kind, body[4:], lists)
            said = bytes([kind]) + body[:4] + content
        packet = struct.pack(">I", len(said)) + said
        for byte in packet if HOW == "dripping" else ():
            answers.write(bytes([byte]))
            answers.flush()
            time.sleep(0.2)
        if HOW != "dripping":
            answers.write(packet)
            answers.flush()


serve(sys.stdin.buffer, sys.stdout.buffer)

"""A file's way to a host: what the script there says, and the stream that we send to it."""

from __future__ import annotations

import re
import time
from collections import deque
from typing import Self

from cas.errors import HostLost
from cas.frozen import dataclass
from cas.hosts.link import STDERR_BYTES, WAIT_S, HostUnfit, Link, unread_stderr
from cas.hosts.transfer.file import FileToCopy
from cas.hosts.transfer.packing import packed_frames
from cas.progress import Progress
from cas.ssh import paramiko
from cas.text import short_line
from cas.units import human_size

PACKET_BYTES = (32 << 10) - 64
"""What OpenSSH takes in one message, CHANNEL_DATA's own header left aside."""
STALL_S = 60.0
"""Without getting on, after which a program on the host is ended, and the host given up."""
PATIENCE_S = STALL_S + 30
"""Seconds for a word from a script that tells every second how far it is."""
READ_BYTES = 8 << 10
ANSWERS_BYTES = 4 << 20
"""What a script may say in all: a line each second, for days."""
SAID_CHARACTERS = 200

_NUMBER = r"(\d{1,18})"
_DIGEST = r"([0-9a-f]{64}|)"
_WORDS = {
    "lacks": r"([a-z0-9]+)",
    "in": r"(/.{0,4095})",
    "wait": rf"{_NUMBER} {_NUMBER}",
    "check": _NUMBER,
    "bad": _DIGEST,
    "have": "",
    "send": rf"{_NUMBER} {_NUMBER} {_NUMBER} {_NUMBER} (zstd|gzip|cat) ,(sparse|full)",
    "at": _NUMBER,
    "short": rf"{_NUMBER} {_NUMBER} {_NUMBER} {_NUMBER}",
    "wrong": _DIGEST,
    "done": "",
}
_ANSWERS = {word: re.compile(f"{word} {rest}" if rest else word) for word, rest in _WORDS.items()}

_ANSWERS_IN_BETWEEN = ("wait", "check", "at")


@dataclass(frozen=True, slots=True)
class ScriptAnswer:
    """A line of the script, see :mod:`cas.hosts.transfer.script`."""

    word: str
    values: tuple[str, ...]

    @property
    def numbers(self) -> tuple[int, ...]:
        """Those values that are numbers."""
        return tuple(int(value) for value in self.values if value.isdecimal())


class ScriptChannel:
    """A conversation with a script on a host, which tells every second how far it is."""

    def __init__(self, link: Link, channel: paramiko.Channel) -> None:
        """Listen."""
        self._link = link
        self._channel = channel
        self._lines = deque[bytes]()
        self._rest = b""
        self._left_bytes = ANSWERS_BYTES

    def next(self) -> ScriptAnswer:
        """What it says next.

        :raises HostLost: the link broke
        :raises HostUnfit: it ended, fell silent or says what no script of ours does
        """
        while not self._lines:
            data = self._link.read_channel(self._channel, PATIENCE_S)
            if data is None:
                raise HostUnfit(f"{self._link.name}: it said nothing for {PATIENCE_S:g} s")
            if not data:
                raise HostUnfit(f"{self._link.name}: {self.complaint()}")
            self._take_output(data)
        text = self._lines.popleft().decode("utf-8", "replace")
        word = text.partition(" ")[0]
        found = _ANSWERS[word].fullmatch(text) if word in _ANSWERS else None
        if not found or not text.isprintable() or "\ufffd" in text:
            said = short_line(text, SAID_CHARACTERS)
            raise HostUnfit(f"{self._link.name}: it answers what makes no sense: {said}")
        return ScriptAnswer(word, found.groups())

    def send_frame(self, frame: bytes) -> bool:
        """Write to its stdin; ``False`` when it does not listen any more.

        :raises HostLost: the link broke, or nothing was taken in for too long
        """
        for start in range(0, len(frame), PACKET_BYTES):
            piece = frame[start : start + PACKET_BYTES]
            while piece:
                sent = self._send_some(piece)
                if not sent:
                    return False
                piece = piece[sent:]
        return True

    def end_input(self) -> None:
        """Let it see the end of its input."""
        with self._link.errors_translated():
            if not self._channel.closed:
                self._channel.shutdown_write()

    def complaint(self) -> str:
        """The last thing that it wrote to stderr."""
        lines = unread_stderr(self._channel, STDERR_BYTES).split("\n")
        # dd counts what it did, whatever came of it
        lines = [line for line in lines if line.strip() and not line[:1].isdigit()]
        return short_line(lines[-1], SAID_CHARACTERS) if lines else "the script there was ended"

    def _send_some(self, piece: bytes) -> int:
        room = self._channel.out_window_size
        deadline = time.monotonic() + PATIENCE_S
        self._channel.settimeout(WAIT_S)
        while True:
            try:
                sent = self._channel.send(piece)
            except TimeoutError:
                self._link.check()
                # or its window is full one day
                while self._channel.recv_ready():
                    self._take_output(self._channel.recv(READ_BYTES))
                if time.monotonic() >= deadline:
                    raise HostLost(
                        f"{self._link.name}: it took in nothing for {PATIENCE_S:g} s"
                    ) from None
            except (OSError, EOFError, paramiko.SSHException):
                self._link.check()
                return 0
            else:
                if self._channel.out_window_size + sent > room:  # it asked for more
                    self._link.note_sign_of_life()
                return sent

    def _take_output(self, data: bytes) -> None:
        self._left_bytes -= len(data)
        if self._left_bytes < 0:
            raise HostUnfit(f"{self._link.name}: it answers without end")
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._lines += lines


class NoRoom(HostUnfit):
    """A host has no room for a copy."""

    hint = "free space there, or raise hostCacheLimit in cas.conf"

    def __init__(self, message: str, needed_bytes: int) -> None:
        """Keep the facts."""
        super().__init__(message)
        self.needed_bytes = needed_bytes


@dataclass(frozen=True, slots=True)
class Receiver:
    """What a host says before it takes a file in."""

    offset: int
    """The byte from which on it lacks the file."""
    used_bytes: int
    """What all copies there take up."""
    free_bytes: int
    codec: str
    is_sparse: bool
    """Zeros become holes there."""

    @classmethod
    def of(cls, answer: ScriptAnswer) -> Self:
        """What its line means."""
        offset, used_kib, blocks, block_bytes = answer.numbers
        codec, kind = answer.values[4:]
        return cls(offset, used_kib << 10, blocks * block_bytes, codec, kind == "sparse")


class FileTransfer:
    """How a host gets one file, from the first question to the checked copy."""

    def __init__(
        self, link: Link, channel: paramiko.Channel, progress: Progress, file: FileToCopy
    ) -> None:
        """Prepare.

        :param channel: to the script that takes it in
        """
        self._name = link.name
        self._script = ScriptChannel(link, channel)
        self._progress = progress
        self._file = file
        self._objects: str | None = None
        self._told: set[str] = set()

    def transfer(self, limit_bytes: int) -> str | None:
        """The path of the copy; ``None`` when what arrived is not what was sent.

        :param limit_bytes: for all copies on the host
        :raises OSError: our file cannot be read
        :raises HostLost: the link broke
        :raises NoRoom: nothing was sent, or the disk there was full before the end
        :raises HostUnfit: the host did anything else than it should
        """
        answer = self._wait_for_answer("have", "send")
        if answer.word == "send":
            receiver = Receiver.of(answer)
            file = self._file
            needed = file.size_bytes - receiver.offset
            if receiver.is_sparse:
                needed = min(needed, file.data_bytes(receiver.offset))
            if needed > receiver.free_bytes:
                raise self._no_room(needed, f"has {human_size(receiver.free_bytes)}")
            if needed + receiver.used_bytes > limit_bytes:
                kept, limit = human_size(receiver.used_bytes), human_size(limit_bytes)
                raise self._no_room(needed, f"keeps {kept} of at most {limit}")
            self._send_frames(receiver)
            answer = self._wait_for_answer("done", "short", "wrong")
        if answer.word == "short":
            stored, _, blocks, block_bytes = answer.numbers
            lacking, free = self._file.size_bytes - stored, blocks * block_bytes
            if free < lacking:
                raise self._no_room(lacking, f"has {human_size(free)}")
            where = f"{human_size(stored)} of {human_size(self._file.size_bytes)}"
            raise HostUnfit(
                f"{self._name}: it stopped writing {self._file.name} at {where}: "
                f"{self._script.complaint()}"
            )
        if answer.word == "wrong":
            self._progress.warn(f"What {self._name} has of {self._file.name} is damaged")
            return None
        if self._objects is None:
            raise HostUnfit(f"{self._name}: it does not say where its copies are")
        return f"{self._objects}/{self._file.digest[:2]}/{self._file.digest}"

    def _wait_for_answer(self, *words: str) -> ScriptAnswer:
        """The first saying of these words; others are told the user."""
        before, since = None, time.monotonic()
        while True:
            answer = self._script.next()
            if answer.word in words:
                return answer
            name = self._file.name
            if answer.word == "lacks":
                raise HostUnfit(f"{self._name}: it has no program {answer.values[0]}")
            if answer.word == "in":
                self._objects = answer.values[0]
            elif answer.word == "bad":
                self._progress.warn(
                    f"The copy of {name} on {self._name} was damaged, a new one is sent"
                )
            elif answer.word == "wait" and answer.word not in self._told:
                self._progress.say(f"Waiting for another job that copies {name} to {self._name}")
            elif answer.word not in _ANSWERS_IN_BETWEEN:
                raise HostUnfit(f"{self._name}: it says `{answer.word}` when nobody asked")
            self._told.add(answer.word)
            if answer != before:
                before, since = answer, time.monotonic()
            elif time.monotonic() - since > PATIENCE_S:
                raise HostUnfit(f"{self._name}: nothing went on for {PATIENCE_S:g} s")

    def _no_room(self, needed_bytes: int, has: str) -> NoRoom:
        need = human_size(needed_bytes)
        message = f"{self._name}: no room for {self._file.name}: needs {need}, {has}"
        return NoRoom(message, needed_bytes)

    def _send_frames(self, receiver: Receiver) -> None:
        """Send what it lacks, or as much as it takes in."""
        file = self._file
        title, span = f"Copying {file.name} to {self._name}", (receiver.offset, file.size_bytes)
        with (
            self._progress.bar(title, file.size_bytes) as advance,
            packed_frames(file.path, receiver.codec, span) as all_frames,
        ):
            advance(receiver.offset)
            for frame in all_frames:
                if not self._script.send_frame(frame.data):
                    return
                advance(frame.plain_bytes)
        self._script.end_input()

"""The kernel log out of a dump, with nothing but VMCOREINFO.

Three generations: the lockless ring buffer (Linux 5.10), the buffer of records (3.5), plain text.

Source: kernel/printk/printk_ringbuffer.h and .c, kernel/printk/printk.c;
Documentation/admin-guide/kdump/vmcoreinfo.rst.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cas.dump.memory import Absent
from cas.dump.patchy import Patchy, what_is_there
from cas.dump.ringbuffer import Record, Records, ring_records
from cas.dump.translate import Kernel

DMESG_LIMIT = 16 << 20
"""Most bytes of log that are read; the newest are kept."""
_TEXT_LIMIT = 24 << 20
"""Most bytes of text with times: the records of a damaged log may all show the same bytes."""
_STAMP_BYTES = 16
_HOLES_LIMIT = 64
_RESUME_BYTES = 1 << 14
"""How far behind a hole the next record is looked for; a record is shorter than 8 KiB."""
_FOLLOWING = 3


@dataclass(frozen=True, slots=True)
class Log:
    """The kernel log, as much of it as the dump has."""

    text: str
    """With ``[seconds.micros]`` before each line; control characters as they are."""
    records: int = 0
    """That could be read; 0 for a log that has none."""
    lost: int = 0
    """Records that could not be read."""
    is_counted: bool = True
    """Whether `lost` is exact, and not a lower limit."""
    lost_bytes: int = 0
    """Of a log that has no records."""


def dmesg(kernel: Kernel) -> str:
    """The text of `read_log`."""
    return read_log(kernel).text


def read_log(kernel: Kernel) -> Log:
    """The kernel log, in part if the dump lacks some of it.

    :raises Absent: VMCOREINFO does not lead to it, or it is not in the dump
    """
    info = kernel.info
    if info.symbol("prb") is not None:
        return _format(ring_records(kernel, DMESG_LIMIT))
    if "SYMBOL(log_first_idx)" in info.lines:
        return replace(_format(_buffer_records(kernel, _log_buf(kernel))), is_counted=False)
    if "SYMBOL(log_end)" in info.lines:
        return _plain_text(kernel)
    raise Absent("VMCOREINFO does not tell where the kernel log is")


def _format(records: Records) -> Log:
    texts: list[str] = []
    lost, room = 0, _TEXT_LIMIT
    for record in records:
        if record is None:
            lost += 1
            continue
        room -= len(record[1]) + _STAMP_BYTES * record[1].count(b"\n")
        if room < 0:
            return Log("\n".join(texts) + "\n", len(texts), lost + 1, is_counted=False)
        texts.append("\n".join(stamped(*record)))
    if not texts:
        raise Absent(f"all {lost} records are lost" if lost else "the kernel log is empty")
    return Log("\n".join(texts) + "\n", len(texts), lost)


def stamped(time_ns: int, text: bytes) -> list[str]:
    """The lines of a record, each with its time."""
    micros = time_ns // 1000
    stamp = f"[{micros // 1_000_000:5}.{micros % 1_000_000:06}] "
    return [stamp + line for line in text.decode("utf-8", "replace").split("\n")]


def _buffer_records(kernel: Kernel, buffer: Patchy) -> Records:
    """Records one after another; one of length 0 says that the next is at the beginning."""
    shape = _shape(kernel)
    at, end = _index(kernel, "log_first_idx"), _index(kernel, "log_next_idx")
    size = len(buffer.data)
    passed = holes = 0
    while at != end and passed < size and holes < _HOLES_LIMIT:
        length = shape.length(kernel, buffer, at)
        if length is None:
            after = shape.resume(buffer, at)
            passed, at, holes = passed + after - at, after, holes + 1
            yield None
            continue
        if length == 0:
            passed, at = passed + max(size - at, 1), 0
            continue
        yield shape.record(kernel, buffer, at)
        passed, at = passed + length, at + length


@dataclass(frozen=True, slots=True)
class _Shape:
    """``struct printk_log``, or ``struct log`` before Linux 3.11."""

    order: str
    head: int
    ts_nsec: int
    len: int
    text_len: int

    def length(self, kernel: Kernel, buffer: Patchy, at: int) -> int | None:
        """Of the record there; ``None`` where there is none that another can follow."""
        try:
            buffer.require(at, self.head)
        except Absent:
            return None
        length = kernel.unpack("H", buffer.data, at + self.len)
        return length if length == 0 or length >= self.head else None

    def record(self, kernel: Kernel, buffer: Patchy, at: int) -> Record | None:
        text_len = kernel.unpack("H", buffer.data, at + self.text_len)
        try:
            buffer.require(at, self.head + text_len)
        except Absent:
            return None
        time_ns = kernel.unpack("Q", buffer.data, at + self.ts_nsec)
        return time_ns, buffer.data[at + self.head : at + self.head + text_len]

    def resume(self, buffer: Patchy, at: int) -> int:
        """Behind a hole: the first place from which records follow one another."""
        start = buffer.next_there(at)
        stop = min(start + _RESUME_BYTES, len(buffer.data) - self.head)
        for place in range(max(-(-start // 4) * 4, at + 4), stop, 4):
            if self._follow(buffer.data, place):
                return place
        return max(stop, at + 4)

    def _follow(self, data: bytes, at: int) -> bool:
        for _ in range(_FOLLOWING):
            length = self._short(data, at + self.len)
            text_len = self._short(data, at + self.text_len)
            text = data[at + self.head : at + self.head + text_len]
            if length % 4 or not self.head + text_len <= length or not text or 0 in text:
                return False
            at += length
        return True

    def _short(self, data: bytes, at: int) -> int:
        return int.from_bytes(data[at : at + 2], "little" if self.order == "<" else "big")


def _shape(kernel: Kernel) -> _Shape:
    info = kernel.info
    name = "printk_log" if "SIZE(printk_log)" in info.lines else "log"  # renamed in Linux 3.11
    return _Shape(
        order=kernel.order,
        head=info.size(name),
        ts_nsec=info.offset(f"{name}.ts_nsec"),
        len=info.offset(f"{name}.len"),
        text_len=info.offset(f"{name}.text_len"),
    )


def _plain_text(kernel: Kernel) -> Log:
    """Before Linux 3.5: a ring of text, which `log_end` has passed the end of many times."""
    end = _index(kernel, "log_end")
    buffer = _log_buf(kernel, end)
    data = buffer.data
    at = end % len(data)
    text = data[at:] + data[:at]
    # what is not in the dump reads as zeros, which no kernel writes into its log
    return Log(text.replace(b"\0", b"").decode("utf-8", "replace"), lost_bytes=buffer.lost_bytes)


def _log_buf(kernel: Kernel, used: int = DMESG_LIMIT) -> Patchy:
    address, size_at = kernel.info.symbol("log_buf"), kernel.info.symbol("log_buf_len")
    if address is None or size_at is None:
        raise Absent("VMCOREINFO does not tell where the kernel log is")
    size = kernel.unsigned(size_at)
    if not 0 < size <= DMESG_LIMIT:
        raise Absent(f"a kernel log of {size} bytes")
    if not used:
        raise Absent("the kernel log is empty")
    return what_is_there(kernel, kernel.long(address), min(size, used))


def _index(kernel: Kernel, name: str) -> int:
    address = kernel.info.symbol(name)
    if address is None:
        raise Absent(f"VMCOREINFO has no {name}")
    return kernel.unsigned(address)

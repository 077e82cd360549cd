"""The kernel log out of a dump, with nothing but VMCOREINFO.

Three generations: the lockless ring buffer since Linux 5.10 (896fbe20b4e2), the buffer of records
since Linux 3.5 (7ff9554bb578), plain text.

Source: kernel/printk/printk_ringbuffer.h and .c, kernel/printk/printk.c;
Documentation/admin-guide/kdump/vmcoreinfo.rst.
"""

from __future__ import annotations

from dataclasses import replace

from cas.dump.memory import Absent
from cas.dump.partial_memory import Patchy, patches
from cas.dump.ringbuffer import Record, Records, ring_records
from cas.dump.translate import Kernel
from cas.frozen import dataclass

DMESG_LIMIT = 16 << 20
"""Most bytes of log that are read; the newest are kept."""
_TEXT_LIMIT = 24 << 20
"""Most bytes of text with times: the records of a damaged log may all show the same bytes."""
_STAMP_BYTES = 16
_HOLES_LIMIT = 64
_RESUME_BYTES = 1 << 14
"""How far behind a hole the next record is looked for; a record is shorter than 8 KiB."""
_FOLLOWING = 3
_BUFFER_LIMIT = 1 << 31
"""The largest buffer that a kernel allows (LOG_BUF_LEN_MAX)."""


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
    """`lost` is exact, and not a lower limit."""
    lost_bytes: int = 0
    """Bytes that are not in the dump, of a log that has no records."""
    left_out: int = 0
    """Bytes that are older than the newest `DMESG_LIMIT`."""


def dmesg(kernel: Kernel) -> str:
    """The text of `read_log`."""
    return read_log(kernel).text


def read_log(kernel: Kernel) -> Log:
    """The kernel log, in part if the dump lacks some of it.

    :raises Absent: VMCOREINFO does not lead to it, or it is not in the dump
    """
    info = kernel.info
    if info.symbol("prb") is not None:
        return _log_text(ring_records(kernel, DMESG_LIMIT))
    if "SYMBOL(log_first_idx)" in info.lines:
        first, end = _number_at(kernel, "log_first_idx"), _number_at(kernel, "log_next_idx")
        address, size = _log_buf(kernel)
        if not 0 <= first < size or not 0 <= end <= size:
            raise Absent(f"a kernel log of {size} bytes with records from {first} to {end}")
        ring = _read_ring(kernel, address, size, (end, (end - first) % size))
        log = _log_text(_buffer_records(kernel, ring))
        return replace(log, is_counted=False, left_out=ring.left_out)
    if "SYMBOL(log_end)" in info.lines:
        # Before Linux 3.5: a ring of text, which `log_end` has passed the end of many times.
        written = _number_at(kernel, "log_end")
        address, size = _log_buf(kernel)
        if not written:
            raise Absent("the kernel log is empty")
        ring = _read_ring(kernel, address, size, (written % size, min(written, size)))
        # what is not in the dump reads as zeros, which no kernel writes into its log
        text = ring.bytes.data.replace(b"\0", b"").decode("utf-8", "replace")
        return Log(text, lost_bytes=ring.bytes.lost_bytes, left_out=ring.left_out)
    raise Absent("VMCOREINFO does not tell where the kernel log is")


def _log_text(records: Records) -> Log:
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


@dataclass(frozen=True, slots=True)
class _Ring:
    """The used part of a ring of bytes, oldest first, as much of it as is read."""

    bytes: Patchy
    seam: int
    """Where the ring begins anew: behind its end."""
    left_out: int = 0
    """Bytes before it."""


def _buffer_records(kernel: Kernel, ring: _Ring) -> Records:
    """Records one after another; one of length 0 says that the next is at the beginning."""
    info, buffer = kernel.info, ring.bytes
    name = "printk_log" if "SIZE(printk_log)" in info.lines else "log"
    shape = _Shape(
        order=kernel.order,
        head=info.size(name),
        ts_nsec=info.offset(f"{name}.ts_nsec"),
        len=info.offset(f"{name}.len"),
        text_len=info.offset(f"{name}.text_len"),
    )
    at = shape.resume(buffer, 0) if ring.left_out else 0
    holes = 0
    while at < len(buffer.data) and holes < _HOLES_LIMIT:
        length = shape.length(kernel, buffer, at)
        if length is None:
            at, holes = shape.resume(buffer, at), holes + 1
            yield None
        elif length == 0:
            at = ring.seam if at < ring.seam else len(buffer.data)
        else:
            yield shape.record(kernel, buffer, at)
            at += length


@dataclass(frozen=True, slots=True)
class _Shape:
    """``struct printk_log``, or ``struct log`` before Linux 3.11 (62e32ac3505a)."""

    order: str
    head: int
    ts_nsec: int
    len: int
    text_len: int

    def length(self, kernel: Kernel, buffer: Patchy, at: int) -> int | None:
        """Bytes of the record there; ``None`` where there is none that another can follow."""
        try:
            buffer.require(at, self.head)
        except Absent:
            return None
        length = kernel.number_in("H", buffer.data, at + self.len)
        return length if length == 0 or length >= self.head else None

    def record(self, kernel: Kernel, buffer: Patchy, at: int) -> Record | None:
        text_len = kernel.number_in("H", buffer.data, at + self.text_len)
        try:
            buffer.require(at, self.head + text_len)
        except Absent:
            return None
        time_ns = kernel.number_in("Q", buffer.data, at + self.ts_nsec)
        return time_ns, buffer.data[at + self.head : at + self.head + text_len]

    def resume(self, buffer: Patchy, at: int) -> int:
        """Behind a hole: the first place from which records follow one another."""
        start = buffer.next_there(at)
        stop = min(start + _RESUME_BYTES, len(buffer.data) - self.head)
        for place in range(max(-(-start // 4) * 4, at + 4), stop, 4):
            next_at = place
            for _ in range(_FOLLOWING):
                length = self._short(buffer.data, next_at + self.len)
                text_len = self._short(buffer.data, next_at + self.text_len)
                text = buffer.data[next_at + self.head : next_at + self.head + text_len]
                if length % 4 or self.head + text_len > length or not text or 0 in text:
                    break
                next_at += length
            else:
                return place
        return max(stop, at + 4)

    def _short(self, data: bytes, at: int) -> int:
        return int.from_bytes(data[at : at + 2], "little" if self.order == "<" else "big")


def _read_ring(kernel: Kernel, address: int, size: int, used: tuple[int, int]) -> _Ring:
    """The newest `DMESG_LIMIT` bytes of what is used of a ring.

    :param used: where the newest byte ends, and how many bytes there are
    :raises Absent: not one page of them is in the dump
    """
    end, count = used
    kept = min(count, DMESG_LIMIT)
    older = min(max(kept - end, 0), size)
    parts = [(size - older, older), (max(end - kept, 0), min(end, kept))]
    if not kept:
        raise Absent("the kernel log is empty")
    pieces = [patches(kernel, address + at, length) for at, length in parts]
    joined = pieces[0].joined(pieces[1])
    if joined.lost_bytes == kept:
        raise Absent("not one page of the kernel log is in the dump")
    return _Ring(joined, older, count - kept)


def _log_buf(kernel: Kernel) -> tuple[int, int]:
    """Address and size of the buffer."""
    address, size_at = kernel.info.symbol("log_buf"), kernel.info.symbol("log_buf_len")
    if address is None or size_at is None:
        raise Absent("VMCOREINFO does not tell where the kernel log is")
    size = kernel.unsigned(size_at)
    if not 0 < size <= _BUFFER_LIMIT:
        raise Absent(f"a kernel log of {size} bytes")
    return kernel.long(address), size


def _number_at(kernel: Kernel, name: str) -> int:
    address = kernel.info.symbol(name)
    if address is None:
        raise Absent(f"VMCOREINFO has no {name}")
    return kernel.unsigned(address)

"""The kernel log out of a dump, with nothing but VMCOREINFO.

Three generations: the lockless ring buffer (Linux 5.10), the buffer of records (3.5), plain text.

Source: kernel/printk/printk_ringbuffer.h and .c, kernel/printk/printk.c;
Documentation/admin-guide/kdump/vmcoreinfo.rst.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cas.dump.memory import Absent
from cas.dump.ringbuffer import Record, ring_records
from cas.dump.translate import Kernel

DMESG_LIMIT = 16 << 20
"""Most bytes of log that are read; the newest are kept."""


def dmesg(kernel: Kernel) -> str:
    """The kernel log with ``[seconds.micros]`` before each line; control characters as they are.

    :raises Absent: VMCOREINFO does not lead to it, or it is not in the dump
    """
    info = kernel.info
    if info.symbol("prb") is not None:
        return _format(ring_records(kernel, DMESG_LIMIT))
    if "SYMBOL(log_first_idx)" in info.lines:
        return _format(_buffer_records(kernel))
    if "SYMBOL(log_end)" in info.lines:
        return _plain_text(kernel)
    raise Absent("VMCOREINFO does not tell where the kernel log is")


def _format(records: Iterable[Record]) -> str:
    lines: list[str] = []
    for time_ns, text in records:
        micros = time_ns // 1000
        stamp = f"[{micros // 1_000_000:5}.{micros % 1_000_000:06}] "
        lines += [stamp + line for line in text.decode("utf-8", "replace").split("\n")]
    if not lines:
        raise Absent("the kernel log is empty")
    return "\n".join(lines) + "\n"


def _buffer_records(kernel: Kernel) -> Iterator[Record]:
    """Records one after another; one of length 0 says that the next is at the beginning."""
    info = kernel.info
    name = "printk_log" if "SIZE(printk_log)" in info.lines else "log"  # renamed in Linux 3.11
    head, ts_at = info.size(name), info.offset(f"{name}.ts_nsec")
    len_at, text_len_at = info.offset(f"{name}.len"), info.offset(f"{name}.text_len")
    data = _log_buf(kernel)
    at, end = _index(kernel, "log_first_idx"), _index(kernel, "log_next_idx")
    passed = 0
    while at != end and passed < len(data):
        length = kernel.unpack("H", data, at + len_at)
        if length == 0:
            passed, at = passed + len(data) - at, 0
            continue
        text_len = kernel.unpack("H", data, at + text_len_at)
        yield kernel.unpack("Q", data, at + ts_at), data[at + head : at + head + text_len]
        passed, at = passed + length, at + length


def _plain_text(kernel: Kernel) -> str:
    """Before Linux 3.5: a ring of text, which `log_end` has passed the end of many times."""
    data = _log_buf(kernel)
    end = _index(kernel, "log_end")
    at = end % len(data)
    text = data[:end] if end < len(data) else data[at:] + data[:at]
    return text.decode("utf-8", "replace")


def _log_buf(kernel: Kernel) -> bytes:
    address, size_at = kernel.info.symbol("log_buf"), kernel.info.symbol("log_buf_len")
    if address is None or size_at is None:
        raise Absent("VMCOREINFO does not tell where the kernel log is")
    size = kernel.unsigned(size_at)
    if not 0 < size <= DMESG_LIMIT:
        raise Absent(f"a kernel log of {size} bytes")
    return kernel.read(kernel.long(address), size)


def _index(kernel: Kernel, name: str) -> int:
    address = kernel.info.symbol(name)
    if address is None:
        raise Absent(f"VMCOREINFO has no {name}")
    return kernel.unsigned(address)

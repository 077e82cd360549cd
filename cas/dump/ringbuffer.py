"""The lockless printk ring buffer of Linux 5.10 and later.

A ring of descriptors tells where in a ring of bytes each message stands; a third array, in the step
of the descriptors, has the messages' times. Positions grow for ever and are taken modulo the size.

Source: makedumpfile 1.6.9 (c617ec633392); kernel/printk/printk_ringbuffer.h and .c, whose
get_data() and desc_read() decide here too.
"""

from __future__ import annotations

from collections.abc import Iterator

from cas.dump.memory import Absent
from cas.dump.partial_memory import Patchy, patches, what_is_there
from cas.dump.translate import Kernel
from cas.frozen import dataclass

Record = tuple[int, bytes]
"""Nanoseconds since boot, and the text without its last newline."""
Records = Iterator[Record | None]
"""``None`` stands for a record that a damaged dump lacks."""

RECORDS_LIMIT = 1 << 18
_BITS_LIMIT = 26
_SLICE = 4096
_RECORD_BYTES = 1 << 17
"""A text has at most 64 KiB: its length stands in 16 bits."""
_COMMITTED, _FINALIZED = 1, 2
"""States of a record that can be read, as for makedumpfile 1.6.9 (44b073b7ec46)."""
_EMPTY_LINE_LPOS = 3


@dataclass(frozen=True, slots=True)
class _Layout:
    """Sizes and offsets of the structures, from VMCOREINFO."""

    desc_size: int
    state_var: int
    begin: int
    next: int
    info_size: int
    ts_nsec: int
    text_len: int


@dataclass(frozen=True, slots=True)
class _Text:
    """The newest part of the ring of bytes."""

    patches: Patchy
    start: int
    """Position of the first byte."""
    bits: int
    """The ring has ``2 ** bits`` bytes."""
    mask: int
    """Positions are ``unsigned long``."""

    def data_block(self, begin: int, after: int) -> bytes | None:
        """A data block, its id included; ``None`` when it is older than what is here.

        :raises Absent: the dump lacks some of it
        """
        if begin >> self.bits != after >> self.bits:  # too long for the end: put at the beginning
            begin = after >> self.bits << self.bits
        at = begin - self.start & self.mask
        size = after - begin & self.mask
        if at + size > len(self.patches.data):
            return None
        size = min(size, _RECORD_BYTES)
        self.patches.require(at, size)
        return self.patches.data[at : at + size]


@dataclass(frozen=True, slots=True)
class _Ring:
    """The rings, found and measured."""

    kernel: Kernel
    layout: _Layout
    text: _Text
    descs: int
    infos: int
    count_bits: int
    tail: int
    head: int

    def records(self) -> Records:
        """The newest `RECORDS_LIMIT` at most."""
        ids = (1 << 8 * self.kernel.long_bytes - 2) - 1
        ring = 1 << self.count_bits
        count = min((self.head - self.tail & ids) + 1, ring, RECORDS_LIMIT)
        number = self.head - count + 1 & ids
        while count > 0:
            at = number % ring
            size = min(_SLICE, ring - at, count)
            yield from self._neighbours(number, at, size)
            number, count = number + size & ids, count - size

    def _neighbours(self, number: int, at: int, size: int) -> Records:
        """Neighbours in the rings: read at once."""
        desc_size, info_size = self.layout.desc_size, self.layout.info_size
        try:
            descs = what_is_there(self.kernel, self.descs + at * desc_size, size * desc_size)
            infos = what_is_there(self.kernel, self.infos + at * info_size, size * info_size)
        except Absent:
            yield from [None] * size
            return
        for index in range(size):
            try:
                descs.require(index * desc_size, desc_size)
                infos.require(index * info_size, info_size)
                record = self._record(number + index, index, descs.data, infos.data)
            except Absent:
                yield None
                continue
            if record is not None:
                yield record

    def _record(self, number: int, index: int, descs: bytes, infos: bytes) -> Record | None:
        """``None`` for a record that is not written to its end, or that was overwritten."""
        info_at = index * self.layout.info_size
        text_len = self.kernel.number_in("H", infos, info_at + self.layout.text_len)
        at = index * self.layout.desc_size
        long_bits = 8 * self.kernel.long_bytes
        state = self.kernel.number_in("L", descs, at + self.layout.state_var)
        ids = (1 << long_bits - 2) - 1
        if state >> long_bits - 2 not in (_COMMITTED, _FINALIZED) or (state ^ number) & ids:
            return None
        begin = self.kernel.number_in("L", descs, at + self.layout.begin)
        after = self.kernel.number_in("L", descs, at + self.layout.next)
        if begin & 1 and after & 1:
            if begin != after or begin != _EMPTY_LINE_LPOS:
                return None
            text = b""
        else:
            block = self.text.data_block(begin, after)
            if block is None:
                return None
            text = block[self.kernel.long_bytes :][:text_len]
        return self.kernel.number_in("Q", infos, info_at + self.layout.ts_nsec), text


def ring_records(kernel: Kernel, limit: int) -> Records:
    """The records, oldest first.

    :param limit: most bytes of the ring of bytes that are read
    :raises Absent: VMCOREINFO does not lead to them, or they are not in the dump
    """
    info = kernel.info
    prb = kernel.read(kernel.long(info.symbol("prb") or 0), info.size("printk_ringbuffer"))
    ring = info.offset("printk_ringbuffer.desc_ring")
    counter = _counter(kernel)

    def ring_member(name: str, kind: str = "L", inner: int = 0) -> int:
        return kernel.number_in(kind, prb, ring + info.offset(f"prb_desc_ring.{name}") + inner)

    count_bits = ring_member("count_bits", "I")
    if count_bits > _BITS_LIMIT:
        raise Absent(f"a kernel log of 2^{count_bits} records")
    block = info.offset("prb_desc.text_blk_lpos")
    layout = _Layout(
        desc_size=info.size("prb_desc"),
        state_var=info.offset("prb_desc.state_var") + counter,
        begin=block + info.offset("prb_data_blk_lpos.begin"),
        next=block + info.offset("prb_data_blk_lpos.next"),
        info_size=info.size("printk_info"),
        ts_nsec=info.offset("printk_info.ts_nsec"),
        text_len=info.offset("printk_info.text_len"),
    )
    found = _Ring(
        kernel=kernel,
        layout=layout,
        text=_newest_text(kernel, prb, limit),
        descs=ring_member("descs"),
        infos=ring_member("infos"),
        count_bits=count_bits,
        tail=ring_member("tail_id", inner=counter),
        head=ring_member("head_id", inner=counter),
    )
    return found.records()


def _newest_text(kernel: Kernel, prb: bytes, limit: int) -> _Text:
    info = kernel.info
    ring = info.offset("printk_ringbuffer.text_data_ring")
    bits = kernel.number_in("I", prb, ring + info.offset("prb_data_ring.size_bits"))
    if not 6 <= bits <= _BITS_LIMIT + 6:
        raise Absent(f"a kernel log of 2^{bits} bytes")
    data = kernel.number_in("L", prb, ring + info.offset("prb_data_ring.data"))
    head_at = ring + info.offset("prb_data_ring.head_lpos") + _counter(kernel)
    head = kernel.number_in("L", prb, head_at)
    mask = (1 << 8 * kernel.long_bytes) - 1
    size = 1 << bits
    window = min(size, limit)
    start = head - window & mask
    begin = start % size
    first = min(window, size - begin)
    newest = patches(kernel, data + begin, first).joined(patches(kernel, data, window - first))
    return _Text(patches=newest, start=start, bits=bits, mask=mask)


def _counter(kernel: Kernel) -> int:
    return kernel.info.offset("atomic_long_t.counter")

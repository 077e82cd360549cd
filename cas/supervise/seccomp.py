"""A filter of system calls: what no debugger needs, and what evades the other limits.

Namespaces do not part the kernel's keyrings: a program that root starts sees root's. Memory that
belongs to no address space, of System V and of memfd, has no limit but the machine.

Source: Documentation/userspace-api/seccomp_filter.rst, include/uapi/linux/{audit,filter,seccomp}.h;
the numbers are those of arch/*/entry/syscalls and include/uapi/asm-generic/unistd.h.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

NUMBER, ARCH = 0, 4
"""Offsets in ``struct seccomp_data``."""
LOAD, IF_EQUAL, IF_AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
"""BPF_LD | BPF_W | BPF_ABS; BPF_JMP | BPF_JEQ and | BPF_JGE, BPF_K; BPF_RET."""
ALLOW = 0x7FFF0000
REFUSE = 0x00050000 | errno.ENOSYS
"""What a refused call gives: as if the kernel did not have it, which programs know."""
X32 = 0x40000000
"""The bit in the numbers of the x32 ABI, which shares the architecture of x86_64."""


class Calls(NamedTuple):
    """System call numbers of an architecture; ``None``: it has none of its own."""

    add_key: int
    request_key: int
    keyctl: int
    shmget: int | None
    memfd_create: int
    ipc: int | None = None
    """One call for all of System V, on old architectures."""


_GENERIC = Calls(217, 218, 219, 194, 279)
REFUSED = {
    0xC000003E: Calls(248, 249, 250, 29, 319),  # x86_64
    0x40000003: Calls(286, 287, 288, 395, 356, 117),  # i386
    0xC00000B7: _GENERIC,  # aarch64
    0xC00000F3: _GENERIC,  # riscv64
    0xC0000102: _GENERIC,  # loongarch64
    0x40000028: Calls(309, 310, 311, 307, 385),  # arm, EABI
    0x80000015: Calls(269, 270, 271, 395, 360, 117),  # ppc64
    0xC0000015: Calls(269, 270, 271, 395, 360, 117),  # ppc64le
    0x80000016: Calls(278, 279, 280, 395, 350, 117),  # s390x
}
"""The system calls that are refused, by the kernel's AUDIT_ARCH number."""


def program() -> bytes:
    """The filter, as bubblewrap takes it: an array of ``struct sock_filter``."""
    whole = b""
    for arch, calls in REFUSED.items():
        body = [_instruction(LOAD, NUMBER)]
        if arch == 0xC000003E:
            body += [_instruction(IF_AT_LEAST, X32, 0, 1), _instruction(RETURN, REFUSE)]
        for number in calls:
            if number is not None:
                body += [_instruction(IF_EQUAL, number, 0, 1), _instruction(RETURN, REFUSE)]
        body.append(_instruction(RETURN, ALLOW))
        head = _instruction(LOAD, ARCH) + _instruction(IF_EQUAL, arch, 0, len(body))
        whole += head + b"".join(body)
    return whole + _instruction(RETURN, ALLOW)


@contextmanager
def opened_filter() -> Iterator[int]:
    """A descriptor from which one bubblewrap reads the filter."""
    reading, writing = os.pipe()
    try:
        # it is far smaller than a pipe holds
        try:
            os.write(writing, program())
        finally:
            os.close(writing)
        yield reading
    finally:
        os.close(reading)


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)

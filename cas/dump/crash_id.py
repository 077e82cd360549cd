"""What a crash is called, whichever file of it is looked at.

The registers of its processors and VMCOREINFO, which names the second of the crash, are the same
to the byte in all that the kernel, QEMU and makedumpfile write of one crash, whatever is left out
and however it is packed. So the id says nothing of a file's content: a cut, a filtered and a full
dump of a crash have one id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from cas.dump.registers import is_status
from cas.elf import Note
from cas.frozen import dataclass
from cas.model.dump import Dump

HEAD_BYTES = 64 << 10
_CRASH_TIME = b"\nCRASHTIME="
"""A kernel that crashes adds it: crash_save_vmcoreinfo(), kernel/vmcore_info.c."""
_DIGITS = 32


@dataclass(frozen=True, slots=True)
class CrashId:
    """The name of a crash."""

    value: str
    """32 hex digits."""
    is_weak: bool = False
    """It may be that of another crash, too: the dump does not tell when it crashed."""


def id_of_notes(notes: Iterable[Note], vmcoreinfo: bytes | None) -> CrashId | None:
    """The id by a dump's headers; ``None``: they have neither registers nor VMCOREINFO.

    Who saves a dump without the state of its processors writes registers of zeros.
    """
    text = (vmcoreinfo or b"").rstrip(b"\0")
    registers = [note.desc for note in notes if is_status(note)]
    if not text and not any(any(each) for each in registers):
        return None
    return CrashId(_digest("notes", *registers, text), _CRASH_TIME not in text)


def id_of_dump(dump: Dump) -> CrashId:
    """The id that `identify` has found; it finds one of every dump."""
    assert dump.crash_id  # noqa: S101
    return CrashId(dump.crash_id, dump.is_crash_id_weak)


def id_without_notes(log_digest: str | None, head: bytes) -> CrashId:
    """The id by the kernel log, or by the file's beginning: that of a dump that tells no more.

    :param log_digest: see :func:`cas.klog.log_digest.log_digest`
    :param head: the file's first `HEAD_BYTES`
    """
    if log_digest:
        return CrashId(_digest("log", log_digest.encode()), is_weak=True)
    return CrashId(_digest("file", head), is_weak=True)


def _digest(kind: str, *parts: bytes) -> str:
    digest = hashlib.sha256(kind.encode())
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()[:_DIGITS]

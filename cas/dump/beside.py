"""Kernel logs that came beside a dump: what it does not say itself, and why kdump failed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from cas.dump.log_file import is_of_kdump, read_log_file
from cas.dump.recognise import recognise_source
from cas.dump.source import opened_source
from cas.errors import NotADump
from cas.frozen import dataclass
from cas.klog.log_text import end_of, is_of_crash_kernel, kaslr_offset_of
from cas.model.dump import KERNEL_LOG, Dump

_DAY_S = 86_400
FILES_LIMIT = 64
"""Files beside a dump that are looked into."""


@dataclass(frozen=True, slots=True)
class BesideLog:
    """A file that came with a dump, and is a kernel log."""

    path: Path
    log: Dump


def logs_beside(files: Sequence[Path]) -> Iterator[BesideLog]:
    """Those of the kernel that crashed; that of the kernel that was to write the dump is none."""
    for path in files[:FILES_LIMIT]:
        if is_of_kdump(path.name):
            continue
        try:
            with opened_source(path) as source:
                if recognise_source(source, path.name) != KERNEL_LOG:
                    continue
                log = read_log_file(path, source)
                if not is_of_crash_kernel(log.dmesg or ""):
                    yield BesideLog(path, log)
        except NotADump:
            continue


def with_log_beside(dump: Dump, files: Sequence[Path]) -> tuple[Dump, Path | None]:
    """A dump with the log of a file beside it, where its own is missing or is a part of that.

    A log of another kernel, or of another time, is left alone.

    :return: and the file, if its log is used
    """
    if dump.dmesg is not None and dump.panic_message is not None:
        return dump, None
    for beside in logs_beside(files):
        log = beside.log
        facts = (
            (dump.banner, log.banner),
            (dump.osrelease, log.osrelease),
            (dump.build_id, log.build_id),
        )
        is_of_another = any(own and other and own != other for own, other in facts)
        if log.panic_message is None or is_of_another or _is_of_another_boot(dump, log):
            continue
        if dump.dmesg is not None:
            # it goes on where the dump's own ends: the last line of that stands there, too
            last = next((line for line in reversed(dump.dmesg.splitlines()) if line.strip()), None)
            if last is None or last.strip() not in (log.dmesg or ""):
                continue
        told = replace(
            dump,
            dmesg=log.dmesg,
            log_digest=log.log_digest,
            panic_message=log.panic_message,
            banner=dump.banner or log.banner,
            osrelease=dump.osrelease or log.osrelease,
            build_id=dump.build_id or log.build_id,
        )
        return told, beside.path
    return dump, None


def log_in_place_of(lack: NotADump, path: Path, files: Sequence[Path]) -> Dump:
    """The log beside a dump of which nothing can be read.

    :raises NotADump: there is none
    """
    for beside in logs_beside(files):
        if beside.log.panic_message is not None:
            remark = f"the dump cannot be read at all: {lack}"
            return replace(beside.log, path=path, remarks=(*beside.log.remarks, remark))
    raise lack


def _is_of_another_boot(dump: Dump, log: Dump) -> bool:
    """Whether the place of the kernel, or the time, tells that a log is of another crash."""
    offset, end_s = kaslr_offset_of(log.dmesg or ""), end_of(log.dmesg or "")
    if None not in (offset, dump.kaslr_offset) and offset != dump.kaslr_offset:
        return True
    if end_s is None or dump.crash_time is None:
        return False
    return abs(dump.crash_time.timestamp() - end_s) > _DAY_S

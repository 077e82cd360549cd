"""A kernel log in place of a dump: what it says of itself, where no memory was kept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cas.dump.memory import Source
from cas.klog.log_digest import log_digest
from cas.klog.log_text import (
    TEXT_LIMIT,
    arch_of,
    banner_of,
    boots,
    is_going_on_in,
    is_kernel_log,
    is_mixed,
    is_of_crash_kernel,
    kernel_lines,
    release_of,
)
from cas.klog.pstore import opened_record, pstore_part
from cas.model.dump import KERNEL_LOG, Dump
from cas.panic import Told, told_crash
from cas.text import count, printable, short_line
from cas.units import human_size

UNKNOWN_ARCH = "unknown"
_HEAD_BYTES = 1 << 16
_CONTROLS = tuple(bytes([code]) for code in range(32) if chr(code) not in "\0\t\n\f\r\x1b")
"""What no text has, but for zeros where a console's memory begins, and sizes in a journal."""
_FEWER_THAN_ONE_IN = 50
_RECORD_ID = re.compile(r"dmesg-efi(?:_pstore)?-(\d{15,18})(?!\d)")
_RECORD_S = 600
"""Seconds between two parts in pstore that are of two crashes: a machine boots between them."""
_SHOWN = 5
"""Other crashes of a log that are told one by one."""


def is_of_kdump(name: str) -> bool:
    """Whether a file is the log of the kernel that was to write the dump, by its name."""
    return "kexec-dmesg" in name


def is_log(source: Source) -> bool:
    """Whether a file that is nothing else is a text in which a kernel speaks."""
    head = source.read(0, _HEAD_BYTES)
    if source.size <= _HEAD_BYTES and (record := opened_record(head)):
        head = record.raw[:_HEAD_BYTES]
    controls = sum(head.count(byte) for byte in _CONTROLS)
    return controls * _FEWER_THAN_ONE_IN <= len(head) and is_kernel_log(_text_of(source))


def read_log_file(path: Path, source: Source) -> Dump:
    """What a kernel log says of its kernel and of the crash.

    Of a log with several boots that of the last crash counts, and the others are told; a boot that
    only reported trouble counts where none crashed.
    """
    left_out = max(0, source.size - TEXT_LIMIT)
    raw = source.read(left_out, TEXT_LIMIT)
    logs = boots(kernel_lines(raw))
    crashes = [told_crash(log) for log in logs]
    of_kdump = [n for n, log in enumerate(logs) if is_of_crash_kernel(log)]
    if len(of_kdump) == len(logs):  # nothing else is there to judge
        of_kdump.clear()
    judged = [n for n in range(len(logs)) if n not in of_kdump]
    chosen = max(judged, key=lambda n: (_gravity(crashes[n]), n))
    log = logs[chosen]
    banner = banner_of(log)
    reported, build_id = release_of(log)
    release = banner.split(None, 3)[2] if banner else reported
    remarks = []
    if (record := opened_record(raw)) and record.flaw:
        remarks.append(f"this part of pstore {record.flaw}")
    if reported and release != reported:
        remarks.append(
            f"the log has the banner of kernel {printable(release or '')}, but its crash is one of"
            f" {printable(reported)}: that counts"
        )
        banner, release = None, reported
    if len(logs) > 1:
        gravity = _gravity(crashes[chosen])
        crashed = sum(_gravity(each) == gravity for each in crashes) if gravity else 0
        remarks.append(
            f"the log has {count(len(logs), 'boot')}, and {crashed} of them crashed: this is number"
            f" {chosen + 1}"
        )
        others = [n for n, each in enumerate(crashes) if each.message and n != chosen]
        for n in others[-_SHOWN:]:
            verb = "crashed too" if _gravity(crashes[n]) == gravity else "reported"
            remarks.append(f"boot {n + 1} {verb}: {short_line(crashes[n].message or '')}")
    if is_mixed(log) or any(is_going_on_in(a, log) for a in logs[max(0, chosen - 1) : chosen]):
        remarks.append(
            "lines of several machines, or of several logs, are mixed in this one: what it says may"
            " be of any of them"
        )
    if of_kdump:
        numbers = ", ".join(str(n + 1) for n in of_kdump[-_SHOWN:])
        remarks.append(f"the kernel that was to write the dump is boot {numbers}: not judged")
    if left_out:
        kept = human_size(TEXT_LIMIT)
        remarks.append(f"only the last {kept} of the log are read, {human_size(left_out)} are not")
    return Dump(
        path=path,
        format=KERNEL_LOG,
        size_bytes=source.size,
        arch=arch_of(log, banner, release) or UNKNOWN_ARCH,
        osrelease=release,
        build_id=build_id,
        banner=banner,
        panic_message=crashes[chosen].message,
        dmesg=log,
        log_digest=log_digest(log),
        remarks=tuple(remarks),
    )


def _gravity(crash: Told) -> int:
    return (crash.message is not None) + crash.is_fatal


def tail_of(path: Path, limit_bytes: int) -> bytes:
    """The end of a file.

    :raises OSError: it cannot be read
    """
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - limit_bytes))
        return file.read(limit_bytes)


def _text_of(source: Source) -> str:
    return kernel_lines(source.read(max(0, source.size - TEXT_LIMIT), TEXT_LIMIT))


class ChosenLog(NamedTuple):
    """The kernel log of a crash among the files of an upload without a dump."""

    files: tuple[Path, ...]
    """What it is made of, oldest first."""
    text: bytes
    remarks: tuple[str, ...] = ()


class _Part(NamedTuple):
    """A file of pstore."""

    crash: int
    number: int
    """1 is the newest."""
    second: int | None
    """When it was written, if its name tells."""
    path: Path
    raw: bytes
    flaw: str | None
    """What of it is lost."""


def choose_log(files: Sequence[Path]) -> ChosenLog | None:
    """The kernel log of a crash among files.

    That which tells of a crash and has most of it; one that only reported trouble counts where none
    crashed. The parts that pstore keeps of one crash are put together.

    :return: ``None``: no file is a kernel log
    """
    parts: list[_Part] = []
    best: tuple[tuple[bool, int, bool, int], Path, bytes] | None = None
    crashed: list[int] = []
    for path in files:
        raw = tail_of(path, TEXT_LIMIT)
        record = opened_record(raw)
        if record and (number := pstore_part(record.raw)):
            parts.append(_Part(*number, _second_of(path), path, *record))
            continue
        text = kernel_lines(raw)
        if not is_kernel_log(text):
            continue
        worth = (
            not (is_of_kdump(path.name) or all(map(is_of_crash_kernel, boots(text)))),
            _gravity(told_crash(text)),
            banner_of(text) is not None,
            len(text),
        )
        crashed += [worth[1]] if worth[:2] >= (True, 1) else []
        if best is None or worth > best[0]:
            best = worth, path, raw
    newest = _newest_record(parts) if parts else None
    if newest and (not crashed or not best or _gravity_of(newest.text) > best[0][1]):
        return newest
    if best is None:
        return None
    alike = crashed.count(best[0][1])
    remark = f"{alike} of the files tell of a crash: --member NAME takes another than this"
    return ChosenLog((best[1],), best[2], (remark,) if alike > 1 else ())


def _gravity_of(raw: bytes) -> int:
    return _gravity(told_crash(kernel_lines(raw)))


def _newest_record(parts: Sequence[_Part]) -> ChosenLog:
    """What pstore kept at the last time of those that it kept something."""
    times: dict[int, int] = {}
    for second in sorted({each.second for each in parts if each.second is not None}):
        last = max(times, default=second)
        times[second] = times.get(last, 0) + (second - last > _RECORD_S)
    records: dict[tuple[int, int], list[_Part]] = {}
    for each in parts:
        key = -1 if each.second is None else times[each.second]
        records.setdefault((key, each.crash), []).append(each)
    record = list({each.raw: each for each in records[max(records)]}.values())
    numbers = sorted(each.number for each in record)
    remarks = []
    if len(records) > 1:
        remarks.append(f"pstore kept {len(records)} records: this is the newest")
    if len(set(numbers)) < len(numbers):
        one = max(
            record,
            key=lambda each: (_gravity_of(each.raw), len(each.raw)),
        )
        remarks.append(
            f"pstore kept parts of several crashes that nothing tells apart: this is one of"
            f" {len(numbers)} files, --member NAME takes another"
        )
        return ChosenLog((one.path,), one.raw, tuple(remarks))
    if missing := sorted(set(range(1, numbers[-1])) - set(numbers)):
        named = ", ".join(map(str, missing[:_SHOWN]))
        remarks.append(f"of the parts that pstore keeps of the crash these are missing: {named}")
    remarks += [f"part {each.number} in pstore {each.flaw}" for each in record if each.flaw]
    oldest_first = sorted(record, key=lambda each: -each.number)
    joined = b"".join(each.raw.partition(b"\n")[2] for each in oldest_first)
    return ChosenLog(tuple(each.path for each in oldest_first), joined, tuple(remarks))


def _second_of(path: Path) -> int | None:
    """When a file of pstore was written, by its name.

    EFI's are numbered ``(seconds * 100 + part) * 1000 + crash``
    (``drivers/firmware/efi/efi-pstore.c``: generic_id()).
    """
    found = _RECORD_ID.search(path.name)
    return int(found[1]) // 100_000 if found else None

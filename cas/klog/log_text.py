"""A kernel log as people send it, as the lines that the kernel printed: pstore, journals, consoles.

Stamps, levels and colours stay: :mod:`cas.klog.lines` takes them off line by line.
"""

from __future__ import annotations

import codecs
import json
import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import groupby, pairwise
from typing import NamedTuple

from cas.choices import Kind
from cas.klog.choice import choose
from cas.klog.dmesg_json import is_dmesg_json, lines_of_dmesg_json
from cas.klog.fragments import without_fragments
from cas.klog.lines import LOG_LIMIT, Log, parse, without_colours
from cas.klog.pstore import opened_record, without_heads
from cas.model.code import CodePlace

TEXT_LIMIT = LOG_LIMIT // 2
"""Bytes of the end of a file that are read; text with an emoji in it takes four times as many."""
BOOTS_LIMIT = 1000
_BANNER = "Linux version "
_WHOLE_BANNER = re.compile(r"Linux version \d{1,3}\.\d{1,5}\S{0,80} \(")
"""Who built it follows the release (``init/version.c``); a README has other words there."""
_FIRST_WORDS = "Booting Linux on "
"""What arm64 and riscv print before the banner (``arch/arm64/kernel/setup.c``)."""
_FEWEST_STAMPS = 3
_LOOKED_AT = 200
"""Lines of which some must have stamps where nothing else tells that a text is a kernel log."""
_STAMP = re.compile(
    r"(?m)^(?:<\d{1,3}>|[^\n\[]{0,80}\bkernel: )?"
    r"(?:\[ *(\d{1,10}\.\d{6})\b"
    r"|(?:\d{1,3}\.\d{1,5}[^\s,]{0,80},)?\d{1,3},\d{1,10},(\d{1,16}),[^;,\n]{0,16}[;,])"
)
"""Seconds, always with six decimals (``kernel/printk/printk.c``: print_time()), or netconsole's
microseconds. X servers print three decimals, tables of numbers anything."""
_RESET_FALL_S = 1.0
_RESET_PART = 0.5
"""A kernel that was booted anew counts from zero; clocks of processors differ by far less."""
_RESET_STAMPS = 50
"""Stamps that must stay low then: of two machines in one log the higher ones come again."""
_OF_MACHINE = re.compile(
    r"(?m)^(?:<\d{1,3}>)?(?:[^\W\d]{2,6}\.? [ \d]\d [\d:]{8}(?:\.\d{1,6})?"
    r"|\d{4}-\d\d-\d\dT\S{8,30}|\[ *\d{1,10}\.\d{6}\]) (\S{1,64}) "
    r"(?:kernel: |(?=\[ *\d{1,10}\.\d{6}\]))"
)
"""A syslog's date and machine, or journalctl's seconds and machine; what netconsole sent has the
kernel's stamp behind it."""
_KASLR = re.compile(r"Kernel Offset: 0x([0-9a-f]{1,16}) from 0x")
_CLOCK = re.compile(r"setting system clock to [^\n]{10,60}\((\d{9,11})\)")
"""``drivers/rtc/class.c``: rtc_hctosys(), when a kernel has booted."""
_HEAD = 1024
"""Characters before a banner that are of the same boot (``Initializing cgroup subsys``)."""
_GOES_ON_S = 60.0
"""Seconds: a leap by more, to where another boot had just ended, is no pause of one machine."""
_CRASH_KERNEL = re.compile(r"ommand line: [^\n]{0,4096}\belfcorehdr=|\bfor elfcorehdr\b")
"""It is told where the memory is that it is to write (``kernel/crash_dump.c``)."""
_CONSOLE_DATE = re.compile(
    r"(?m)^\[(?:\d{4}-\d\d-\d\d[ T]|[^\W\d]{2,5} [^\W\d]{2,5} [ \d]\d )?[\d:]{8}[^\]\n]{0,16}\] ?"
    r"(?=(?:<\d{1,3}>)?\[ *\d{1,10}\.\d{6}\])"
)
"""What a console's server writes before each line, and before the kernel's own stamp."""
_PLACE = re.compile(r"\w\+0x[0-9a-f]{1,8}/0x[0-9a-f]{1,8}\b")
_SYMBOL = re.compile(
    r"(?<![\w.$])([A-Za-z_.][\w.$]{0,127})\+0x([0-9a-f]{1,8})/0x([0-9a-f]{1,8})(?![0-9a-f])"
    r"(?: \[([\w-]{1,64})(?: ([0-9a-f]{8,64}))?\])?"
)
_WIDTHS = (80, 132)
"""Columns of a terminal."""
_ROWS = 16
"""Of one line: printk cuts its lines at about 1,000 characters."""
_ROW = re.compile(r"[^\n]+")
_CUT_PLACE = re.compile(r"[\w.]\+(?:0(?:x[0-9a-f]{0,8}(?:/(?:0x?)?)?)?)?$")
"""The beginning of ``+0x18/0x38``, which nothing ends with."""
_REST_OF_NAME = re.compile(r"[\w.]{0,128}\+0x[0-9a-f]{1,8}/0x[0-9a-f]{1,8}\b")
"""At a row's beginning: the kernel puts at least a blank before a function there."""
_FEWEST_TWICE = 10
"""Lines that must stand there twice (rsyslog's imklog beside its imjournal)."""
_CUT = 24
"""Characters on each side of an edge that such a place takes."""
_JSON_RECORD = re.compile(rb"\s{0,16}(?:[^\n]{0,65536}\n)?(?:data: |\x1e)?\{")
"""A journal's first line, or second where the first is cut (``journalctl -o json``, ``-pretty``,
``-sse``, ``-seq``)."""
_JSON_BEGINS = re.compile(r"(?m)^(?:data: |\x1e)?(?=\{)")
_MICROSECONDS = re.compile(r"[0-9]{1,18}")
PLACES_LIMIT = 1000
"""Places in the code that are looked up; a report names some tens."""
_ARCHES = {
    "x86_64": re.compile(r"\bRIP: 0010:|\bRSP: 0018:|\bCR2: [0-9a-f]{16}\b"),
    "i686": re.compile(r"\bEIP: 0060:|\bEIP is at |\bEIP: .{1,80}\bEFLAGS: "),
    "aarch64": re.compile(r"\bpstate: ?[0-9a-f]{8} \(|\bESR = 0x[0-9a-f]{8,16}"),
    "armv7l": re.compile(r"\bpsr: ?[0-9a-f]{8}\b|\bPC is at .{1,200}\n.{0,80}LR is at "),
    "riscv64": re.compile(r"\bepc : [0-9a-f]{16} ra : "),
    "ppc64le": re.compile(r"\bLE PAGE_SIZE=|\bMSR:  [0-9a-f]{16} <.{1,60}\bLE>"),
    "s390x": re.compile(r"\bKrnl PSW : "),
    "loongarch64": re.compile(r"\bERA: [0-9a-f]{16} "),
}
"""What only one architecture prints of a crash (``arch/*/kernel/traps.c``, ``process.c``)."""
_NAMED_ARCHES = (
    ("x86_64", re.compile(r"x86_64|\bamd64\b|\bx86-64\b")),
    ("aarch64", re.compile(r"aarch64|\barm64\b")),
    ("ppc64le", re.compile(r"ppc64le|\bppc64el\b|\bpowerpc64le\b")),
    ("s390x", re.compile(r"s390x")),
    ("riscv64", re.compile(r"riscv64")),
    ("i686", re.compile(r"\bi[3-6]86\b")),
)
_RELEASE = re.compile(
    r"Comm: .{1,64}? (?:Not tainted|Tainted: .{1,160}?) +(\d{1,3}\.\d{1,5}\S{0,80}) #\d"
    r"(?:\S{0,20} ([0-9a-f]{40})\b)?"
)
"""``lib/dump_stack.c``: dump_stack_print_info(), with the build-id where it is configured
(CONFIG_STACKTRACE_BUILD_ID)."""


def kernel_lines(raw: bytes) -> str:
    """What the kernel printed, of a file in any of the forms that logs are kept in."""
    if record := opened_record(raw):
        raw = record.raw
    encoding = "utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"
    if b"__REALTIME_TIMESTAMP=" in raw[:65536]:
        return "".join(_lines_of_journal(_exported(raw)))
    if _JSON_RECORD.match(raw[:65536]) and b'"MESSAGE"' in raw[:65536]:
        return "".join(_lines_of_journal(_json_objects(raw)))
    text = raw.decode(encoding, "surrogateescape" if encoding == "utf-8" else "replace")
    if is_dmesg_json(raw[:65536]):
        return "".join(lines_of_dmesg_json(text))
    text = text.replace("\0", "").replace("\r\n", "\n").removeprefix("\ufeff")
    if "\n" not in text:
        text = text.replace("\r", "\n")
    text = _said_once(_unwrapped(without_fragments(without_colours(text))))
    return _CONSOLE_DATE.sub("", without_heads(text))


def _said_once(text: str) -> str:
    """A text whose lines two programs wrote, each of them, without the second of each line.

    Repeated lines of a flood or a recursion come in runs of any length.
    """

    def runs() -> Iterator[tuple[str, int]]:
        rows = groupby(row[0] for row in _ROW.finditer(text))
        return ((row, sum(1 for _ in run)) for row, run in rows)

    odd = even = 0
    for _, length in runs():
        odd, even = odd + length % 2, even + 1 - length % 2
    if even < _FEWEST_TWICE or even < odd * 10:
        return text
    return "".join(f"{row}\n" * -(-length // 2) for row, length in runs())


def _unwrapped(text: str) -> str:
    """A text whose lines a terminal broke at its edge, with these put together again.

    Where lines begin with stamps or dates, a row without one that follows a full one goes on with
    it; elsewhere only what cuts a place in the code is sure.
    """
    is_wrapped = max((end - start for start, end in _rows(text)), default=0) in _WIDTHS
    is_stamped = is_wrapped and _is_stamped(text)
    pieces, kept_from, joined = list[str](), 0, 1
    before = before_end = -1
    for start, end in _rows(text):
        goes_on = start == before_end + 1 and before_end - before in _WIDTHS and joined < _ROWS
        if goes_on and not (is_stamped and not _begins_line(text[start:end])):
            rows = text[before:before_end], text[start:end]
            goes_on = _is_cut_place(*rows, is_wrapped=is_wrapped)
        if goes_on:
            pieces.append(text[kept_from:before_end])
            kept_from = start
        joined = joined + 1 if goes_on else 1
        before, before_end = start, end
    return "".join((*pieces, text[kept_from:]))


def _rows(text: str) -> Iterator[tuple[int, int]]:
    # a list of all rows would take several times the text's memory
    return (row.span() for row in _ROW.finditer(text))


def _is_stamped(text: str) -> bool:
    """Whether most lines begin with a stamp or a date, as far as a full row does not go on."""
    begun, before, before_end = 0, -1, -1
    for start, end in _rows(text):
        if _begins_line(text[start:end]):
            begun += 1
        elif start != before_end + 1 or before_end - before not in _WIDTHS:
            begun -= 1
        before, before_end = start, end
    return begun > 0


def _begins_line(row: str) -> bool:
    return len(parse(row).text) < len(row.rstrip())


def _is_cut_place(before: str, after: str, *, is_wrapped: bool) -> bool:
    """Whether the edge between two rows is in a place in the code.

    :param is_wrapped: no row is longer: then it may also be in the function's name
    """
    if is_wrapped and re.match(r"\w", before[-1]) and _REST_OF_NAME.match(after):
        return True
    before, after = before[-_CUT:], after[:_CUT]
    return _CUT_PLACE.search(before) is not None and any(
        found.end() > len(before) for found in _PLACE.finditer(before + after)
    )


def is_kernel_log(text: str) -> bool:
    """Whether a text is what a kernel printed, or has a crash of one in it.

    One line that tells of a crash may be quoted in any text: code must be named as a kernel does.
    """
    if next(_boot_starts(text), None) is not None:
        return True
    if _PLACE.search(text) and choose(Log(text)).crash.kind is not Kind.NONE:
        return True
    lines = text.split("\n", _LOOKED_AT)[:_LOOKED_AT]
    stamped = [line for line in lines if _STAMP.match(line) and parse(line).text]
    return len(stamped) >= _FEWEST_STAMPS


def boots(text: str) -> tuple[str, ...]:
    """The logs of the kernels that were booted one after another, oldest first.

    Each begins with its banner, or where the time since boot falls: netconsole sends no banner.
    """
    banners = list(_boot_starts(text))
    resets = [fall.start for fall in _falls(text) if fall.is_reset]
    # a few lines may come before the banner, with or without stamps
    starts = {each for each in banners if not _has_between(resets, each - _HEAD, each)}
    starts |= {each for each in resets if not _has_between(banners, each - _HEAD, each)}
    first = min(starts, default=0)
    if first < _HEAD and not _is_of_a_boot(text[:first]):
        starts -= {first}
    starts -= {0}
    ends = [*sorted(starts), len(text)]
    return tuple(text[a:b] for a, b in zip([0, *sorted(starts)], ends, strict=True))[-BOOTS_LIMIT:]


def _is_of_a_boot(head: str) -> bool:
    """Whether what stands before a banner is of a boot before, not only an archive's heading."""
    ran_s = max(map(_seconds, _STAMP.finditer(head)), default=0.0)
    return ran_s > 0 or choose(Log(head)).crash.kind is not Kind.NONE


def is_mixed(log: str) -> bool:
    """Whether one boot's lines are of several machines, by their names or the time since boot.

    A machine may get its name while it boots; one that has its old name again is two. Time falls
    and comes back where each counts from a boot of its own.
    """
    names = (found[1] for found in _OF_MACHINE.finditer(log))
    named = [name for name, _ in groupby(names)]
    return len(set(named)) < len(named) or any(not fall.is_reset for fall in _falls(log))


def is_going_on_in(boot: str, later: str) -> bool:
    """Whether a boot's lines come again behind the banner of a later one: of another machine."""
    ended_s = max(map(_seconds, _STAMP.finditer(boot)), default=0.0)
    times = map(_seconds, _STAMP.finditer(later))
    return any(
        now_s - last_s > _GOES_ON_S and 0 <= now_s - ended_s < _GOES_ON_S
        for last_s, now_s in pairwise(times)
    )


def is_of_crash_kernel(log: str) -> bool:
    """Whether the kernel of one boot is that which kdump starts to write the dump."""
    return _CRASH_KERNEL.search(log) is not None


def banner_of(text: str) -> str | None:
    """The kernel's whole ``Linux version …`` line, without stamp."""
    start = next(_boot_starts(text), None)
    if start is None:
        return None
    lines = (parse(line).text for line in text[start : start + 8192].split("\n"))
    return next((line for line in lines if _WHOLE_BANNER.match(line)), None)


def release_of(text: str) -> tuple[str | None, str | None]:
    """``uname -r`` and build-id of the kernel as its reports name them, the last of them."""
    found = None
    for found in _RELEASE.finditer(text):  # noqa: B007  the last one counts
        pass
    return (found[1], found[2]) if found else (None, None)


def kaslr_offset_of(log: str) -> int | None:
    """How far KASLR moved the kernel, which x86 and arm64 print when they panic."""
    found = _KASLR.search(log)
    return int(found[1], 16) if found else None


def end_of(log: str) -> float | None:
    """When a log's last line was printed, in seconds since 1970, by the clock of the hardware.

    That may go by local time, so it is right to 14 hours or so.
    """
    clock, stamps = _CLOCK.search(log), list(_STAMP.finditer(log))
    if not clock or not stamps:
        return None
    began_s = parse(log[log.rfind("\n", 0, clock.start()) + 1 : clock.end()]).uptime_s
    if began_s is None:
        return None
    return int(clock[1]) + _seconds(stamps[-1]) - began_s


def arch_of(text: str, banner: str | None, release: str | None) -> str | None:
    """The architecture in ``uname -m`` spelling, by what only it prints; ``None``: not told."""
    for arch, pattern in _ARCHES.items():
        if pattern.search(text):
            return arch
    for words in filter(None, (release, banner)):  # the banner names compiler and builder, too
        named = [arch for arch, pattern in _NAMED_ARCHES if pattern.search(words)]
        if named:
            return named[0] if len(named) == 1 else None
    return None


def code_places(log: str) -> tuple[CodePlace, ...]:
    """The code that a kernel log names as ``function+offset/size [kmod]``, each once, newest first.

    Of one function that has several sizes there are several places.
    """
    found: dict[CodePlace, None] = {}
    for each in _SYMBOL.finditer(log):
        kmod = each[4] and each[4].replace("-", "_")
        place = CodePlace(each[1], int(each[2], 16), int(each[3], 16), kmod)
        found.pop(place, None)  # where it was named last is its place
        found[place] = None
    return tuple(reversed(found))[:PLACES_LIMIT]


def kmods_of_places(log: str) -> dict[str, str | None]:
    """The kernel modules in which that code is, with their build-ids where the kernel tells them.

    It does since Linux 5.14 where that is configured (CONFIG_STACKTRACE_BUILD_ID).
    """
    found: dict[str, str | None] = {}
    for each in _SYMBOL.finditer(log):
        if each[4]:
            name = each[4].replace("-", "_")
            found[name] = each[5] or found.get(name)
    return found


def _boot_starts(text: str) -> Iterator[int]:
    """Where a banner's line begins, or the line before it that belongs to the same boot."""
    at = text.find(_BANNER)
    while at >= 0:
        start = text.rfind("\n", 0, at) + 1
        end = text.find("\n", at)
        line = text[start : end if end >= 0 else len(text)]
        if _WHOLE_BANNER.match(parse(line).text):
            before = text.rfind("\n", 0, max(0, start - 1)) + 1
            yield before if _FIRST_WORDS in text[before:start] else start
        at = text.find(_BANNER, at + 1)


def _seconds(stamp: re.Match[str]) -> float:
    return float(stamp[1]) if stamp[1] else int(stamp[2]) / 1e6


def _has_between(ordered: Sequence[int], first: int, end: int) -> bool:
    at = bisect_left(ordered, first)
    return at < len(ordered) and ordered[at] < end


class _Fall(NamedTuple):
    """A line whose time since boot is far below that of the one before."""

    start: int
    is_reset: bool
    """The times behind it stay low: it is of a later boot."""


def _falls(text: str) -> Iterator[_Fall]:
    seconds, starts = array("d"), array("q")
    for stamp in _STAMP.finditer(text):
        seconds.append(_seconds(stamp))
        starts.append(stamp.start())
    mixed_until = 0
    for n, (last_s, now_s) in enumerate(pairwise(seconds), 1):
        limit_s = min(last_s - _RESET_FALL_S, last_s * _RESET_PART)
        if now_s >= limit_s:
            continue
        is_reset = n > mixed_until and max(seconds[n : n + _RESET_STAMPS]) < limit_s
        if not is_reset:
            mixed_until = n + _RESET_STAMPS
        yield _Fall(starts[n], is_reset)


def _lines_of_journal(records: Iterable[Mapping[str, str]]) -> Iterator[str]:
    for record in records:
        is_kernel = "kernel" in (record.get("_TRANSPORT"), record.get("SYSLOG_IDENTIFIER"))
        message = record.get("MESSAGE")
        if is_kernel and isinstance(message, str):
            stamp = record.get("_SOURCE_MONOTONIC_TIMESTAMP") or record.get("__MONOTONIC_TIMESTAMP")
            is_stamp = _MICROSECONDS.fullmatch(str(stamp)) is not None
            seconds = f"[{int(str(stamp)) / 1e6:12.6f}] " if is_stamp else ""
            yield "".join(f"{seconds}{line}\n" for line in message.split("\n"))


def _json_objects(raw: bytes) -> Iterator[dict[str, str]]:
    """``journalctl -o json``: objects, each from a line's begin; what is cut is passed over.

    A message that is no UTF-8 is a list of its bytes.
    """
    for text in _JSON_BEGINS.split(raw.decode("utf-8", "surrogateescape")):
        try:
            record = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if not isinstance(record, dict):
            continue
        message = record.get("MESSAGE")
        if isinstance(message, list):
            with suppress(ValueError, TypeError):
                record["MESSAGE"] = bytes(message).decode("utf-8", "surrogateescape")
        yield record


def _exported(raw: bytes) -> Iterator[dict[str, str]]:
    """``journalctl -o export``: fields a line, entries apart by an empty one.

    A field whose text has line ends is its name, then its size as 64 bits, little-endian, and the
    text (systemd, "Journal Export Formats").
    """
    record: dict[str, str] = {}
    at = 0
    while at < len(raw):
        end = raw.find(b"\n", at)
        end = len(raw) if end < 0 else end
        line = raw[at:end]
        at = end + 1
        name, equals, value = line.partition(b"=")
        if not line:
            yield record
            record = {}
            continue
        if not equals:
            size = int.from_bytes(raw[at : at + 8], "little")
            if at + 8 + size > len(raw):
                continue  # the rest of a line whose beginning is cut
            value = raw[at + 8 : at + 8 + size]
            at += 8 + size + 1
        record[name.decode("latin-1")] = value.decode("utf-8", "surrogateescape")
    yield record

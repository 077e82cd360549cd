"""What kind of crash it was, from the lines with which the kernel announces it.

The texts are those of the kernel's sources: ``kernel/panic.c``, ``kernel/hung_task.c``,
``kernel/watchdog.c``, ``kernel/rcu/tree_stall.h``, ``mm/oom_kill.c``, ``lib/list_debug.c`` and
``fault.c``, ``traps.c`` of each architecture, from Linux 2.6 to 6.x.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from cas.findings.log import Line


class Kind(StrEnum):
    """Kinds of crashes; the values are part of the signature and never change."""

    NULL_DEREFERENCE = "null-dereference"
    PAGE_FAULT = "page-fault"
    PROTECTION_FAULT = "protection-fault"
    BUG_ON = "bug-on"
    LIST_CORRUPTION = "list-corruption"
    DIVIDE_ERROR = "divide-error"
    DOUBLE_FAULT = "double-fault"
    STACK_OVERFLOW = "stack-overflow"
    STACK_PROTECTOR = "stack-protector"
    OOPS = "oops"
    MEMORY_ERROR = "memory-error"
    WARNING = "warning"
    HUNG_TASK = "hung-task"
    SOFT_LOCKUP = "soft-lockup"
    HARD_LOCKUP = "hard-lockup"
    RCU_STALL = "rcu-stall"
    OUT_OF_MEMORY = "out-of-memory"
    MACHINE_CHECK = "machine-check"
    NMI = "nmi"
    SYSRQ = "sysrq"
    PANIC = "panic"
    NONE = "none"
    """Nothing announces a crash: a dump of a running system."""


EXCEPTIONS = frozenset(
    {
        Kind.NULL_DEREFERENCE,
        Kind.PAGE_FAULT,
        Kind.PROTECTION_FAULT,
        Kind.BUG_ON,
        Kind.LIST_CORRUPTION,
        Kind.DIVIDE_ERROR,
        Kind.DOUBLE_FAULT,
        Kind.STACK_OVERFLOW,
        Kind.OOPS,
    }
)
"""Kinds in which the processor stopped the code at fault."""


@dataclass(frozen=True, slots=True)
class Event:
    """The line that announces the crash."""

    kind: Kind
    message: str
    """In a line, without die counter, error code and the noise of the configuration."""
    index: int | None = None
    """Of the line in the log; ``None`` when the message did not come from there."""
    earlier: int = 0
    """How many oopses stand in the log before this one."""
    has_panic: bool = True
    """Whether the kernel itself said that it gives up."""


Rules = tuple[tuple[re.Pattern[str], Kind], ...]


def _rules(*rules: tuple[str, Kind]) -> Rules:
    return tuple((re.compile(pattern), kind) for pattern, kind in rules)


_PANIC = re.compile(r"Kernel panic(?: - not syncing)?: ?(.*)")

_REASONS = _rules(
    (r"sysrq triggered crash", Kind.SYSRQ),
    (r"hung_task:", Kind.HUNG_TASK),
    (r"softlockup:", Kind.SOFT_LOCKUP),
    (r"(?:Watchdog detected )?[Hh]ard (?:LOCKUP|lockup)", Kind.HARD_LOCKUP),
    (r"RCU Stall", Kind.RCU_STALL),
    (r"[Oo]ut of memory|System is deadlocked on memory", Kind.OUT_OF_MEMORY),
    (r".*(?:[Mm]achine check|\bMCE\b|SError|[Hh]ardware [Ee]rror)", Kind.MACHINE_CHECK),
    (r".*(?:\bNMI\b|[Nn]on.?maskable)", Kind.NMI),
    (r"stack-protector:", Kind.STACK_PROTECTOR),
    (r".*panic_on_warn", Kind.WARNING),
    (r"corrupted stack end|[Kk]ernel stack overflow", Kind.STACK_OVERFLOW),
    (r"Fatal [Ee]xception|Oops|Unrecoverable", Kind.OOPS),
    (r"Attempted to kill|Aiee, killing interrupt handler", Kind.PANIC),
)
"""What stands behind ``Kernel panic - not syncing:``."""

_OOPSES = _rules(
    (r"(?:BUG: )?(?:[Kk]ernel|[Uu]nable to handle kernel) NULL pointer", Kind.NULL_DEREFERENCE),
    (r"(?:BUG: )?[Uu]nable to handle ", Kind.PAGE_FAULT),
    (r"general protection fault", Kind.PROTECTION_FAULT),
    (r"kernel BUG at ", Kind.BUG_ON),
    (r"divide error", Kind.DIVIDE_ERROR),
    (r"(?:PANIC: )?double fault", Kind.DOUBLE_FAULT),
    (r"BUG: .{0,20}stack guard page was hit", Kind.STACK_OVERFLOW),
    (r"[Kk]ernel stack overflow|Insufficient stack space", Kind.STACK_OVERFLOW),
)
"""First lines of an oops."""

_OOPS_HEADERS = _rules(
    (r".{0,80}\[#\d+\]", Kind.OOPS),
    (r"Internal error: |Bad mode in ", Kind.OOPS),
)
"""Lines that only count when no first line stands before them."""
_OOPS_HEAD_LINES = 24
"""How far the die counter can be behind the first line; aarch64 prints most in between."""

_WARNINGS = _rules(
    (r"(?:sysrq: )?(?:SysRq : )?Trigger a crash", Kind.SYSRQ),
    (r"INFO: task .{1,80} blocked for more than ", Kind.HUNG_TASK),
    (r"BUG: soft lockup", Kind.SOFT_LOCKUP),
    (r"Watchdog detected hard LOCKUP", Kind.HARD_LOCKUP),
    (r"INFO: \w{1,20} (?:self-)?detected (?:expedited )?stall", Kind.RCU_STALL),
    (r"BUG: K(?:A|F|MS|CS)[A-Z]{2,4}: ", Kind.MEMORY_ERROR),
    (r"BUG [\w:-]{1,60} \(.{0,40}\): |BUG: Bad page state", Kind.MEMORY_ERROR),
    (r"WARNING: CPU: \d+ PID: \d+ at |WARNING: .{1,80} at .{1,80}\+0x", Kind.WARNING),
)
"""Lines after which a kernel lives on unless it was told to panic."""

_ANNOUNCED = re.compile(
    "|".join(f"(?:{pattern.pattern})" for pattern, _ in (*_OOPSES, *_OOPS_HEADERS[1:], *_WARNINGS))
)
"""All of them at once: few of the many lines of a log announce anything."""

_SPEAKERS = re.compile(r"^(?:(?:NMI )?watchdog: |rcu: |Oops: (?=[a-zPB]))+")
"""Who says it; newer kernels put it before the same line."""
_NOISE = re.compile(r":?(?: [0-9a-f]{4,16})?(?: ilc:\d)? \[#\d+\].*$")
_ADDRESS = re.compile(r"(?:address:?|at) (?:0x)?([0-9a-f]{8,16})$")
_FAILING = re.compile(r"Failing address: ([0-9a-f]{8,16})")
_FIRST_PAGE = 4096


def event_of(log: Sequence[Line], message: str | None) -> Event:
    """Find the line that announces the crash.

    An oops that made the kernel panic counts, not the panic that followed it.

    :param message: the panic message, for a dump whose log cannot be read
    """
    event = _event(log)
    if event.kind is Kind.NONE and message:
        said = _event(tuple(Line(text) for text in message.split("\n")))
        return Event(said.kind, said.message or _clean(message), None, 0, said.has_panic)
    return event


def _event(log: Sequence[Line]) -> Event:
    headers = _headers(log)
    panics = [i for i, line in enumerate(log) if _PANIC.match(line.text)]
    if panics:
        return _panicked(log, headers, panics[-1])
    oopses = [index for index, kind in headers.items() if kind in EXCEPTIONS]
    if oopses:
        return _at(log, headers, oopses[-1], has_panic=False)
    if headers:
        return _at(log, headers, max(headers), has_panic=False)
    return Event(Kind.NONE, "", has_panic=False)


def _panicked(log: Sequence[Line], headers: dict[int, Kind], panic: int) -> Event:
    found = _PANIC.match(log[panic].text)
    kind = _kind(_REASONS, found[1] if found else "") or Kind.PANIC
    causes = _causes(kind)
    before = [index for index, cause in headers.items() if index < panic and cause in causes]
    if before:
        return _at(log, headers, before[-1], has_panic=True)
    return Event(kind, _clean(log[panic].text), panic, _oopses_before(headers, panic))


def _causes(kind: Kind) -> frozenset[Kind]:
    """Which announcements explain a panic of this kind."""
    if kind in (Kind.OOPS, Kind.PANIC, Kind.STACK_OVERFLOW):
        return EXCEPTIONS
    if kind is Kind.WARNING:
        return frozenset({Kind.WARNING, Kind.MEMORY_ERROR})
    return frozenset({kind} - {Kind.SYSRQ})


def _at(log: Sequence[Line], headers: dict[int, Kind], index: int, *, has_panic: bool) -> Event:
    kind, message = headers[index], _clean(log[index].text)
    near = [line.text for line in log[max(0, index - 8) : index]]
    if kind is Kind.BUG_ON and "lib/list_debug.c" in message:
        causes = [text for text in near if text.startswith("list_")]
        kind, message = Kind.LIST_CORRUPTION, _clean(causes[-1]) if causes else message
    elif kind is Kind.NULL_DEREFERENCE and any(_kind(_WARNINGS, t) is Kind.SYSRQ for t in near):
        kind, message = Kind.SYSRQ, "SysRq: Trigger a crash"
    elif kind is Kind.PAGE_FAULT:
        kind, message = _page_fault(message, [line.text for line in log[index + 1 : index + 4]])
    return Event(kind, message, index, _oopses_before(headers, index), has_panic)


def _page_fault(message: str, following: Sequence[str]) -> tuple[Kind, str]:
    """Tell a NULL pointer by its address, where the kernel does not (ppc64, s390x)."""
    failing = [found[1] for text in following if (found := _FAILING.match(text))]
    if failing and not _ADDRESS.search(message):
        message = f"{message}, address: {failing[0]}"
    address = _ADDRESS.search(message)
    is_null = address is not None and int(address[1], 16) < _FIRST_PAGE
    return (Kind.NULL_DEREFERENCE if is_null else Kind.PAGE_FAULT), message


def _headers(log: Sequence[Line]) -> dict[int, Kind]:
    """Line numbers, ascending, of everything that announces trouble."""
    headers: dict[int, Kind] = {}
    last_oops = -_OOPS_HEAD_LINES
    for index, line in enumerate(log):
        text = _SPEAKERS.sub("", line.text, count=1)
        if "[#" not in text and not _ANNOUNCED.match(text):
            continue
        kind = _kind(_OOPSES, text)
        if kind is None and index - last_oops >= _OOPS_HEAD_LINES:
            kind = _kind(_OOPS_HEADERS, text)
        if kind is not None:
            last_oops = index
        kind = kind or _kind(_WARNINGS, text)
        if kind is not None:
            headers[index] = kind
    return headers


def _oopses_before(headers: dict[int, Kind], index: int) -> int:
    return sum(1 for at, kind in headers.items() if at < index and kind in EXCEPTIONS)


def _kind(rules: Rules, text: str) -> Kind | None:
    return next((kind for pattern, kind in rules if pattern.match(text)), None)


def _clean(text: str) -> str:
    text = _SPEAKERS.sub("", " ".join(text.split()), count=1)
    text = _NOISE.sub("", text).removeprefix("INFO: ")
    return text.rstrip(".: ")

"""What a crash is called, in the field's form: ``general protection fault in f [m]``.

The headline of a title has nothing that changes from one crash to the next: no address, process,
processor, line number or length of time.
"""

from __future__ import annotations

import re

from cas.choices import Kind
from cas.findings.crash import Crash
from cas.findings.culprit import plain_name
from cas.klog.kinds import UNNAMED
from cas.model.code import Frame

_OF_KIND = {
    Kind.NULL_DEREFERENCE: "NULL pointer dereference",
    Kind.PAGE_FAULT: "page fault",
    Kind.PROTECTION_FAULT: "general protection fault",
    Kind.BUG_ON: "kernel BUG",
    Kind.LIST_CORRUPTION: "list corruption",
    Kind.DIVIDE_ERROR: "divide error",
    Kind.DOUBLE_FAULT: "double fault",
    Kind.STACK_OVERFLOW: "stack overflow",
    Kind.STACK_PROTECTOR: "stack corruption",
    Kind.HUNG_TASK: "task hung",
    Kind.SOFT_LOCKUP: "soft lockup",
    Kind.HARD_LOCKUP: "hard lockup",
    Kind.RCU_STALL: "RCU stall",
    Kind.OUT_OF_MEMORY: "out of memory",
    Kind.MACHINE_CHECK: "machine check",
    Kind.NMI: "NMI",
    Kind.SYSRQ: "crash by sysrq",
    Kind.NONE: "running system",
}
_SANITIZER = re.compile(r"BUG: (K\w{3,5}): (?:\w+: )?([\w -]{1,60}?)(?: in | on |$)")
_SAME_WORDS = {
    "slab-use-after-free": "use-after-free",
    "double-free or invalid-free": "invalid-free",
    "double-free": "invalid-free",
    "suspicious rcu_dereference_check() usage": "suspicious RCU usage",
    "workqueue leaked atomic, lock or RCU": "workqueue leaked lock or atomic",
}
"""What ``mm/kasan`` calls differently since Linux 6.3, and before 5.16; lockdep before 3.2; the
workqueue since 6.9."""
_TRANSMIT = re.compile(r"NETDEV WATCHDOG: .{1,60}? \(([\w-]{1,60})\)")
"""``net/sched/sch_generic.c``: dev_watchdog() tells of a driver that is not on its stack."""
_SLAB = re.compile(r"BUG ([\w:.-]{1,60}).{0,80}?\): (.{1,80})")
_UBSAN = re.compile(r"(UBSAN: Undefined behaviour|UBSAN: [\w-]{1,60})", re.IGNORECASE)
_BAD_PAGE = re.compile(r"BUG: (Bad (?:page \w{1,10}|rss-counter))")
_REPORT = re.compile(
    r"possible (?:circular locking dependency|recursive locking|irq lock inversion)"
    r"|inconsistent lock state|suspicious (?:RCU|rcu_dereference_check\(\)) usage"
    r"|bad unlock balance|held lock freed"
    r"|lock held when returning to user space|still has locks held|[Nn]ested lock was not taken"
    r"|trying to register non-static key|[Ii]nvalid wait context|scheduling while atomic"
    r"|sleeping function called from invalid context|using \w+\(\) in preemptible"
    r"|unchecked MSR access error|workqueue leaked (?:lock or atomic|atomic, lock or RCU)"
    r"|workqueue lockup|spinlock lockup"
    r"|(?:spin|rw)lock (?:bad magic|(?:cpu[ -])?recursion|already unlocked|wrong (?:owner|CPU))"
    r"|tried to init an initialized object|kernel stack \w+"
)
_CHECKS = {"lib/refcount.c": "refcount error", "lib/debugobjects.c": "ODEBUG error"}
"""Warnings whose place is that of a check: it says what is wrong."""
_CHANGING = re.compile(
    r"0x[0-9a-fA-F]+|\b[0-9a-f]{8,16}\b|\b\d+\b|\([^)]{0,200}\)|\"[^\"]{0,200}\""
)
_SAID_BY = re.compile(r"Kernel panic(?: - not syncing)?: ?|Internal error: |Oops: ")
_REASON_LENGTH = 60
_CRATE = re.compile(r"Cs[0-9A-Za-z]{1,12}_(?=\d)")
"""A crate with its disambiguator, a hash (RFC 2603, Rust's v0 symbol names)."""


def title(crash: Crash) -> str:
    """The headline and the innermost function at fault, also where it is inlined."""
    head = headline(crash)
    if " / " in head or not crash.frames or crash.kind is Kind.NONE:
        return head
    if crash.kind in (Kind.NMI, Kind.MACHINE_CHECK):
        return f"{head} while in {function_with_kmod(crash.frames[0])}"
    if crash.kind in UNNAMED:
        return head
    if crash.overwritten is not None:
        return f"{head}, {crash.overwritten} by {function_with_kmod(crash.frames[0])}"
    return f"{head} in {function_with_kmod(crash.frames[0])}"


def headline(crash: Crash) -> str:
    """What happened, without where."""
    kind, message = crash.kind, crash.event.message
    if kind is Kind.MEMORY_ERROR:
        return _memory_error_headline(message)
    if kind is Kind.WARNING:
        if found := _REPORT.search(message):
            return _SAME_WORDS.get(found[0], found[0])
        if found := _UBSAN.match(message):
            return found[1]
        if found := _TRANSMIT.match(message):
            return f"NETDEV WATCHDOG ({found[1]})"
        return next((said for file, said in _CHECKS.items() if file in message), "warning")
    if kind is Kind.SOFT_LOCKUP and (found := _REPORT.search(message)):
        return found[0]
    if kind is Kind.OOPS:
        return _panic_reason(_SAID_BY.sub("", message, count=1))
    if kind is Kind.PANIC:
        return f"panic: {_panic_reason(_SAID_BY.sub('', message, count=1))}"
    return _OF_KIND[kind]


def has_words(crash: Crash) -> bool:
    """Whether a headline says more than the kind of the crash."""
    return headline(crash) != _OF_KIND.get(crash.kind)


def function_with_kmod(frame: Frame) -> str:
    """A function and its kernel module: ``f [m]``; Rust's without what the compiler changes."""
    name = plain_name(frame.function)
    if name.startswith("_R"):
        name = _CRATE.sub("C", name)
    return f"{name} [{frame.kmod}]" if frame.kmod else name


def _memory_error_headline(message: str) -> str:
    if "KCSAN: data-race in" in message:
        both = message.partition(" in ")[2].split(" / ")
        return f"KCSAN: data-race in {' / '.join(sorted(plain_name(name) for name in both))}"
    if found := _SANITIZER.match(message):
        return f"{found[1]}: {_SAME_WORDS.get(found[2], found[2])}"
    if found := _SLAB.match(message):
        return f"slab {found[1]}: {found[2]}"
    found = _BAD_PAGE.match(message) or _UBSAN.match(message)
    return found[1] if found else "memory error"


def _panic_reason(text: str) -> str:
    """A panic's own words without what changes."""
    said = " ".join(_CHANGING.sub("", text).split()).rstrip(" .:!,")
    return said if len(said) <= _REASON_LENGTH else f"{said[:_REASON_LENGTH].rsplit(' ', 1)[0]}"

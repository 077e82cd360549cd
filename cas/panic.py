"""The line of the kernel log that announces the crash.

The rule. A crash has up to two announcements: that of the cause (``BUG: unable to handle …``,
``watchdog: BUG: soft lockup …``, ``sysrq: Trigger a crash`` …) and ``Kernel panic - not syncing``.

1. The log up to its first ``Kernel panic - not syncing`` counts: what a kernel says while it panics
   is not the cause. Without such a line (kdump starts before it is printed) the whole log counts.
2. In it, the last announcement of a cause is looked up, and the first line of the same report: one
   crash says ``BUG: kernel NULL pointer dereference`` and then ``Oops: 0002 [#1]``.
3. The panic line is taken instead if it gives a reason of its own, such as ``VFS: Unable to mount
   root fs``: an oops that the kernel survived is not its cause. Reasons that only repeat that there
   was an oops or a lockup do not count.
4. A ``WARNING:`` is a cause only for a kernel that panics on warnings.

Source: the messages in arch/x86/mm/fault.c, arch/x86/kernel/traps.c and dumpstack.c,
arch/arm64/mm/fault.c, lib/bug.c, kernel/watchdog.c, kernel/hung_task.c, kernel/panic.c,
kernel/rcu/tree_stall.h, drivers/tty/sysrq.c, arch/s390/kernel/dumpstack.c.
"""

from __future__ import annotations

import re

_STAMP = re.compile(r"^(?:<\d+>)?(?:\[ *\d+\.\d+\])?(?:\[ *[TC]\d+\])? ?")
_PANIC = "Kernel panic - not syncing"
_END = re.compile(r"---\[ end (trace|Kernel panic)")
_CAUSE = re.compile(
    r"""^(
    BUG:\s
    | (watchdog|NMI\swatchdog):\s.*(LOCKUP|soft\slockup)
    | Watchdog\sdetected\shard\sLOCKUP
    | kernel\sBUG\sat\s
    | Unable\sto\shandle\skernel\s
    | general\sprotection\sfault
    | Oops(:|\s-\s)
    | Internal\serror:\s
    | (divide\serror|invalid\sopcode|double\sfault|stack\ssegment|int3|traps:\sPANIC):?\s
    | PANIC:\s
    | Unhandled\s(fault|exception|prefetch\sabort)
    | Bad\smode\sin\s
    | kernel\sstack\soverflow
    | Insufficient\sstack\sspace
    | specification\sexception:|addressing\sexception:|illegal\soperation:
    | Kernel\saccess\sof\sbad\sarea
    | Kernel\sattempted\sto\s
    | INFO:\stask\s.*\sblocked\sfor\smore\sthan\s
    | (INFO:\s)?rcu[a-z_:]*\s.*(detected\sstalls|self-detected\sstall)
    | (sysrq|SysRq)\s?:(\sSysRq\s:)?\sTrigger\sa\scrash
    | (mce:\s)?\[Hardware\sError\]:\sMachine\scheck:
    | Uhhuh\.\sNMI\sreceived
    | NMI:\s.*(IOCK|PCI\ssystem)\serror
    | list_(add|del)\scorruption
    | refcount_t:\s
    )""",
    re.VERBOSE,
)
_WARNING = re.compile(r"WARNING: ")
_SECOND_HAND = re.compile(
    r"Fatal exception|softlockup|hung_task|sysrq triggered|Hard LOCKUP|hard LOCKUP|panic_on_warn"
    r"|RCU Stall|Fatal machine check|Attempted to kill|Aiee|Fatal hardware error|Oops|Fatal error"
    r"|Unrecoverable exception|kernel stack overflow|NMI: Not continuing|: Fatal"
)
_REPORT_LINES = 12
_LINES = 200_000
"""The newest, that are looked at: no kernel has said more, and a hostile dump may."""


def panic_message(dmesg: str) -> str | None:
    """The announcement without its time stamp; ``None`` for a kernel that did not crash by itself.

    :param dmesg: the kernel log, each line with or without a stamp
    """
    newest = dmesg.rsplit("\n", _LINES)[-_LINES:]
    lines = [_STAMP.sub("", line, count=1) for line in newest]
    panic = next((at for at, line in enumerate(lines) if line.startswith(_PANIC)), None)
    if panic is not None and not _SECOND_HAND.search(lines[panic]):
        return lines[panic].rstrip()
    warns = panic is not None and "panic_on_warn" in lines[panic]
    cause = _first_of_last(lines[:panic], _WARNING if warns else _CAUSE)
    if cause is None and panic is not None:
        return lines[panic].rstrip()
    return cause


def _first_of_last(lines: list[str], pattern: re.Pattern[str]) -> str | None:
    """The first announcement of the last report."""
    found: int | None = None
    for at in range(len(lines) - 1, -1, -1):
        if found is not None and (found - at > _REPORT_LINES or _END.search(lines[at])):
            break
        if pattern.match(lines[at]):
            found = at
    return None if found is None else lines[found].rstrip()

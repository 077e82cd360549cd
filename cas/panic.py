"""The line of the kernel log that announces the crash."""

from __future__ import annotations

from cas.choices import Kind
from cas.klog.choice import choose
from cas.klog.lines import Log


def panic_message(dmesg: str) -> str | None:
    """The announcement without its time stamp; ``None`` for a kernel that did not crash by itself.

    Which line it is says ``cas.klog.choice``, as for the verdict.

    :param dmesg: the kernel log, each line with or without a stamp
    """
    chosen = choose(Log(dmesg))
    is_crash = chosen.has_panic or chosen.crash.kind is not Kind.WARNING
    if chosen.crash.kind is Kind.NONE or not is_crash:
        return None
    return chosen.crash.line.rstrip()

"""The line of the kernel log that announces the crash."""

from __future__ import annotations

from typing import NamedTuple

from cas.choices import Kind
from cas.klog.choice import choose
from cas.klog.lines import Log
from cas.klog.wordings import Weight


class Told(NamedTuple):
    """What a kernel log says of a crash."""

    message: str | None
    """The announcement without its time stamp; ``None``: the kernel did not crash by itself."""
    is_fatal: bool
    """Whether the kernel gave up or code was stopped; else it only reported, and may live on."""


def told_crash(dmesg: str) -> Told:
    """The crash that a kernel log announces.

    Which line it is says ``cas.klog.choice``, as for the verdict.

    :param dmesg: the kernel log, each line with or without a stamp
    """
    chosen = choose(Log(dmesg))
    is_crash = chosen.has_panic or chosen.crash.kind is not Kind.WARNING
    if chosen.crash.kind is Kind.NONE or not is_crash:
        return Told(None, False)
    is_fatal = chosen.has_panic or chosen.crash.weight >= Weight.OOPS
    return Told(chosen.crash.line.rstrip(), is_fatal)


def panic_message(dmesg: str) -> str | None:
    """See `Told.message`."""
    return told_crash(dmesg).message

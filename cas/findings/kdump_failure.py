"""Why kdump failed, as the log of the kernel tells that was to write the dump.

kdump's scripts keep it beside the dump as ``kexec-dmesg.log`` (``dracut-kdump.sh``): the journal of
the crash kernel, with the messages of its programs.
"""

from __future__ import annotations

import re

from cas.frozen import dataclass
from cas.klog.lines import parse
from cas.text import short_line

LINE_LIMIT = 200


@dataclass(frozen=True, slots=True)
class KdumpFailure:
    """What kept the crash kernel from writing the dump."""

    what: str
    line: str
    """The line of its log that says so."""
    request: str
    """What to ask of who owns the machine."""


_CAUSES = (
    (
        "it ran out of memory",
        re.compile(
            r"Out of memory: Kill|invoked oom-killer|page allocation failure|Cannot allocate memory"
            r"|Kernel panic - not syncing: (?:Out of memory|System is deadlocked on memory)",
            re.I,
        ),
        "Please reserve more memory for it (crashkernel= on the kernel's command line) and make its"
        " initramfs smaller, then test kdump.",
    ),
    (
        "its target is full",
        re.compile(r"No space left on device|Disk quota exceeded|File too large", re.I),
        "Please make room on the target of kdump (usually /var/crash), at least for one dump, and"
        " test kdump.",
    ),
    (
        "it did not reach its target",
        re.compile(
            r"VFS: Unable to mount root fs|Failed to (?:mount|start .{0,40}mount)|mount: .{1,160}"
            r"(?:failed|does not exist|unknown filesystem)|dracut-initqueue\S* .{0,40}timeout"
            r"|dracut: .{0,120}does not exist|No route to host|Connection (?:refused|timed out)"
            r"|Host key verification failed|Could not resolve host|Network is unreachable"
            r"|Permission denied \(publickey",
            re.I,
        ),
        "Please look whether the initramfs of kdump has the drivers and the configuration for its"
        " target, rebuild it, and test kdump.",
    ),
)


def kdump_failure(log: str) -> KdumpFailure | None:
    """What a crash kernel's log says of its failure; ``None``: nothing that is known.

    The first cause in the order above counts: who has no memory also reaches nothing.
    """
    for what, pattern, request in _CAUSES:
        found = pattern.search(log)
        if found:
            start = log.rfind("\n", 0, found.start()) + 1
            end = log.find("\n", found.end())
            line = parse(log[start : end if end >= 0 else len(log)]).text.strip()
            return KdumpFailure(what, short_line(line, LINE_LIMIT), request)
    return None


def failure_paragraph(failure: KdumpFailure) -> str:
    """For the customer, beside what is said of the dump."""
    return (
        f"The log of the kernel that was to write the dump says what went wrong: {failure.what}"
        f' ("{failure.line}"). {failure.request}'
    )

"""What a kernel that ran out of memory says of it in its log: mm/oom_kill.c, mm/show_mem.c.

Whom it chose, and why, stands in one line since Linux 5.0 (ef8444ea01d7).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import field
from itertools import islice

from cas.frozen import dataclass
from cas.klog.lines import Log
from cas.units import human_size

TASK_SHARE = 1 / 3
"""A share of all memory: somebody who holds it is the cause that there is none left."""
KERNEL_SHARE = 1 / 4
"""The same of what the kernel itself uses, which is little on a machine that is well."""

UNCOUNTED = "pages that none of the kernel's counters has (a driver's, a balloon's)"
SEVERAL = frozenset({"page tables", "huge pages", UNCOUNTED})
"""What hold memory, not holds it."""
LINES = 60_000
"""Lines of one report: it has one for each task."""
TASKS, CACHES = 60_000, 5000
_BEGIN = " invoked oom-killer: "
_END = re.compile(
    r"Kernel panic|(?:Memory cgroup o|O)ut of memory: Kill|Out of memory and no|oom_reaper: "
)
_COUNTER = re.compile(r"(?<![\w(])([a-z]\w{3,24}):(\d{1,15})(?![\dkK])")
_KIB = re.compile(r"(?<![\w(])(\w{4,24}):(\d{1,15})kB")
_PAGES_RAM = re.compile(r"(\d{1,15}) pages RAM")
_PAGES_RESERVED = re.compile(r"(\d{1,15}) pages reserved")
_NODE = re.compile(r"Node \d{1,5} active_anon:")
_TABLE = re.compile(r"\[ *pid *\] +(uid +tgid +total_vm +rss .{1,200})")
_ROW = re.compile(r"\[ *(\d{1,10})\] +(.{1,300})")
_CACHE = re.compile(r"(\S.{0,63}?) +\d{1,15}KB +(\d{1,15})KB")
_LIMIT = re.compile(r"memory: usage (\d{1,17})kB, limit (\d{1,17})kB, failcnt \d+")
_GROUP = re.compile(
    r"Memory cgroup stats for (/.{0,255}?)(?::.*)?$|oom-kill:.{0,400}?,oom_memcg=(/[^,]{0,255}),"
    r"|Task in .{1,400} killed as a result of limit of (/.{0,255})"
)
_HUGE = re.compile(r"hugepages_total=(\d{1,12}) .{0,80}hugepages_size=(\d{1,12})kB")


@dataclass(frozen=True, slots=True)
class LoggedTask:
    """A task of the table."""

    pid: int
    comm: str
    pages: int
    """Anonymous ones; in kernels that do not tell them apart (before 6.8), all that are
    resident."""


@dataclass(slots=True)
class Shortage:
    """One report of it; sizes in bytes where not said otherwise."""

    index: int
    """Number of its first line in the log."""
    line: str
    page_size: int | None = None
    """``None``: it cannot be told by this report."""
    total_pages: int = 0
    counters: dict[str, int] = field(default_factory=dict)
    """Pages of the whole machine: ``free``, ``active_anon``, ``slab_unreclaimable``, …"""
    tasks: list[LoggedTask] = field(default_factory=list)
    has_anonymous: bool = False
    """The tasks' anonymous pages are told apart."""
    caches: list[tuple[str, int]] = field(default_factory=list)
    """Names and sizes of the slab caches that cannot be shrunk."""
    huge: int = 0
    """In huge pages."""
    group: str | None = None
    """The memory cgroup that reached its limit; ``None``: the machine ran out of memory."""
    usage: int = 0
    limit: int = 0
    """Bytes that that cgroup may use."""


def holding_sentence(what: str, size: int, total: int) -> str:
    """Who holds so much of the memory, in a sentence; sizes in bytes."""
    share = round(100 * size / total)
    verb = "hold" if what in SEVERAL or what.endswith(" together") else "holds"
    return f"{what} {verb} {human_size(size)} of {human_size(total)}, {share} %"


def last_shortage(log: Log, page_size: int | None = None) -> Shortage | None:
    """The newest report of a shortage in the log.

    :param page_size: in bytes, where it is known
    """
    begin = next(log.having(_BEGIN), None)
    if begin is None:
        return None
    found = Shortage(begin, log[begin].text, page_size)
    reader = _Reader(found)
    for number in range(begin + 1, min(len(log), begin + LINES)):
        text = log[number].text
        if _END.match(text):
            break
        reader.read_line(text)
    return found


class _Reader:
    """Reads one report, line by line."""

    def __init__(self, found: Shortage) -> None:
        self._found = found
        self._columns: list[str] = []
        self._in_caches = False

    def read_line(self, text: str) -> None:
        found = self._found
        if table := _TABLE.match(text):
            self._columns = table[1].split()
            found.has_anonymous = "rss_anon" in self._columns
            self._in_caches = False
        elif self._columns and (row := _ROW.match(text)):
            values = row[2].split(None, len(self._columns) - 1)
            if len(values) == len(self._columns) and len(found.tasks) < TASKS:
                fields = dict(zip(self._columns, values, strict=True))
                pages = fields.get("rss_anon", fields["rss"])
                if pages.isdecimal():
                    found.tasks.append(LoggedTask(int(row[1]), fields["name"], int(pages)))
        elif text.startswith("Unreclaimable slab info"):
            self._in_caches = True
        elif self._in_caches and (cache := _CACHE.fullmatch(text)):
            if len(found.caches) < CACHES:
                found.caches.append((cache[1], int(cache[2]) << 10))
        elif limit := _LIMIT.match(text):
            found.usage, found.limit = int(limit[1]) << 10, int(limit[2]) << 10
        elif group := _GROUP.match(text):
            found.group = group[1] or group[2] or group[3]
        else:
            self._take_counters(text)

    def _take_counters(self, text: str) -> None:
        found = self._found
        if _NODE.match(text):
            # the size of a page, by what is told in pages and, of the only node, in KiB
            for name, kib in _KIB.findall(text):
                counted = found.counters.get(name, 0)
                size = (int(kib) << 10) // counted if counted else 0
                if found.page_size is None and size in (4096, 16384, 65536):
                    found.page_size = size
        elif pages := _PAGES_RAM.match(text):
            found.total_pages += int(pages[1])
        elif pages := _PAGES_RESERVED.match(text):
            found.total_pages -= int(pages[1])
        elif huge := _HUGE.search(text):
            found.huge += int(huge[1]) * int(huge[2]) << 10
        elif "kB" not in text and ":" in text and len(text) < 200:
            for name, number in _COUNTER.findall(text):
                found.counters.setdefault(name, int(number))


def largest_holders(found: Shortage) -> Iterator[tuple[str, int, int]]:
    """Who explains a shortage of the machine, largest first: what it is, its size, and the total.

    Nothing where the report does not tell how large a page is or how much memory there was.
    """
    page, total = found.page_size, found.total_pages * (found.page_size or 0)
    if page is None or total <= 0:
        return
    counters = found.counters
    holders = [(f"slab {name}", size, KERNEL_SHARE) for name, size in found.caches]
    # what is resident may be shared with others
    shared = 0 if found.has_anonymous else counters.get("shmem", 0)
    holders += [
        (f"task {task.comm} (pid {task.pid})", task.pages * page, TASK_SHARE)
        for task in found.tasks
        if (task.pages - shared) * page >= total * TASK_SHARE
    ]
    holders.append(("shared memory and tmpfs", counters.get("shmem", 0) * page, TASK_SHARE))
    holders.append(("page tables", counters.get("pagetables", 0) * page, KERNEL_SHARE))
    holders.append(("huge pages", found.huge, KERNEL_SHARE))
    large = [each for each in holders if total * each[2] <= each[1] <= total]
    named = {what.partition(" ")[0] for what, _, _ in large}
    slab = counters.get("slab_unreclaimable", 0) * page
    if "slab" not in named and total * KERNEL_SHARE <= slab <= total:
        large.append(("unreclaimable slab", slab, KERNEL_SHARE))
    large.sort(key=lambda each: -each[1])
    for what, size, _ in islice(large, 3):
        yield what, size, total

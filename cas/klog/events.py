"""The log split into events: each a report of the kernel with its own lines."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import islice

from cas.choices import Kind
from cas.frozen import dataclass
from cas.klog.kinds import EXCEPTIONS
from cas.klog.lines import Line, Log
from cas.klog.report import Facts, facts_of
from cas.klog.wordings import ANNOUNCEMENTS_LIMIT, Announcement, Weight, announcements, reason
from cas.model.answer import Task
from cas.model.code import Frame

REPORT_LINES = 1500
"""How far a report can reach in the log."""
_HEAD_LINES = 40
"""How far the die counter can be behind the first line; aarch64 prints most in between."""
_DETAIL_LINES = 4
"""How far before an assertion the line can stand that says what was wrong."""
_SLAB_FACTS = ("INFO: Allocated in", "INFO: Freed in", "INFO: Slab", "INFO: Object")
"""Lines of a slab report (``mm/slub.c``) that are all of it where its headline was lost."""
_SYSRQ_LINES = 12
"""Lines from the order to crash to the fault that older kernels make to follow it."""
_PAUSE_S = 2.0
"""Seconds that do not pass between two lines of a report, even on a slow console."""
_CALM_LINES = 40
_BARE_LINES = 16
"""Lines from a headline that has nothing of its own to the next one."""

_LOST_LINES = 150
_LOST_S = 2.0
"""How far before a panic the trace of an oops can stand whose first lines are lost."""

_END = "---[ end "
EVENTS_LIMIT = 1000
"""The newest, that are looked at."""
_BEYOND = 20
"""Events behind the panic, that end its trace."""
_HEX = re.compile(r"[0-9a-f]{8,16}")
_GLUED = re.compile(r"^kasan: GPF could .{1,80}?access(?=general)")
_BODY = re.compile(r"\+0x[0-9a-f]+/0x|[Cc]omm: ")
_DETAIL = re.compile(
    r"list_(?:add|del) |refcount_t: |ODEBUG: |usercopy: |skbuff: |XFS.{0,40}: Assertion failed"
    r"|kobject |Bad rss|page dumped because"
)
_CHECK = re.compile(
    r"kernel/watchdog\.c:\d+ watchdog_overflow_callback|sch_generic\.c:\d+ (?:at )?dev_watchdog"
    r"|sch_generic\.c:\d+ at dev_watchdog"
)
_SAYS = re.compile(r"(?:NMI watchdog: )?Watchdog detected hard LOCKUP|NETDEV WATCHDOG: ")
"""``kernel/watchdog.c`` of 2.6.37 to 4.1, ``net/sched/sch_generic.c``."""
_NOISE = re.compile(
    r":?(?: [0-9a-f]{4,16})?(?: ilc:\d)? \[#?\d+\].*$"
    r"|(?<=fault|error)(?:, maybe for address 0x0)?: [0-9a-f]{4}$"
)
"""Error code, die counter and configuration, of which a cut line has the first only."""
_FORCED = re.compile(r"(?:forced after error|fs panic from previous error|panic requested)\W*$")
_FS_ERROR = re.compile(
    r"(?:EXT[234]-fs|UFS-fs|NILFS\d?|JFS)?:? ?(?:error|abort|panic|ERROR:) "
    r"\((?:device )?[^)]{1,40}\)(?: in|:) ([a-z_]\w{1,127})[:,]"
    r"|GFS2: .{0,80}\bfunction = ([a-z_]\w{1,127}), file"
)
"""Who found the damage that a file system panics of (``fs/{ext2,ext4,ufs,nilfs2}/super.c``,
``fs/gfs2/util.c``)."""
_ADDRESS = re.compile(r"(?:address:?|at) (?:0x)?([0-9a-f]{8,16})$")
_REGISTERS = re.compile(r"^CPU \d{1,5} (?=Unable to )|, e(?:pc|ra) == [0-9a-f]{8,16}, ra == .*$")
"""What mips and loongarch say on the same line (``arch/*/mm/fault.c``)."""
_FAILING = re.compile(r"Failing address: ([0-9a-f]{8,16})")
_FIRST_PAGE = 4096
_LOCK_AT = re.compile(
    r".{0,200}\bat: (?:\[<[0-9a-f]{1,16}>\] {1,8})?([A-Za-z_.][\w.$]{0,127})\+0x([0-9a-f]{1,16})/"
)


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that the kernel reported."""

    kind: Kind
    message: str
    """In a line, without die counter, error code and the noise of the configuration."""
    weight: Weight = Weight.REPORT
    index: int | None = None
    """Number of the line in the log; ``None``: the message did not come from there."""
    end: int = 0
    """The line behind its last one."""
    line: str = ""
    """The announcement as it stands in the log, without stamp."""
    uptime_s: float | None = None
    caller: str | None = None
    named: Frame | None = None
    """The code that the announcement itself blames."""
    about: Task | None = None
    """The task that the announcement names."""
    cpu: int | None = None
    """The processor that it names."""
    seconds: int | None = None
    """How long a task waits, in the announcement's words."""
    detail: str | None = None
    """The line before an assertion that says what was wrong."""
    is_bare: bool = False
    """Nothing stands behind the headline but another one."""

    @property
    def is_oops(self) -> bool:
        """Whether code was stopped."""
        return self.weight is Weight.OOPS and self.kind in EXCEPTIONS


@dataclass(slots=True)
class _Draft:
    """An event while its head is read."""

    first: Announcement
    kind: Kind
    weight: Weight
    last: int
    caller: str | None
    has_header: bool = False
    names: Announcement | None = None
    """The line of its head that names the function which is not inlined."""


def events_of(log: Log) -> tuple[Event, ...]:
    """What the kernel reported, in the order of the log, up to its panic and a little further."""
    drafts: list[_Draft] = []
    for found in announcements(log):
        caller = log[found.line].caller
        before = next((draft for draft in reversed(drafts[-8:]) if draft.caller == caller), None)
        if before is None or not _joins_head(log, before, found):
            header = found.weight is Weight.HEADER
            weight = Weight.OOPS if header else found.weight
            drafts.append(_Draft(found, found.kind, weight, found.line, caller, header))
    # what is only a hint is no report, and ends none
    drafts = [draft for draft in drafts if draft.weight is not Weight.HINT]
    panic = next((n for n, draft in enumerate(drafts) if draft.weight is Weight.PANIC), None)
    until = len(drafts) if panic is None else panic + _BEYOND
    drafts = drafts[max(0, until - EVENTS_LIMIT) : until]
    starts = [(draft.first.line, draft.caller) for draft in drafts]
    ends = list(islice(log.having(_END), ANNOUNCEMENTS_LIMIT))[::-1]
    return tuple(
        _finished_event(log, draft, _report_end(log, draft, starts[number + 1 :], ends))
        for number, draft in enumerate(drafts)
    )


def _joins_head(log: Log, draft: _Draft, found: Announcement) -> bool:
    """Whether a line belongs to the head of the report before it; then it is taken in."""
    if found.line - draft.last > _HEAD_LINES or Weight.PANIC in (found.weight, draft.weight):
        return False
    between = [line for line in log[draft.last + 1 : found.line] if line.caller == draft.caller]
    if any(line.text.startswith(_END) for line in between) or not _is_of_head(
        draft, found, between
    ):
        return False
    draft.has_header = draft.has_header or "[#" in found.text or found.weight is Weight.HEADER
    if draft.weight is Weight.HINT:
        draft.weight = found.weight
    if draft.kind is Kind.MEMORY_ERROR and found.group("function"):
        draft.names = draft.names or found
    draft.last = found.line
    return True


def _is_of_head(draft: _Draft, found: Announcement, between: Sequence[Line]) -> bool:
    if found.weight is Weight.HEADER:
        return draft.weight >= Weight.OOPS and not draft.has_header
    if Kind.HARD_LOCKUP in (draft.kind, found.kind) and found.line - draft.last <= _DETAIL_LINES:
        return "watchdog_overflow_callback" in draft.first.text + found.text
    if draft.kind is found.kind is Kind.MEMORY_ERROR:
        # scripts/decode_stacktrace.sh makes a headline for each function that is inlined
        said = draft.first.text.partition(" in ")[0]
        is_same = found.line == draft.last + 1 and found.text.startswith(f"{said} in ")
        return is_same or found.text.startswith(_SLAB_FACTS)
    if draft.kind is Kind.SYSRQ:
        return found.weight is Weight.OOPS and len(between) <= _SYSRQ_LINES
    if draft.weight is Weight.HINT:
        return found.kind in (Kind.BUG_ON, Kind.WARNING) and len(between) <= _DETAIL_LINES
    # an oops announced twice: ``PANIC: double fault`` and ``double fault: 0000 [#1]``
    is_same_oops = draft.weight is found.weight is Weight.OOPS and not draft.has_header
    addresses = {each[1] for text in (draft.first.text, found.text) if (each := _at_address(text))}
    # two processors announce before either may print its oops (arch/x86/mm/fault.c)
    is_same_oops = is_same_oops and len(addresses) < 2
    return is_same_oops and not any(
        line.text.lstrip().startswith(("Call T", "Call t")) for line in between
    )


def _at_address(text: str) -> re.Match[str] | None:
    return _ADDRESS.search(clean(text))


def _finished_event(log: Log, draft: _Draft, ending: tuple[int, bool]) -> Event:
    index = draft.first.line
    near = [line.text for line in log[max(0, index - _DETAIL_LINES * 2) : index]]
    kind, message = _kind_and_message(
        draft, near, [line.text for line in log[index + 1 : index + 6]]
    )
    end, is_bare = ending
    found, line = draft.first, log[index]
    comm, pid, cpu = found.group("comm"), found.group("pid"), found.group("cpu")
    about = None
    if comm is not None and pid is not None:
        about = Task(int(pid), comm, cpu=int(cpu) if cpu else None)
    detail = (text for text in reversed(near[-_DETAIL_LINES:]) if _DETAIL.match(text))
    named = _named_function(draft.names or found)
    if named is None and draft.weight is Weight.PANIC and _FORCED.search(found.text):
        # the function that a file system names before it panics as it was told to
        said = (_FS_ERROR.match(text) for text in reversed(near))
        named = next((Frame(each[1] or each[2]) for each in said if each), None)
    return Event(
        kind=kind,
        message=message,
        weight=draft.weight,
        index=index,
        end=end,
        line=line.text,
        uptime_s=line.uptime_s,
        caller=draft.caller,
        named=named,
        about=about,
        seconds=int(seconds) if (seconds := found.group("seconds")) else None,
        cpu=int(cpu) if cpu else None,
        detail=next(detail, None),
        is_bare=is_bare,
    )


def _kind_and_message(
    draft: _Draft, near: Sequence[str], following: Sequence[str]
) -> tuple[Kind, str]:
    """Kind and message, by the lines beside the announcement."""
    kind, message = draft.kind, clean(_GLUED.sub("", draft.first.text))
    if draft.weight is Weight.PANIC:
        return reason(draft.first.text), message
    if kind is Kind.SYSRQ:
        return kind, "SysRq: Trigger a crash"
    if kind in (Kind.BUG_ON, Kind.WARNING) and "lib/list_debug.c" in message:
        causes = [text for text in near if text.startswith("list_")]
        return Kind.LIST_CORRUPTION, clean(causes[-1]) if causes else message
    if kind is Kind.WARNING and _CHECK.search(message):
        # its place tells nothing: it is that of a check of others
        lines = (text.strip() for text in (*following, *reversed(near)))
        if said := next((text for text in lines if _SAYS.match(text)), None):
            return (Kind.HARD_LOCKUP if "LOCKUP" in said else kind), clean(said)
    if kind is Kind.PAGE_FAULT and "nable to handle " in message:
        # a NULL pointer is told by its address, where the kernel does not (ppc64, s390x)
        failing = [found[1] for text in following if (found := _FAILING.match(text))]
        if failing and not _ADDRESS.search(message):
            message = f"{message}, address: {failing[0]}"
        address = _ADDRESS.search(message)
        if address is not None and int(address[1], 16) < _FIRST_PAGE:
            kind = Kind.NULL_DEREFERENCE
    return kind, message


def _report_end(
    log: Log, draft: _Draft, later: Sequence[tuple[int, str | None]], ends: Sequence[int]
) -> tuple[int, bool]:
    """Where the report ends, and whether the next one follows at once.

    :param ends: the lines ``---[ end trace …`` of the log
    """
    last = min(len(log), draft.first.line + REPORT_LINES)
    is_bare = False
    for index, caller in later:
        if index >= last:
            break
        if draft.caller is None or caller == draft.caller:
            last = index
            is_bare = draft.weight is Weight.REPORT and index - draft.last <= _BARE_LINES
            is_bare = is_bare and not any(
                _BODY.search(line.text) for line in log[draft.last + 1 : index]
            )
            break
    for number in ends[bisect_right(ends, draft.last) :]:
        if number >= last:
            break
        line = log[number]
        if line.caller == draft.caller and line.text.startswith(_END):
            return number + 1, False
    return last, is_bare


def _named_function(found: Announcement) -> Frame | None:
    function = found.group("function") or found.group("name")
    if function is None or _HEX.fullmatch(function):
        return None
    kmod = found.group("kmod")
    offset = found.group("offset")
    return Frame(
        function,
        offset=int(offset, 16) if offset else None,
        kmod=kmod.replace("-", "_") if kmod else None,
    )


def clean(text: str) -> str:
    """A message without die counter, error code and the noise of the configuration."""
    text = " ".join(text.split())
    text = (
        _REGISTERS.sub("", _NOISE.sub("", text))
        .removeprefix("[ ")
        .removesuffix(" ]")
        .removeprefix("INFO: ")
    )
    return text.removesuffix(" RIP:").removesuffix(" (").rstrip(".: ")


def lines_of(log: Log, event: Event) -> list[Line]:
    """The lines of a report, without those that others printed in between."""
    if event.index is None:
        return []
    lines = log[event.index : event.end]
    if event.caller is None:
        return lines
    # the backtraces that other processors print on request belong to a stall
    others = "C" if event.kind in (Kind.RCU_STALL, Kind.HARD_LOCKUP) else "-"
    # what xmon prints (arch/powerpc/xmon/) is in no log but a console's, and bears no mark
    return [
        line
        for line in lines
        if line.caller == event.caller
        or (line.caller or "").startswith(others)
        or (line.caller is None and line.uptime_s is None)
    ]


def last_line(log: Log, event: Event) -> int:
    """Number of the line with which a report really ends.

    Not every report says where it ends: a pause does, or where the log has no stamps, a stretch of
    lines without frames.
    """
    last = event.index or 0
    said = event.uptime_s
    for number in range(last + 1, event.end):
        line = log[number]
        if said is not None and line.uptime_s is not None:
            if line.uptime_s - said > _PAUSE_S:
                break
            last, said = number, line.uptime_s
        elif _BODY.search(line.text):
            last = number
        elif number - last > _CALM_LINES:
            break
    return last


def read_report(log: Log, event: Event) -> Facts:
    """What stands behind an announcement."""
    return facts_of(lines_of(log, event), is_oops=event.is_oops)


def read_before(log: Log, event: Event) -> Facts:
    """What stands right before an announcement: of an oops whose own first lines are lost."""
    if event.index is None:
        return Facts()
    first = event.index
    while first > max(0, event.index - _LOST_LINES):
        said = log[first - 1].uptime_s
        if said is not None and (event.uptime_s or 0.0) - said > _LOST_S:
            break
        first -= 1
    lines = [line for line in log[first : event.index] if line.caller in (None, event.caller)]
    return facts_of(lines, is_oops=True)


def lock_at(lines: Iterable[Line]) -> Frame | None:
    """Where lockdep says that the lock in question is taken: its first ``at: function``."""
    before = ""
    for line in lines:
        if before.rstrip().endswith(" at:"):
            # the place of an unlock is on a line of its own (print_ip_sym())
            before = f"{before.strip()} {line.text.strip()}"
        else:
            before = line.text
        if "at: " in before and (found := _LOCK_AT.match(before)):
            return Frame(found[1], offset=int(found[2], 16))
    return None

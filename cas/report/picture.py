"""The pictures of a report: only of what the verdict and the sections really say.

Numbers come out of what the debugger printed, in crash's forms: ``ps -S``, ``runq -m``,
``kmem -i``. Where something is not there, or does not add up, there is no picture.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from cas.frozen import dataclass
from cas.model.finding import Finding, LogEvent
from cas.model.report import Report
from cas.report.excerpt import excerpt
from cas.text import one_line, short_line
from cas.units import human_size, human_span

WIDE = 1000
"""Width of a picture, in its own units."""
CPUS = 64
"""That are shown one by one."""
TOLD = 12
"""Kinds of trouble on the time line."""
_LINES = 40_000
_ROOM = 1 << 20
_STATE = re.compile(r"\s*([A-Za-z?]{1,2}): (\d{1,9})\s*$")
_STATES = {
    **dict.fromkeys(("RU", "R"), "running or ready"),
    **dict.fromkeys(("UN", "D"), "uninterruptible"),
    **dict.fromkeys(("IN", "S"), "sleeping"),
    **dict.fromkeys(("ID", "I"), "idle"),
    **dict.fromkeys(("ST", "T"), "stopped"),
    **dict.fromkeys(("TR", "t"), "traced"),
    **dict.fromkeys(("ZO", "Z"), "zombies"),
    **dict.fromkeys(("DE", "X"), "dead"),
    **dict.fromkeys(("PA", "P"), "parked"),
}
"""As crash and drgn abbreviate them."""
_STATE_ORDER = ("running or ready", "uninterruptible", "sleeping", "idle")
_CPU = re.compile(
    r"\s*CPU (\d{1,5}): \[(\d{1,6}) (\d\d):(\d\d):(\d\d)\.\d+\]\s+PID: (\d{1,10})\s+TASK: \w+\s+"
    r'COMMAND: "(.{0,64})"'
)
_AMOUNT = re.compile(r"\s*(TOTAL MEM|FREE|USED|BUFFERS|CACHED|SLAB)\s+(\d{1,15})\s")


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a bar."""

    label: str
    amount: str
    percent: float
    left: float
    """From 0 to :data:`WIDE`."""
    width: float
    tone: str
    """Which colour it has."""


@dataclass(frozen=True, slots=True)
class Bar:
    """Parts of a whole."""

    anchor: str
    title: str
    whole: str
    shares: tuple[Share, ...]


@dataclass(frozen=True, slots=True)
class Cpu:
    """A processor and what it ran."""

    number: int
    task: str
    span: str
    """How long."""
    is_idle: bool
    is_crash: bool


@dataclass(frozen=True, slots=True)
class Stretch:
    """Trouble of one kind on the time line."""

    text: str
    before: str
    """How long before the crash it began."""
    left: float
    width: float
    """0 for what happened once."""


@dataclass(frozen=True, slots=True)
class TimeLine:
    """What the kernel log tells of the time before the crash, oldest first; it ends with that."""

    begins: str
    """How long before the crash the line begins."""
    stretches: tuple[Stretch, ...]
    crash: str
    """What the crash is called."""
    more: int
    """Kinds of trouble that are not told."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """All pictures that there is something to draw of."""

    time_line: TimeLine | None = None
    cpus: tuple[Cpu, ...] = ()
    more_cpus: int = 0
    bars: tuple[Bar, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return self.time_line is None and not self.cpus and not self.bars


def pictures(report: Report) -> Pictures:
    """What can be drawn of a report."""
    cpus = tuple(_drawn_cpus(report))
    bars = (_task_bar(_section_lines(report, "ps")), _memory_bar(report))
    return Pictures(
        time_line=time_line(report.finding),
        cpus=cpus[:CPUS],
        more_cpus=max(0, len(cpus) - CPUS),
        bars=tuple(bar for bar in bars if bar is not None),
    )


def time_line(finding: Finding | None) -> TimeLine | None:
    """The time line; ``None`` where nothing happened before the crash, or its time is unknown."""
    events = finding.before if finding else ()
    timed = [
        event for event in events if event.began_before_s is not None and event.began_before_s >= 0
    ]
    if finding is None or not timed:
        return None
    # the most telling come first
    chosen = sorted(timed[:TOLD], key=_began, reverse=True)
    whole = max(map(_began, chosen))
    if whole <= 0:
        return None
    stretches = []
    for event in chosen:
        began = _began(event)
        ended = min(began, max(0.0, event.ended_before_s or 0.0))
        often = f" \N{MULTIPLICATION SIGN}{event.count:,}" if event.count > 1 else ""
        stretches.append(
            Stretch(
                text=short_line(f"{event.text}{often}"),
                before=_ago(began),
                left=_share(whole - began, whole),
                width=_share(began - ended, whole),
            )
        )
    return TimeLine(
        begins=_ago(whole),
        stretches=tuple(stretches),
        crash=short_line(finding.title or finding.what),
        more=len(finding.before) - len(chosen),
    )


def _began(event: LogEvent) -> float:
    return event.began_before_s or 0.0


def _ago(seconds: float) -> str:
    return human_span(seconds if seconds < 10 else int(seconds))


def _share(part: float, whole: float) -> float:
    return round(WIDE * part / whole, 1)


def _section_lines(report: Report, name: str) -> tuple[str, ...]:
    """What a section says, as far as a picture needs it."""
    full = (each for each in report.sections if each.name == name and each.size_bytes > 0)
    found = next(full, None)
    return excerpt(found, _LINES, _ROOM).lines if found else ()


def _task_bar(lines: Sequence[str]) -> Bar | None:
    """How many tasks are in each state, as ``ps -S`` counts them before anything else."""
    counts: dict[str, int] = {}
    for line in lines:
        found = _STATE.match(line)
        if found is None:
            break
        state = _STATES.get(found[1], found[1])
        counts[state] = counts.get(state, 0) + int(found[2])
    ranks = {state: rank for rank, state in enumerate(_STATE_ORDER)}
    ordered = sorted(counts, key=lambda state: (ranks.get(state, len(ranks)), state))
    tones = {
        "running or ready": "good",
        "uninterruptible": "bad",
        "sleeping": "soft",
        "idle": "faint",
    }
    parts = [(state, counts[state], tones.get(state, "warn")) for state in ordered]
    return _bar("tasks", "Tasks", parts, lambda number: f"{number:,}")


def _drawn_cpus(report: Report) -> Iterator[Cpu]:
    """What each processor ran, and how long, as ``runq -m`` says."""
    panicked = report.answer.panic_task if report.answer else None
    for line in _section_lines(report, "runqueues"):
        if found := _CPU.match(line):
            number, pid = int(found[1]), int(found[6])
            days, hours, minutes, seconds = map(int, found.group(2, 3, 4, 5))
            whole_s = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
            comm = one_line(found[7])
            is_idle = pid == 0
            yield Cpu(
                number,
                "idle" if is_idle else f"{comm}, pid {pid}",
                human_span(whole_s) if whole_s else "less than 1 s",
                is_idle,
                panicked is not None and (panicked.cpu, panicked.pid) == (number, pid),
            )


def _memory_bar(report: Report) -> Bar | None:
    """What the memory was used for, as ``kmem -i`` says."""
    pages: dict[str, int] = {}
    for line in _section_lines(report, "memory"):
        if found := _AMOUNT.match(line):
            pages.setdefault(found[1], int(found[2]))
    page_size = report.dump.page_size if report.dump else None
    if page_size is None or not {"TOTAL MEM", "FREE", "USED"} <= pages.keys():
        return None
    if pages["FREE"] + pages["USED"] != pages["TOTAL MEM"]:
        return None
    named = {key: pages[key] for key in ("SLAB", "CACHED", "BUFFERS") if key in pages}
    rest = pages["USED"] - sum(named.values())
    uses = [("used", pages["USED"], "warn")]
    if len(named) == 3 and rest >= 0:
        uses = [
            ("programs and kernel", rest, "warn"),
            ("slab", named["SLAB"], "slab"),
            ("file cache", named["CACHED"] + named["BUFFERS"], "soft"),
        ]
    uses.append(("free", pages["FREE"], "faint"))
    return _bar("memory", "Memory", uses, lambda count: human_size(count * page_size))


def _bar(
    anchor: str, title: str, parts: list[tuple[str, int, str]], amount: Callable[[int], str]
) -> Bar | None:
    whole = sum(number for _, number, _ in parts)
    if not whole:
        return None
    shares, before = [], 0
    for label, number, tone in parts:
        if number:
            left, width = _share(before, whole), _share(number, whole)
            percent = 100 * number / whole
            shares.append(Share(label, amount(number), percent, left, width, tone))
        before += number
    return Bar(anchor, title, amount(whole), tuple(shares))

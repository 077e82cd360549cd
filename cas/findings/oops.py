"""What the kernel printed about the crash: registers, stack, task, taint and kernel modules.

Formats: ``show_regs`` and ``dump_stack_print_info`` of x86, arm64, powerpc and s390, 2.6 to 6.x.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cas.findings.kinds import Event
from cas.findings.log import Line
from cas.findings.taint import LETTERS
from cas.model import Frame, Kmod, Task

REGION_LINES = 400
"""How far an oops can reach in the log."""
FRAMES_LIMIT = 64

_SYMBOL = (
    r"([A-Za-z_.][\w.$]{0,127})\+0x([0-9a-f]{1,16})/0x[0-9a-f]{1,16}"
    r"(?: \[([\w-]{1,64})(?: [0-9a-f]{8,64})?\])?"
)
_PC = re.compile(r" *(?:RIP|EIP|pc|PC|NIP|Krnl PSW)\b[^+]{0,160}?[\s({<>:]" + _SYMBOL)
_TRACE = re.compile(r" *(?:Call Trace|Call trace|Backtrace|Stack traceback)\b")
_FRAME = re.compile(r" *(?:\[[<0-9a-f>]{4,20}\] *){0,2}" + _SYMBOL + r"(?!.{0,80}\(unreliable)")
_END = re.compile(
    r"---\[ end |Kernel panic|Modules linked in:|Code: |Last Breaking-Event|RSP: 002b"
)
_TASK = re.compile(
    r"CPU: (\d{1,5})(?: UID: \d+)? PID: (\d{1,10}) Comm: (.{1,64}?) (?:Kdump|Not t|Ta)"
)
_OLD_TASK = re.compile(r"Pid: (\d{1,10}), comm: (.{1,64}?) (?:Not t|Ta)")
_BLOCKED = re.compile(r"INFO: task (.{1,64}):(\d{1,10}) blocked for more than ")
_TAINTED = re.compile(r"\bTainted: ((?:\[?[A-Z]\]? *)+)")
_UNTAINTED = "Not tainted"
_KMODS = re.compile(r"Modules linked in:(.*)")
_KMOD = re.compile(r"([\w-]{1,64})(?:\(([A-Z]{0,16})[+-]?\))?$")


@dataclass(frozen=True, slots=True)
class Oops:
    """The kernel's own report of a crash."""

    function: Frame | None = None
    """Where the program counter stood."""
    trace: tuple[Frame, ...] = ()
    """Reliable frames of the call trace, innermost first, as printed."""
    task: Task | None = None
    blocked: Task | None = None
    """The task that a hung-task message names."""
    taint: str | None = None
    """Letters; ``None`` when the log does not tell."""
    kmods: tuple[Kmod, ...] | None = None
    """``None`` when the log does not tell."""
    uptime_s: float | None = None

    @property
    def stack(self) -> tuple[Frame, ...]:
        """The call trace, beginning with the function of the program counter."""
        if self.function is None or self.function in self.trace:
            return self.trace
        return (self.function, *self.trace)


def oops_of(log: Sequence[Line], event: Event) -> Oops:
    """Read what the kernel printed from the announcement of the crash on."""
    if event.index is None:
        return Oops()
    region = log[event.index : event.index + REGION_LINES]
    own = [line.text for line in _until_end(region)]
    return Oops(
        function=next(_functions(own), None),
        trace=tuple(_trace(own)),
        task=next(_tasks(own), None),
        blocked=_blocked(own[0]),
        taint=_taint(own),
        kmods=_kmods(own + [line.text for line in region]),
        uptime_s=log[event.index].uptime_s,
    )


def _until_end(region: Sequence[Line]) -> Iterator[Line]:
    """The report of this crash, without what the panic that follows prints again."""
    for number, line in enumerate(region):
        if number and line.text.startswith(("---[ end ", "Kernel panic")):
            return
        yield line


def _functions(texts: Sequence[str]) -> Iterator[Frame]:
    return (_frame(found) for text in texts if (found := _PC.match(text)))


def _frame(found: re.Match[str]) -> Frame:
    kmod = found[3].replace("-", "_") if found[3] else None
    return Frame(found[1], offset=int(found[2], 16), kmod=kmod)


def _trace(texts: Sequence[str]) -> list[Frame]:
    start = next((i for i, text in enumerate(texts) if _TRACE.match(text)), len(texts))
    frames: list[Frame] = []
    for text in texts[start:]:
        if frames and _END.match(text.lstrip()):
            break
        found = _FRAME.match(text.removeprefix("Call Trace:"))
        if found and len(frames) < FRAMES_LIMIT:
            frames.append(_frame(found))
    return frames


def _tasks(texts: Sequence[str]) -> Iterator[Task]:
    for text in texts:
        if found := _TASK.search(text):
            yield Task(int(found[2]), found[3], cpu=int(found[1]))
        elif found := _OLD_TASK.search(text):
            yield Task(int(found[1]), found[2])


def _blocked(text: str) -> Task | None:
    found = _BLOCKED.search(text)
    return Task(int(found[2]), found[1], state="D") if found else None


def _taint(texts: Sequence[str]) -> str | None:
    for text in texts:
        if found := _TAINTED.search(text):
            return "".join(letter for letter in found[1] if letter in LETTERS)
        if _UNTAINTED in text:
            return ""
    return None


def _kmods(texts: Sequence[str]) -> tuple[Kmod, ...] | None:
    for text in texts:
        if found := _KMODS.match(text):
            names = found[1].partition("[last unloaded")[0].split()
            return tuple(_kmod(name) for name in names if _KMOD.match(name))
    return None


def _kmod(name: str) -> Kmod:
    found = _KMOD.match(name)
    if found is None:
        return Kmod(name)
    return Kmod(found[1].replace("-", "_"), taint=found[2] or "")

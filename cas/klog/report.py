"""What the kernel printed behind an announcement: task, registers, call traces, taint, modules.

Formats: ``show_regs()``, ``show_stack()`` and ``dump_stack_print_info()`` of every architecture,
from Linux 2.6 to 7.x; addresses before the symbols, on x86 before Linux 4.10 (bb5e5ce545f2);
``f from g+0x1/0x2`` (arm); and lines that scripts/decode_stacktrace.sh made of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field, replace

from cas.frozen import dataclass
from cas.klog.lines import Line
from cas.model.answer import Kmod, Task
from cas.model.code import Frame

FRAMES_LIMIT = 512

_SYMBOL = (
    r"([A-Za-z_.][\w.$]{0,127})\+0x([0-9a-f]{1,16})/0x[0-9a-f]{1,16}"
    r"(?: \[([\w-]{1,64})(?: [0-9a-f]{8,64})?\])?"
)
_PC = re.compile(
    r" *(RIP|EIP|IP|pc|PC|NIP|epc|ERA|TPC|Krnl PSW)\b([^+]{0,160}?)[\s({<>:]" + _SYMBOL
)
_LR = re.compile(
    r" *(?:lr|LR|ra) ?(?:: (?:\[?<?[0-9a-f]{8,16}>?\]? )?| is at |\[[0-9a-f]{8,16}\] )" + _SYMBOL
)
"""Who called, where the caller need not be on the stack yet (arm, arm64, powerpc, riscv)."""
_NOWHERE = re.compile(
    r" *(?:RIP: 0010|PC|pc ?|NIP ?|epc ?|EIP|IP)(?:: {0,16}| is at )(?:\[<0*>\] *){0,2}"
    r"(?:\[< *\(null\)>\] *)?(0x[0-9a-f]{1,16}|\(null\)|0{8,16})(?:\s|$)"
    r"|Krnl PSW : [0-9a-f]{16} [0-9a-f]{16} \((0x[0-9a-f]{1,16})\)"
)
"""A program counter that no symbol belongs to: a call through NULL, or into an unloaded module."""
_USER = re.compile(
    r" *(?:RIP: 0033|RIP: 0023|RSP: 002b|EIP: 0073|PC is at 0x|RIP: [0-9a-f]{4}:0x[0-7])"
)
_LAST_PC = re.compile(r" *(?:RIP  ?\[<|RIP: \S{1,160} RSP: |EIP: .{1,200} SS:ESP:? )")
"""The program counter again, behind the trace (``arch/x86/kernel/process*.c``, until 4.15)."""
_TRACE = re.compile(r" *(?:Call Trace|Call trace|Backtrace|Stack traceback|stack backtrace)\b")
_MARKS = r"(?:<{1,2}(?:/?[A-Z#][\w#]{1,15})>{1,2} *){0,3}"
_FRAME = re.compile(
    rf"[ \t]*{_MARKS}\(?(?:\[<?(?:0x)?[0-9a-f]{{1,16}}>?\] *){{0,2}}(\? +)?{_SYMBOL}(.{{0,120}})"
)
_FROM = re.compile(
    rf"[ \t]*(?:\[<[0-9a-f]{{1,16}}>\] )?\(?([A-Za-z_.][\w.$]{{0,127}})\)? from "
    rf"(?:\[<[0-9a-f]{{1,16}}>\] )?\(?{_SYMBOL}"
)
_INLINE = re.compile(
    r"[ \t]*(?:\[< *inline *>\] )?([A-Za-z_.][\w.$]{0,127})(?: ([\w./-]{1,200}):(\d{1,7}))?"
    r"(?: \[inline\]| \(inlined\))?$"
)
_DECODED = re.compile(
    rf"[ \t]*{_MARKS}(\? +)?([A-Za-z_.][\w.$]{{0,127}}) "
    r"\((?:$|([\w./-]{1,200}\.[chSi]):(\d{1,7})[^)]{0,800}\){0,2}(?: \[?([\w-]{1,64})\]?)?$)"
)
_DECODED_PC = re.compile(
    r" *(?:RIP: 0010:|pc : |epc : |NIP )([A-Za-z_.][\w.$]{0,127}) "
    r"\((?:$|([\w./-]{1,200}\.[chSi]):(\d{1,7})[^)]{0,800}\){0,2}(?: \[?([\w-]{1,64})\]?)?$)"
)
"""A frame of scripts/decode_stacktrace.sh, which leaves no offsets, and may tell the places of what
is inlined on further lines."""
_SOURCE = re.compile(r" ([\w./-]{1,200}\.[chS]):(\d{1,7})\b")
_OLD_KMOD = re.compile(
    r":([\w-]{1,64}):([A-Za-z_.][\w.$]{0,127}\+0x[0-9a-f]{1,16}/0x[0-9a-f]{1,16})"
)
"""``:m:f+0x1/0x2``, of x86_64 before 2.6.23."""
_OLDEST = re.compile(
    r"(?:<[0-9a-f]{16}>)\{(?::([\w-]{1,64}):)?([A-Za-z_.][\w.$]{0,127})\+(\d{1,9})\}"
)
"""``{:m:f+38}``, several a line, of x86_64 before 2.6.18."""
_UNRELIABLE = re.compile(r"\(unreliable\)")
_OTHERS = re.compile(
    # mm/kasan/report.c, mm/kfence/report.c, mm/kmsan/report.c, mm/slub.c, mm/page_owner.c
    r"(?i)(?:last )?(?:allocated|freed|potentially related work creation|call_rcu)\b.{0,40}:$"
    r"|\S.{0,120} (?:allocated|freed) by task .{1,60}:$|uninit was |local variable |bytes? \d"
    r"|info: (?:slab|object) |(?:info: )?(?:allocated|freed) in .{1,200} age="
    r"|page last (?:allocated|free) |page_owner "
    r"|memory state around|the buggy address belongs|value changed:"
    # kernel/locking/lockdep.c, kernel/sched/core.c
    r"|.{0,80} state was registered at:|the existing dependency chain|-> #\d|irq event stamp"
    r"|showing all locks held|preemption disabled at:"
    # kernel/rcu/tree_stall.h, kernel/workqueue.c
    r"|.{0,10}rcu grace-period kthread stack dump|.{0,10}stack dump where rcu gp kthread last ran"
    r"|showing busy workqueues|showing backtraces of running workers"
)
"""Headlines of traces that say where something comes from, or what a helper does."""
_TRACK = re.compile(rf"(?:INFO: )?(Allocated|Freed) in (?:{_SYMBOL})?")
"""Who had memory last (``mm/slub.c``: print_track()); its trace follows, if the kernel kept it."""
_OWN = re.compile(
    # kernel/kcsan/report.c, mm/kfence/report.c, kernel/locking/lockdep.c
    r"(?i)(?:race at unknown|(?:read|write)(?: \(\w+\))? (?:to|of) ).{1,160} by .{1,60}:$"
    r"|(?:[\w-]{1,40} ){1,4}(?:read|write|free|memory) .{0,60}at 0x.{1,60}:$"
    r"|corrupted memory at .{1,120}:$"
)
_BY_TASK = re.compile(r" by task (\d{1,10}) on cpu \d")
"""KCSAN's words, which shows the accesses of two tasks."""
_CPU = re.compile(r"(?:NMI backtrace for cpu|Task dump for CPU) (\d{1,5})(?::?$| skipped)")
_TASK = re.compile(
    r"CPU: (\d{1,5})(?: UID: \d{1,10})? PID: (\d{1,10}) Comm: (.{1,64}?) "
    r"(?:Kdump|Not t|Ta|\d{1,2}\.\d)"
)
_OLD_TASK = re.compile(r"Pid: (\d{1,10}), comm: (.{1,64}?) (?:Not t|Ta|$)")
_PROCESS = re.compile(r"Process (.{1,64}?) \(pid: (\d{1,10})[,)]")
_XMON_TASK = re.compile(r"\s{1,8}pid {1,8}= (\d{1,10}), comm = (.{1,64})$")
"""``arch/powerpc/xmon/xmon.c``: excprint()."""
_SHOWN = re.compile(
    r"task:(.{1,40}?) {1,20}state:(\w).{0,60}? pid: *(\d{1,10})|(\S.{0,24}?) {1,20}([RSDTtXZPI])"
    r"(?: +running task| [0-9a-f]{8,16})?(?: on cpu {1,4}\d{1,5})?"
    r" {1,12}-?\d{1,9} {1,12}(\d{1,10}) {1,12}\d{1,10} {1,4}0x"
)
_STALLED = re.compile(
    r"(?:rcu: )?[ \t]*(\d{1,5})(?:-\S{0,6})?: \(\d"
    r"|.{0,80}CPUs/tasks: \{ ?(\d{1,5})-|.{0,40} stall on CPU (\d{1,5})"
)
_BLAMED = re.compile(
    r"(?:[ \t]*(?:caller is|last function:) |[ \t].{0,80} workfn=)([A-Za-z_.][\w.$]{0,127})"
    r"(?:\+0x([0-9a-f]{1,16})/)?"
)
_BLAMES = ("caller is", "last function", "workfn=")
_OWNER = re.compile(
    r"INFO: task .{1,80} (?:is )?blocked on an? .{1,30}?(?:likely )?(?:last )?owned by "
    r"(?:task )?(.{1,64}):(\d{1,10})"
)
_TAINTED = re.compile(r"\bTainted: ((?:\[?[A-Z]\]? *)+)")
_UNTAINTED = "Not tainted"
_KMODS = re.compile(r"Modules linked in:(.*)")
_KMOD = re.compile(r"([\w-]{1,64})(?:\(([A-Z]{0,16})[+-]?\))?$")


@dataclass(frozen=True, slots=True)
class Trace:
    """One call trace of a report."""

    frames: tuple[Frame, ...] = ()
    """Innermost first, as printed, the guesses (``? f``) left out if others were printed."""
    pc: Frame | None = None
    """Where the program counter stood, where the kernel printed it before the trace."""
    interrupted: frozenset[int] = frozenset()
    """Positions of frames that are the program counter of what was interrupted."""
    task: Task | None = None
    cpu: int | None = None
    is_guess: bool = False
    """The kernel was sure of none of its frames."""
    is_foreign: bool = False
    """It says where memory was allocated, who holds a lock, what a helper thread does."""
    is_headed: bool = False
    """A line of its own announces it, or registers."""
    did: str | None = None
    """What it did with memory that SLUB found damaged: ``allocated`` or ``freed``."""

    @property
    def stack(self) -> tuple[Frame, ...]:
        """The frames, beginning with the function of the program counter."""
        pc, frames = self.pc, self.frames
        if pc is None or pc in frames:
            return frames
        if frames and frames[0].function == pc.function:
            # s390x begins a trace with where the function begins, others with an older return
            return (replace(frames[0], offset=pc.offset), *frames[1:])
        return (pc, *frames)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a report says."""

    traces: tuple[Trace, ...] = ()
    """Those with frames or a program counter, in the order of the log."""
    task: Task | None = None
    """That was running, as the report says first."""
    nowhere: str | None = None
    """The program counter, if it stood where there is no code."""
    stalled: frozenset[int] = frozenset()
    """The processors that an RCU stall lists."""
    blamed: Frame | None = None
    """The code that a line behind the announcement blames."""
    holder: Task | None = None
    """Who holds the lock that a hung task waits for, as the kernel guesses."""
    is_mixed: bool = False
    """Two processors printed their reports into each other."""
    taint: str | None = None
    """Letters; ``None`` when the log does not tell."""
    kmods: tuple[Kmod, ...] | None = None
    """``None`` when the log does not tell."""

    @property
    def nowhere_address(self) -> int | None:
        """The same as a number."""
        if self.nowhere is None:
            return None
        return 0 if "null" in self.nowhere else int(self.nowhere, 16)


@dataclass(slots=True)
class _Reading:
    """One trace while it is read."""

    frames: list[Frame] = field(default_factory=list)
    guesses: list[Frame] = field(default_factory=list)
    interrupted: set[int] = field(default_factory=set)
    pc: Frame | None = None
    task: Task | None = None
    cpu: int | None = None
    is_foreign: bool = False
    did: str | None = None
    head: Frame | None = None
    is_headed: bool = False
    is_over: bool = False

    def done(self) -> Trace:
        frames, interrupted = self.frames or self.guesses, frozenset(self.interrupted)
        if not frames and self.head:
            frames = [self.head]
        return Trace(
            frames=tuple(frames),
            pc=self.pc,
            interrupted=interrupted if self.frames else frozenset(),
            task=self.task,
            cpu=self.cpu,
            is_guess=not self.frames and bool(self.guesses),
            is_foreign=self.is_foreign,
            is_headed=self.is_headed or self.pc is not None,
            did=self.did,
        )


class _Reader:
    """Goes through the lines of one report."""

    def __init__(self, *, is_oops: bool) -> None:
        self.is_oops = is_oops
        self.traces: list[Trace] = []
        self.now = _Reading()
        self.task: Task | None = None
        self.nowhere: str | None = None
        self.spare: Trace | None = None
        """Frames that nothing announced as the oops's own."""

    def begin(self, **facts: object) -> None:
        # before the registers of an oops there is no trace of its own
        is_others = self.is_oops and not self.traces and not self.now.is_headed and not self.now.pc
        if is_others and self.nowhere is None:
            if self.now.frames or self.now.guesses:
                self.spare = self.spare or self.now.done()
            self.now.frames.clear()
            self.now.guesses.clear()
        if self.now.frames or self.now.guesses or self.now.pc or self.now.head:
            self.traces.append(self.now.done())
        self.now = _Reading(**facts)  # type: ignore[arg-type]

    def read_line(self, text: str) -> None:
        now = self.now
        if _LAST_PC.match(text):
            now.is_over = True
            return
        if ("+0x" in text or " from " in text or "inline" in text) and self._take_frame(text):
            return
        if (".c:" in text or ".h:" in text or text.endswith(" (")) and self._take_decoded(text):
            return
        if _TRACE.match(text):
            self._take_headline(text)
        elif found := _NOWHERE.match(text):
            if not now.frames and self.nowhere is None:
                self.nowhere = found[1] or found[2]
        elif _USER.match(text):
            if now.frames:
                now.is_over = True
        elif found := _CPU.match(text):
            self.begin(cpu=int(found[1]))
        elif _OTHERS.match(text.lstrip()):
            if found := _TRACK.match(text.lstrip()):
                head = _frame_of_match(found, 2) if found[2] else None
                self.begin(is_foreign=True, did=found[1].lower(), head=head)
            else:
                self.begin(is_foreign=True)
        elif _OWN.match(text.lstrip()):
            pid = _BY_TASK.search(text)
            self.begin(task=Task(int(pid[1]), "") if pid else None)
        else:
            self._take_task(text)

    def _take_headline(self, text: str) -> None:
        now = self.now
        if now.frames and not now.is_headed and now.pc is None and len(set(now.frames)) == 1:
            # 2.6.18 prints the program counter as a frame of its own, and again, before the trace
            now.pc = now.frames.pop()
            now.frames.clear()
            now.interrupted.clear()
        elif now.pc and not now.is_headed:
            # what stands between the registers and the trace's headline is another processor's
            now.frames.clear()
            now.guesses.clear()
        elif now.frames or now.guesses or text.lstrip().startswith("stack"):
            self.begin()
        self.now.is_headed = True
        if len(text) > 14:
            self._take_frame(text.partition(":")[2])

    def _take_frame(self, text: str) -> bool:
        now = self.now
        if found := _FROM.match(text):
            if not now.frames:
                now.frames.append(Frame(found[1]))
            self._add_frame(_frame_of_match(found, 2), text)
            return True
        if found := _FRAME.match(text):
            if found[5].startswith(" from "):
                return False
            if not found[1] and not _UNRELIABLE.search(found[5]):
                self._add_frame(_frame_of_match(found, 2), found[5])
            elif not now.is_over and len(now.guesses) < FRAMES_LIMIT:
                now.guesses.append(_frame_of_match(found, 2))
            return True
        if found := _PC.match(text):
            self._take_pc(_frame_of_match(found, 3))
        elif found := _LR.match(text):
            # only a call that led nowhere needs it: else it is the caller, or an older one
            if self.nowhere is not None and not now.frames and now.pc is None:
                now.pc = _frame_of_match(found, 1)
        elif now.frames and not now.is_over and "inline" in text and (found := _INLINE.match(text)):
            line = int(found[3]) if found[3] else None
            self._add_frame(Frame(found[1], file=found[2], line=line, inlined=True), "")
        else:
            return False
        return True

    def _take_decoded(self, text: str) -> bool:
        now = self.now
        if found := _DECODED_PC.match(text):
            self._take_pc(_at_line(found, 1))
        elif (now.is_headed or now.frames) and (found := _DECODED.match(text)):
            if not found[1]:
                self._add_frame(_at_line(found, 2), "")
            elif not now.is_over and len(now.guesses) < FRAMES_LIMIT:
                now.guesses.append(_at_line(found, 2))
        else:
            return False
        return True

    def _add_frame(self, frame: Frame, rest: str) -> None:
        now = self.now
        if now.is_over or len(now.frames) >= FRAMES_LIMIT:
            return
        if found := _SOURCE.match(rest):
            frame = replace(frame, file=found[1], line=int(found[2]))
        now.frames.append(frame)

    def _take_pc(self, frame: Frame) -> None:
        now = self.now
        if not now.is_headed and not now.is_foreign and now.pc is None:
            now.pc = frame
            if self.is_oops:
                now.frames.clear()
                now.guesses.clear()
        elif not now.frames and not now.guesses:
            now.pc = now.pc or frame
        elif now.frames and not now.is_over:
            now.interrupted.add(len(now.frames))
            now.frames.append(frame)

    def _take_task(self, text: str) -> None:
        task = task_in(text)
        if task is None:
            return
        # a line of dump_stack_print_info() begins a trace, that of sched_show_task() only has one
        is_printing = task.state is None
        if self.now.frames or self.now.guesses or (self.now.is_foreign and is_printing):
            self.begin()
        self.task = self.task or (None if self.now.is_foreign else task)
        self.now.task = self.now.task or task
        if self.now.cpu is None:
            self.now.cpu = task.cpu


def facts_of(lines: Sequence[Line], *, is_oops: bool = False) -> Facts:
    """Read the lines of one report.

    :param is_oops: registers come before the trace
    """
    reader = _Reader(is_oops=is_oops)
    for line in lines:
        for text in _as_newer_kernels_print(line.text):
            reader.read_line(text)
    reader.begin()
    if reader.spare and not reader.traces and reader.nowhere is None:
        reader.traces.append(reader.spare)
    texts = [line.text for line in lines]
    return Facts(
        traces=tuple(reader.traces),
        task=reader.task,
        nowhere=reader.nowhere,
        stalled=frozenset(stalled_in(texts)),
        blamed=blamed_in(texts),
        holder=holder_in(texts),
        is_mixed=is_oops and is_mixed(lines),
        taint=taint_in(texts),
        kmods=kmods_in(texts),
    )


def task_in(text: str) -> Task | None:
    """The task that a line names."""
    if found := _TASK.search(text):
        return Task(int(found[2]), found[3], cpu=int(found[1]))
    if found := _OLD_TASK.search(text):
        return Task(int(found[1]), found[2])
    if found := _PROCESS.match(text):
        return Task(int(found[2]), found[1])
    if found := _XMON_TASK.match(text):
        return Task(int(found[1]), found[2])
    if found := _SHOWN.match(text):
        pid, comm = found[3] or found[6], found[1] or found[4]
        return Task(int(pid), comm, state=found[2] or found[5])
    return None


def _as_newer_kernels_print(text: str) -> Iterable[str]:
    """A line as newer kernels print it."""
    if "}" in text and "{" in text and (found := list(_OLDEST.finditer(text))):
        before = text[: found[0].start()]
        yield from (before,) if before.startswith("Call Trace") else ()
        head = before if before.startswith("RIP: 0") else ""
        for each in found[-1:] if head else found:
            kmod = f" [{each[1]}]" if each[1] else ""
            yield f"{head}{each[2]}+0x{int(each[3]):x}/0x0{kmod}"
    elif " :" in text:
        yield _OLD_KMOD.sub(r"\2 [\1]", text)
    else:
        yield text


def is_mixed(lines: Iterable[Line]) -> bool:
    """Whether two processors tell who they are before the first trace; where the kernel says who
    prints each line, they are told apart."""
    cpus: set[str] = set()
    for line in lines:
        if line.caller is not None or _TRACE.match(line.text):
            break
        if found := _TASK.search(line.text):
            cpus.add(found[1])
    return len(cpus) > 1


def stalled_in(texts: Iterable[str]) -> Iterator[int]:
    """The processors that an RCU stall lists (``kernel/rcu/tree_stall.h``)."""
    for text in texts:
        if found := _STALLED.match(text):
            yield int(found[1] or found[2] or found[3])


def blamed_in(texts: Iterable[str]) -> Frame | None:
    """The code that a line blames: ``caller is f`` (``lib/smp_processor_id.c``), ``last function:
    f``, ``workfn=f`` since Linux 6.9 (1a65a6d17cbc), ``kernel/workqueue.c``."""
    for text in texts:
        if any(words in text for words in _BLAMES) and (found := _BLAMED.match(text)):
            return Frame(found[1], offset=int(found[2], 16) if found[2] else None)
    return None


def holder_in(texts: Iterable[str]) -> Task | None:
    """Who holds the lock that a hung task waits for, which ``kernel/hung_task.c`` says since Linux
    6.16 (3cf67d61ff98)."""
    for text in texts:
        if "owned by" in text and (found := _OWNER.match(text)):
            return Task(int(found[2]), found[1])
    return None


def taint_in(texts: Iterable[str]) -> str | None:
    """Taint letters; ``None`` when no line tells."""
    for text in texts:
        if found := _TAINTED.search(text):
            return "".join(letter for letter in found[1] if letter.isupper() and letter != "G")
        if _UNTAINTED in text:
            return ""
    return None


def kmods_in(texts: Iterable[str]) -> tuple[Kmod, ...] | None:
    """The loaded kernel modules; ``None`` when no line lists them."""
    for text in texts:
        if found := _KMODS.match(text):
            names = found[1].partition("[last unloaded")[0].split()
            matching = filter(None, map(_KMOD.match, names))
            return tuple(Kmod(kmod[1].replace("-", "_"), taint=kmod[2] or "") for kmod in matching)
    return None


def _frame_of_match(found: re.Match[str], first: int) -> Frame:
    kmod = found[first + 2].replace("-", "_") if found[first + 2] else None
    return Frame(found[first], offset=int(found[first + 1], 16), kmod=kmod)


def _at_line(found: re.Match[str], first: int) -> Frame:
    kmod = found[first + 3].replace("-", "_") if found[first + 3] else None
    line = int(found[first + 2]) if found[first + 2] else None
    return Frame(found[first], file=found[first + 1], line=line, kmod=kmod)

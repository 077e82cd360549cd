"""``result.json`` as it stands on the disk.

The names are those of :mod:`cas.model`, which says what they mean. What an earlier release may have
left out has a default.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta, field

from cas.choices import (
    Checked,
    DetectorStatus,
    Engine,
    Level,
    MatchEvidence,
    SectionStatus,
    Stage,
    Verdict,
    Weight,
)
from cas.files.record import Below, Count, FilePath, Record, Ticket, Time, Whole
from cas.jobs.job_record import Missing, Reference


class Kernel(Record, frozen=True, kw_only=True):
    """The kernel that crashed, as far as it is known."""

    release: str | None = None
    arch: str | None = None
    build_id: str | None = None
    banner: str | None = None
    package: FilePath | None = None
    member: str | None = None
    vmlinux: FilePath | None = None


class Frame(Record, frozen=True, kw_only=True):
    """One line of a backtrace."""

    function: str
    offset: int | None = None
    pc: int | None = None
    kmod: str | None = None
    file: str | None = None
    line: int | None = None
    inlined: bool = False


class CodePlace(Record, frozen=True, kw_only=True):
    """Code as a kernel log names it."""

    function: str
    offset: int
    size: int
    kmod: str | None = None


class Location(Record, frozen=True, kw_only=True):
    """Where code of a kernel log stands in the source."""

    place: CodePlace
    exact: tuple[Frame, ...]
    """Of the instruction, innermost first."""
    caller: tuple[Frame, ...]
    """Of the call that returns there."""


class Dump(Record, frozen=True, kw_only=True):
    """What the dump says about itself."""

    path: FilePath
    format: str
    size_bytes: Count
    arch: str
    osrelease: str | None = None
    build_id: str | None = None
    banner: str | None = None
    nodename: str | None = None
    crash_time: datetime | None = None
    page_size: int | None = None
    kaslr_offset: int | None = None
    dump_level: int | None = None
    compression: str | None = None
    missing: tuple[Missing, ...] = ()
    checked: Checked = Checked.LENGTH
    pages: Count | None = None
    pages_checked: Count | None = None
    panic_message: str | None = None
    crash_id: str | None = None
    is_crash_id_weak: bool = False
    log_digest: str | None = None
    locations: tuple[Location, ...] = ()
    """Where the code that a kernel log names stands in the source; only where there is no dump."""
    remarks: tuple[str, ...] = ()
    is_whole: bool = True


class Registers(Record, frozen=True, kw_only=True):
    """One processor's registers."""

    cpu: int
    pid: int | None
    values: dict[str, str]
    """In hex, for programs whose numbers end at 53 bits."""


class Task(Record, frozen=True, kw_only=True):
    """A task of the crashed kernel."""

    pid: int
    comm: str
    cpu: int | None = None
    state: str | None = None
    address: int | None = None


class Kmod(Record, frozen=True, kw_only=True):
    """A kernel module that was loaded."""

    name: str
    size_bytes: int | None = None
    taint: str = ""
    address: int | None = None
    has_debuginfo: bool = False
    build_id: str | None = None


class Answer(Record, frozen=True, kw_only=True):
    """drgn's first answer."""

    panic_message: str | None = None
    panic_task: Task | None = None
    backtrace: tuple[Frame, ...] = ()
    kmods: tuple[Kmod, ...] = ()
    taint: str = ""
    uptime_s: float | None = None
    cpus_online: int | None = None
    memory_bytes: int | None = None
    nodename: str | None = None
    crash_time: datetime | None = None
    problems: tuple[str, ...] = ()


class Signature(Record, frozen=True, kw_only=True):
    """One name of a crash, at one granularity."""

    version: Annotated[int, Meta(ge=1, lt=1 << 31)]
    granularity: str
    value: str


class Confidence(Record, frozen=True, kw_only=True):
    """How sure something is."""

    level: Level
    why: tuple[str, ...] = ()


class KnownIssue(Record, frozen=True, kw_only=True):
    """What an administrator knows of crashes like this one."""

    name: str
    advice: str = ""
    link: str | None = None
    fixed_in: tuple[str, ...] = ()
    file: FilePath
    why: tuple[str, ...] = ()
    doubt: str | None = None


class Newest(Record, frozen=True, kw_only=True):
    """Different names of a kind: how many, and the newest."""

    count: Count = 0
    names: tuple[str, ...] = ()


class Occurrences(Record, frozen=True, kw_only=True):
    """Dumps of one crash, in other jobs."""

    count: Count
    since: Time
    tickets: Newest
    hosts: Newest
    kernels: Newest
    notes: Count = 0


class Machine(Record, frozen=True, kw_only=True):
    """The hardware that crashed."""

    model: str
    bios: str | None = None
    bios_date: str | None = None


class Tally(Record, frozen=True, kw_only=True):
    """Crashes of one machine, or of machines of one model."""

    name: str
    count: Count
    since: Time
    signatures: Count = 0
    hosts: Count = 0
    same_bios: Count | None = None


class Seen(Record, frozen=True, kw_only=True):
    """Whether a crash happened before."""

    same: Occurrences | None = None
    similar: Occurrences | None = None
    same_dump: tuple[str, ...] = ()
    same_log: tuple[str, ...] = ()
    uncompared: Count = 0
    host: Tally | None = None
    model: Tally | None = None


class LogEvent(Record, frozen=True, kw_only=True):
    """Trouble that the kernel log tells of before the crash."""

    kind: str
    text: str
    count: Count = 1
    is_flood: bool = False
    first_s: float | None = None
    last_s: float | None = None
    began_before_s: float | None = None
    ended_before_s: float | None = None
    where: str | None = None
    line: Count | None = None


class Culprit(Record, frozen=True, kw_only=True):
    """Where a verdict points on its stack."""

    frames: tuple[Frame, ...]
    role: str
    inner: Frame | None = None


class Finding(Record, frozen=True, kw_only=True):
    """The verdict on the crash itself."""

    what: str
    where: str | None = None
    who: str | None = None
    when: str | None = None
    taint: str = ""
    kmods: str = ""
    confidence: str = ""
    next_steps: tuple[str, ...] = ()
    signature: str | None = None
    former: str | None = None
    similar: tuple[str, ...] = ()
    seen: Seen | None = None
    trace: tuple[Frame, ...] = ()
    title: str = ""
    signatures: tuple[Signature, ...] = ()
    choice: Confidence | None = None
    data: Confidence | None = None
    known: tuple[KnownIssue, ...] = ()
    undecided: tuple[str, ...] = ()
    before: tuple[LogEvent, ...] = ()
    machine: Machine | None = None
    kind: str = ""
    culprit: Culprit | None = None


class Evidence(Record, frozen=True, kw_only=True):
    """One thing that the dump shows, and how to see it."""

    sentence: str
    source: str = ""
    command: str = ""
    weight: Weight = Weight.CONTEXT
    details: tuple[str, ...] = ()


class Detection(Record, frozen=True, kw_only=True):
    """What one detector found in the dump."""

    detector: str
    title: str
    status: DetectorStatus
    evidence: tuple[Evidence, ...] = ()
    remark: str | None = None
    seconds: float = 0.0


class Instruction(Record, frozen=True, kw_only=True):
    """One instruction of the code around a fault."""

    address: str | None = None
    """In hex."""
    place: str = ""
    text: str
    file: str | None = None
    line: int | None = None
    is_fault: bool = False


class SourceLines(Record, frozen=True, kw_only=True):
    """Lines of the source around a fault."""

    file: str
    line: int
    first: int
    lines: tuple[str, ...] = ()
    found: str = ""


class Fault(Record, frozen=True, kw_only=True):
    """The fault itself."""

    place: str | None = None
    kmod: str | None = None
    address: str | None = None
    """In hex."""
    evidence: tuple[Evidence, ...] = ()
    advice: str | None = None
    registers: dict[str, str] = field(default_factory=dict)
    """In hex."""
    registers_from: str = ""
    meanings: dict[str, str] = field(default_factory=dict)
    code: tuple[Instruction, ...] = ()
    code_from: str = ""
    source: SourceLines | None = None
    problems: tuple[str, ...] = ()


class Outcome(Record, frozen=True, kw_only=True):
    """How one command of a snippet ended."""

    command: str
    status: SectionStatus
    engine: Engine
    error: str | None = None
    size_bytes: Count = 0
    lacks_memory: bool = False


class Section(Record, frozen=True, kw_only=True):
    """One snippet's result."""

    name: str
    title: str
    status: SectionStatus
    engine: Engine
    path: Below
    seconds: float = 0.0
    size_bytes: Count = 0
    error: str | None = None
    commands: tuple[Outcome, ...] = ()


class Point(Record, frozen=True, kw_only=True):
    """One thing that the first screen says."""

    text: str
    command: str = ""
    source: str = ""
    details: tuple[str, ...] = ()
    level: Level | None = None
    jobs: tuple[str, ...] = ()


class Fact(Record, frozen=True, kw_only=True):
    """What the first screen says under one label."""

    label: str
    points: tuple[Point, ...] = ()


class ToldIssue(Record, frozen=True, kw_only=True):
    """A known issue, as the first screen tells it."""

    text: str
    name: str
    advice: str = ""
    fixed_in: str = ""
    doubt: str = ""
    link: str = ""


class Summary(Record, frozen=True, kw_only=True):
    """The first screen of the report, as every form of it tells it: printable text."""

    ticket: str
    started: str
    title: str
    is_named: bool
    verdict: str
    reason: str = ""
    known: tuple[ToldIssue, ...] = ()
    facts: tuple[Fact, ...] = ()
    next_steps: tuple[str, ...] = ()
    go_on: str = ""
    machine: tuple[Fact, ...] = ()
    directory: str = ""
    server: str = ""


class ByRanges(Record, frozen=True, kw_only=True):
    """What was asked of a server for the first answer, while the dump lay there."""

    requests: Count
    size_bytes: Count


class Result(Whole, frozen=True, kw_only=True):
    """Everything that a job found out."""

    ticket: Ticket
    directory: FilePath
    upload: FilePath
    server: str
    seconds: dict[str, float] = field(default_factory=dict)
    verdict: Verdict
    stage: Stage
    reason: str | None = None
    hint: str | None = None
    offset: int | None = None
    rivals: tuple[str, ...] = ()
    limits_hit: tuple[str, ...] = ()
    engine: Engine | None = None
    host: str | None = None
    ladder: tuple[str, ...] = ()
    sandbox: str | None = None
    recovered: tuple[str, ...] = ()
    customer_note: str | None = None
    by_ranges: ByRanges | None = None
    kernel: Kernel | None = None
    evidence: MatchEvidence | None = None
    evidence_detail: str | None = None
    dump: Dump | None = None
    missing: tuple[Missing, ...] = ()
    remarks: tuple[str, ...] = ()
    reference: Reference | None = None
    """Where the dump is, if the job has no copy."""
    parts: tuple[str, ...] = ()
    sidecars: tuple[str, ...] = ()
    registers: tuple[Registers, ...] = ()
    answer: Answer | None = None
    finding: Finding | None = None
    signature: str | None = None
    similar: tuple[str, ...] = ()
    detections: tuple[Detection, ...] = ()
    fault: Fault | None = None
    sections: tuple[Section, ...] = ()
    glide: Section | None = None
    """The deep trace, as text; ``glide.jsonl`` beside it has its records."""
    summary: Summary | None = None
    mail: None = None

"""The values that travel between the stages: frozen, in the field's words, free of behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cas.choices import (
    Cause,
    Checked,
    DetectorStatus,
    Engine,
    Kind,
    Level,
    MatchEvidence,
    NeedKind,
    SectionStatus,
    Stage,
    Verdict,
    Weight,
)


@dataclass(frozen=True, slots=True)
class Missing:
    """One thing that a damaged dump lacks."""

    what: str
    """A sentence with sizes, e.g. ``declares 8.0 GiB, data ends at 3.2 GiB (40 %)``."""
    offset: int | None = None
    """Byte offset in the dump file where the damage begins."""
    cause: Cause = Cause.UNKNOWN


@dataclass(frozen=True, slots=True)
class Registers:
    """One processor's registers at the crash, from the dump's NT_PRSTATUS notes."""

    cpu: int
    """Position of the note: processors without one are not counted."""
    pid: int | None
    """Process id of the task on it; ``None`` in dumps of QEMU, which does not know it."""
    values: Mapping[str, int]
    """By the architecture's own names, e.g. ``rip``, in the order of ``struct user_regs``."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The upload, unpacked: what of it is in the job directory."""

    vmcore: Path
    """The dump; the first part of a split set."""
    parts: tuple[Path, ...] = ()
    """All parts of a split set in the order of their page frames; empty for a dump in one file."""
    sidecars: tuple[Path, ...] = ()
    """Files that came with it."""
    missing: tuple[Missing, ...] = ()
    """What the upload's wrapping lost: cut or damaged compression."""
    remarks: tuple[str, ...] = ()
    """What a reader should know, e.g. bytes behind the end of the compressed data."""


@dataclass(frozen=True, slots=True)
class CrashProgram:
    """A crash binary on an analysis host."""

    path: str
    """On the host."""
    version: str
    """E.g. ``8.0.2``."""
    arch: str
    """The architecture of the dumps that it reads, in ``uname -m`` spelling."""


@dataclass(frozen=True, slots=True)
class Host:
    """A machine that is reached by ssh and runs crash for us."""

    name: str
    """As the administrator named it: a name, an address or an alias of ``~/.ssh/config``."""
    port: int | None = None
    """``None``: what ``~/.ssh/config`` says, else 22."""
    is_enabled: bool = True
    problem: str | None = None
    """Why it was of no use when it was last checked, in a sentence; ``None``: it was."""
    checked: datetime | None = None
    """UTC; when the facts below were found out."""
    arch: str | None = None
    """``uname -m``."""
    crashes: tuple[CrashProgram, ...] = ()
    drgn: str | None = None
    """Version of drgn there."""
    cpus: int | None = None
    memory_bytes: int | None = None
    """Available, as ``/proc/meminfo`` has it."""
    free_bytes: int | None = None
    """Below the directory for copies."""
    is_shared: bool = False
    """It sees our work directory, proved by a file with a nonce."""
    host_key: str | None = None
    """Type and fingerprint."""
    remarks: tuple[str, ...] = ()
    """What its administrator should know although it is of use, e.g. a crash that hangs."""

    def __str__(self) -> str:
        if self.port is None:
            return self.name
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


@dataclass(frozen=True, slots=True)
class KernelIdentity:
    """Who a kernel is: by this its vmlinux is looked for."""

    arch: str
    """``uname -m`` spelling: ``x86_64``, ``i686``, ``aarch64``, …"""
    osrelease: str | None = None
    """``uname -r``."""
    build_id: str | None = None
    """Lower-case hex of the GNU build-id."""
    banner: str | None = None
    """The whole ``Linux version …`` line, without the newline."""


KERNEL_LOG = "kernel log"
"""The format of a `Dump` that is no dump: the text of a kernel log, which is all that was kept."""


@dataclass(frozen=True, slots=True)
class Dump:
    """What a kernel dump says about itself, read without any vmlinux."""

    path: Path
    format: str
    """``ELF``, ``KDUMP``, ``flattened ELF``, ``flattened KDUMP`` or `KERNEL_LOG`."""
    size_bytes: int
    """Apparent size of the dump file."""
    arch: str
    """``uname -m`` spelling: ``x86_64``, ``i686``, ``aarch64``, …"""
    osrelease: str | None = None
    build_id: str | None = None
    """Lower-case hex of the kernel's GNU build-id, from VMCOREINFO (Linux 5.9 and later)."""
    banner: str | None = None
    """The kernel's whole ``Linux version …`` line, without the newline."""
    nodename: str | None = None
    """Host name of the machine that crashed; ELF dumps do not tell it."""
    crash_time: datetime | None = None
    """UTC; VMCOREINFO's CRASHTIME or the KDUMP header's timestamp."""
    page_size: int | None = None
    kaslr_offset: int | None = None
    """How far KASLR moved the kernel, in bytes."""
    dump_level: int | None = None
    """makedumpfile's ``-d`` value; ``None`` where the format does not tell."""
    compression: str | None = None
    """How pages are compressed: ``zlib``, ``lzo``, ``snappy``, ``zstd`` or ``None``."""
    missing: tuple[Missing, ...] = ()
    """What a damaged dump lacks; empty for a whole one."""
    checked: Checked = Checked.LENGTH
    """How far that is known."""
    pages: int | None = None
    """How many a KDUMP holds."""
    pages_checked: int | None = None
    """How many of them were unpacked, to see whether they are whole."""
    panic_message: str | None = None
    """The line of the kernel log that announces the crash."""
    dmesg: str | None = None
    """The kernel log with ``[seconds.micros]`` stamps; ``None`` when it could not be read."""
    log_digest: str | None = None
    """What the same crash has in another file: see :func:`cas.klog.log_digest.log_digest`."""
    locations: tuple[Location, ...] = ()
    """Where the code that the log names stands in the source, where there is only a log."""
    vmcoreinfo: Mapping[str, str] = field(default_factory=dict)
    registers: tuple[Registers, ...] = ()
    """Those of the processors whose notes are in the dump."""
    remarks: tuple[str, ...] = ()
    """What a reader of the report should know, e.g. a VMCOREINFO that contradicts the banner."""

    @property
    def identity(self) -> KernelIdentity:
        """The kernel that wrote it, as far as it tells."""
        return KernelIdentity(self.arch, self.osrelease, self.build_id, self.banner)

    @property
    def is_log(self) -> bool:
        """Whether there is only a kernel log: no memory that a debugger could read."""
        return self.format == KERNEL_LOG

    @property
    def is_whole(self) -> bool:
        """Whether nothing is known to be missing."""
        return not self.missing


@dataclass(frozen=True, slots=True)
class Kernel:
    """A vmlinux: in a catalogued package, or installed on this machine."""

    release: str
    arch: str
    source: Path
    """The package file, or the vmlinux itself when it is installed."""
    member: str | None
    """Path of the vmlinux inside the package, as the package spells it; ``None`` if installed."""
    build_id: str | None = None
    banner: str | None = None
    size_bytes: int | None = None
    """Size of the vmlinux."""
    digest: str | None = None
    """The digest of the vmlinux that its package promises: ``sha256:HEX``, ``md5:HEX``."""


@dataclass(frozen=True, slots=True)
class Case:
    """A dump, and the kernel that wrote it: what a debugger is given."""

    dump: Dump
    vmlinux: Path
    kmods: Mapping[str, Path] = field(default_factory=dict)
    """Files of kernel modules by the kernel's names for them, the most needed first; of drgn's
    case those that have debug information."""


@dataclass(frozen=True, slots=True)
class Match:
    """The kernel chosen for a dump, and why it is believed to be the right one."""

    kernel: Kernel
    evidence: MatchEvidence
    detail: str
    """The evidence in a sentence, with the values compared."""
    remarks: tuple[str, ...] = ()
    """What a reader should know of the package, e.g. that nobody has signed it."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One line of a backtrace; an inlined function is a frame of its own."""

    function: str
    offset: int | None = None
    """Bytes from the start of the function; ``None`` for inlined frames."""
    pc: int | None = None
    kmod: str | None = None
    """Kernel module that the code belongs to; ``None`` for vmlinux."""
    file: str | None = None
    line: int | None = None
    inlined: bool = False


@dataclass(frozen=True, slots=True)
class CodePlace:
    """Code as a kernel log names it: ``function+offset/size [kmod]``."""

    function: str
    offset: int
    size: int
    """Bytes to the next symbol; tells whether a function of that name is this one."""
    kmod: str | None = None


@dataclass(frozen=True, slots=True)
class Location:
    """Where code of a kernel log stands in the source, as the debug information says."""

    place: CodePlace
    exact: tuple[Frame, ...]
    """The frames of the instruction, innermost first: what is inlined, then the function itself."""
    caller: tuple[Frame, ...]
    """The same of the call that returns there."""


@dataclass(frozen=True, slots=True)
class Located:
    """What was found of the places of a kernel log."""

    locations: tuple[Location, ...] = ()
    misfits: tuple[str | None, ...] = ()
    """Whose functions have other sizes, so that it is of another build: a kmod, or ``None`` for the
    vmlinux. Nothing of it is located."""
    problem: str | None = None
    """Why there may be more."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task of the crashed kernel."""

    pid: int
    comm: str
    cpu: int | None = None
    state: str | None = None
    address: int | None = None
    """Where its ``struct task_struct`` is."""


@dataclass(frozen=True, slots=True)
class Kmod:
    """A kernel module that was loaded when the kernel crashed."""

    name: str
    """As the kernel spells it, with underscores."""
    size_bytes: int | None = None
    taint: str = ""
    """Taint letters of this module, e.g. ``OE``."""
    address: int | None = None
    has_debuginfo: bool = False
    build_id: str | None = None
    """From the module's own note in the dump."""


KMODS = "the list of kernel modules"
"""How a problem begins that is about them."""


@dataclass(frozen=True, slots=True)
class FirstAnswer:
    """What crashed, where and why: drgn's reading of the dump."""

    panic_message: str | None = None
    panic_task: Task | None = None
    backtrace: tuple[Frame, ...] = ()
    kmods: tuple[Kmod, ...] = ()
    taint: str = ""
    """The kernel's taint letters, e.g. ``GOE``; empty when not tainted."""
    uptime_s: float | None = None
    cpus_online: int | None = None
    memory_bytes: int | None = None
    nodename: str | None = None
    crash_time: datetime | None = None
    """UTC, from the kernel's own clock."""
    dmesg: str | None = None
    problems: tuple[str, ...] = ()
    """What could not be read, a sentence each."""

    @property
    def knows_kmods(self) -> bool:
        """Whether the list of kernel modules could be read, at least in part."""
        return bool(self.kmods) or not any(each.startswith(KMODS) for each in self.problems)


@dataclass(frozen=True, slots=True)
class Need:
    """What a command asks of the kernel: that it has one of several names of a kind."""

    kind: NeedKind
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Snippet:
    """One topic's commands, rendered for one dump."""

    name: str
    """File name of the snippet and of its output."""
    title: str
    commands: tuple[str, ...]
    needs: tuple[tuple[Need, ...], ...] = ()
    """What each command needs, all of which must be met; empty: none needs anything."""
    files: tuple[Path, ...] = field(default=(), compare=False)
    """Where the commands stand."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one command of a snippet ended."""

    command: str
    status: SectionStatus
    engine: Engine
    """Which ran it last."""
    error: str | None = None
    """What went wrong, in a sentence that names the command; ``None`` when ``ok``."""
    size_bytes: int = 0
    """Bytes of its output."""
    lacks_memory: bool = False
    """It wanted memory that the dump does not have."""


@dataclass(frozen=True, slots=True)
class Section:
    """One snippet's result."""

    name: str
    title: str
    status: SectionStatus
    engine: Engine
    path: Path
    """The output file in the job directory."""
    seconds: float = 0.0
    size_bytes: int = 0
    error: str | None = None
    """What went wrong, in a sentence; ``None`` when ``ok``."""
    commands: tuple[Outcome, ...] = ()
    """How each of its commands ended, in their order."""


SAME, SIMILAR = "top 3", "title"
"""The granularities at which two crashes are called the same, and similar; docs/diagnosis.md says
how often that is right."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One name of a crash that stays the same wherever and whenever it happens again."""

    version: int
    """Number of the rules that it was made by; only equal versions compare."""
    granularity: str
    """``title``, ``top 3``, ``top 5`` or ``full``: how much of the crash must be the same."""
    value: str
    """Hex digits."""


@dataclass(frozen=True, slots=True)
class Confidence:
    """How sure something is."""

    level: Level
    why: tuple[str, ...]
    """What it rests on; what lowers it first."""


@dataclass(frozen=True, slots=True)
class KnownIssue:
    """What an administrator knows of crashes like this one."""

    name: str
    advice: str
    """What to do about it; may be empty."""
    link: str | None
    """An http or https URL."""
    fixed_in: tuple[str, ...]
    """Releases that have it no more."""
    file: Path
    """Where it stands."""
    why: tuple[str, ...]
    """The conditions that held, with what they held of."""
    doubt: str | None = None
    """Why it may be another one after all: the kernel descends from a release with the fix."""


@dataclass(frozen=True, slots=True)
class Newest:
    """Different names of a kind: how many, and the newest of them."""

    count: int = 0
    names: tuple[str, ...] = ()
    """Newest first."""


@dataclass(frozen=True, slots=True)
class Occurrences:
    """Dumps of one crash, in other jobs."""

    count: int
    """Each dump once, however often it was analysed."""
    since: datetime
    """UTC, when the first of them crashed; when it was received, where that is not known."""
    tickets: Newest
    hosts: Newest
    """Names of the machines that crashed, as far as they are known."""
    kernels: Newest
    """Their releases."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The hardware that a kernel ran on, as its log says."""

    model: str
    """Vendor, product and board, as firmware has them."""
    bios: str | None = None
    """Version of the firmware."""
    bios_date: str | None = None
    """When the firmware was made, as it writes it: ``11/12/2020``."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Crashes of one machine, or of machines of one model, in other jobs."""

    name: str
    """The machine's name, or the model."""
    count: int
    """Dumps, each once, however often it was analysed."""
    since: datetime
    """UTC, when the first of them crashed."""
    signatures: int
    """How many different signatures they have; a deliberate crash has none."""
    hosts: int
    """How many different names their machines have, as far as they are known."""
    same_bios: int | None = None
    """How many of the dumps are of the same version of the firmware; ``None``: it is not known."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Whether a crash happened before."""

    same: Occurrences | None = None
    """The same headline, and the same three topmost frames that count; ``None``: never."""
    similar: Occurrences | None = None
    """The same title and no more."""
    same_dump: tuple[str, ...] = ()
    """Jobs that have this very dump, or another file of it (the end of the kernel log is the
    same to the microsecond), newest first: they are no occurrences."""
    uncompared: int = 0
    """Jobs whose crash has a name of earlier rules only; counted where nothing was seen."""
    host: Tally | None = None
    """All crashes of machines of this name, and model where both are known."""
    model: Tally | None = None
    """All crashes of machines of this model."""

    @property
    def tickets(self) -> tuple[str, ...]:
        """Where the crash, or a similar one, was seen: the newest of each, each once."""
        names = (each.tickets.names for each in (self.same, self.similar) if each)
        return tuple(dict.fromkeys(name for some in names for name in some))


@dataclass(frozen=True, slots=True)
class LogEvent:
    """Trouble that the kernel log tells of before the crash; lines of one kind about one thing."""

    kind: str
    """What it is, as ``cas.klog.troubles`` has it: ``I/O error``, ``hung task``, …"""
    text: str
    """The first of the lines, without its stamp; cut if it is long."""
    count: int = 1
    """How many such lines there are."""
    is_flood: bool = False
    """There may be more: so many say the same that the newest were looked at only."""
    first_s: float | None = None
    """Seconds since the boot, the log's stamp of the first line; ``None``: it has none."""
    last_s: float | None = None
    """The same of the last one."""
    began_before_s: float | None = None
    """Seconds from the first line to the crash; ``None``: that is not known."""
    ended_before_s: float | None = None
    """Seconds from the last line to the crash."""
    where: str | None = None
    """The function that it is about, where there is a call trace that the kernel was sure of."""
    line: int | None = None
    """Number of the first line in the log, from 0."""


@dataclass(frozen=True, slots=True)
class Culprit:
    """Where a verdict points on its stack."""

    frames: tuple[Frame, ...]
    """Innermost first: what is inlined in the function, and last the function itself."""
    role: str
    """What the function is: ``at fault``, or why it is not, e.g. ``freed the memory``."""
    inner: Frame | None = None
    """Where the processor was, in code of everybody's that the function called."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The verdict on the crash itself: one screen for a person in a hurry."""

    what: str
    """What happened, in a line: the panic message, cleaned of addresses' noise."""
    where: str | None
    """Function, module and file:line of the code at fault."""
    who: str | None
    """Task and CPU."""
    when: str | None
    """Crash time and uptime."""
    taint: str
    """Taint letters with their meaning, or ``not tainted``."""
    kmods: str
    """Out-of-tree and suspect modules, or how many are loaded."""
    confidence: str
    """How sure, and why, of the choice and of the data, in a sentence."""
    next_steps: tuple[str, ...]
    signature: str | None
    """The most telling of `signatures`: what has it is called the same crash, or similar where
    there are too few frames for that; ``None``: there is nothing to compare."""
    seen: Seen | None = None
    """Where the crash was seen before; ``None``: that could not be looked up."""
    trace: tuple[Frame, ...] = ()
    """The call trace of the kernel log, innermost first, where the verdict goes by that: there is
    no backtrace, or another task panicked than the one at fault."""
    title: str = ""
    """What the crash is called: ``NULL pointer dereference in cas_balance [cas_oops]``."""
    signatures: tuple[Signature, ...] = ()
    """From coarse to fine."""
    choice: Confidence | None = None
    """How sure it is that this was the crash, and that function is at fault."""
    data: Confidence | None = None
    """How sure it is that dump, kernel log and kernel are whole and belong together."""
    known: tuple[KnownIssue, ...] = ()
    """The known issues that this crash is."""
    undecided: tuple[str, ...] = ()
    """The known issues of which it cannot be told whether it is them, and why, a sentence each."""
    former: str | None = None
    """What the first version of the rules calls it, for jobs that are not reprocessed yet."""
    before: tuple[LogEvent, ...] = ()
    """What the kernel log says of the time before the crash, the most telling first."""
    machine: Machine | None = None
    """The hardware that crashed; ``None``: the kernel log does not tell."""
    kind: Kind | None = None
    """What kind of crash it was; ``None``: a record of a time when that was not kept."""
    culprit: Culprit | None = None
    """The frames of `trace`, else of the backtrace, that the verdict is about; ``None``: no
    function is known."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that the dump shows, and how to see it."""

    sentence: str
    source: str
    """What it rests on: a symbol, an address or a line of the log."""
    command: str
    """What shows it in ``cas debug``."""
    weight: Weight = Weight.CONTEXT
    details: tuple[str, ...] = ()
    """More of it, a line each."""


@dataclass(frozen=True, slots=True)
class Detection:
    """What one detector found in the dump."""

    detector: str
    """Name of its module below ``cas/detectors``."""
    title: str
    status: DetectorStatus
    evidence: tuple[Evidence, ...] = ()
    remark: str | None = None
    """How far it looked, or why it did not, e.g. ``looked at 3,000 of 20,000 tasks``."""
    seconds: float = 0.0
    """Wall time that it took."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of the code around a fault."""

    address: int | None
    """``None``: the kernel log does not tell."""
    place: str
    """``cas_sum_entries+0x18``; empty: not known."""
    text: str
    """As the disassembler writes it, with the name of what it branches to."""
    file: str | None = None
    line: int | None = None
    is_fault: bool = False
    """It is the one that faulted; where no code is, the call that led there."""


@dataclass(frozen=True, slots=True)
class SourceLines:
    """Lines of the source around a fault."""

    file: str
    """As the debug information names it."""
    line: int
    """Which one faulted."""
    first: int
    """Number of the first of `lines`."""
    lines: tuple[str, ...]
    found: str
    """Where the file was."""


@dataclass(frozen=True, slots=True)
class Fault:
    """The fault itself: what the processor was about to do, and why it could not."""

    place: str | None
    """``cas_sum_entries+0x18``; where no code is, the call that led there."""
    kmod: str | None = None
    address: int | None = None
    """That was accessed; ``None``: not known, or no memory was."""
    evidence: tuple[Evidence, ...] = ()
    """What the address and the registers give away."""
    advice: str | None = None
    """What to look for next, where that is more than the kind of crash alone says."""
    registers: Mapping[str, int] = field(default_factory=dict)
    """By the architecture's own names."""
    registers_from: str = ""
    """E.g. ``struct pt_regs at 0xffffaff9c00efdc8``, ``kernel log``."""
    meanings: Mapping[str, str] = field(default_factory=dict)
    """By register: what its value is, or what it points to."""
    code: tuple[Instruction, ...] = ()
    code_from: str = ""
    """``memory of the dump`` or ``kernel log``."""
    source: SourceLines | None = None
    problems: tuple[str, ...] = ()
    """What could not be read, a sentence each."""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a job found out; ``result.json`` carries it, the other reports draw it."""

    ticket: str
    directory: Path
    upload: str
    """The submitted file, or its URL without secrets."""
    server: str
    """Name of the machine that ran the analysis."""
    started: datetime
    verdict: Verdict
    stage: Stage
    """The last stage that was finished."""
    reason: str | None = None
    """Why the verdict is not ``complete``, in a sentence."""
    hint: str | None = None
    """The next step when it is not ``complete``."""
    offset: int | None = None
    rivals: tuple[str, ...] = ()
    """The packages between which nothing decides, each with what tells its kernel: while they
    stay as they are, the job waits."""
    engine: Engine | None = None
    """Which engine ran the snippets."""
    host: str | None = None
    """The analysis host on which it ran; ``None``: here."""
    remarks: tuple[str, ...] = ()
    """What a reader should know of how it was analysed, e.g. hosts that were lost."""
    ladder: tuple[str, ...] = ()
    """The rungs tried, in order, e.g. ``crash: full``, ``crash: --minimal``, ``drgn``."""
    sandbox: str | None = None
    """What the debuggers ran in: ``bwrap``, or ``none`` and why."""
    limits_hit: tuple[str, ...] = ()
    recovered: tuple[str, ...] = ()
    """What a damaged dump gave anyway, a phrase each."""
    customer_note: str | None = None
    """What to write to the customer who sent a damaged dump."""
    stored: Stored | None = None
    dump: Dump | None = None
    match: Match | None = None
    vmlinux: Path | None = None
    answer: FirstAnswer | None = None
    finding: Finding | None = None
    detections: tuple[Detection, ...] = ()
    """What the detectors found, in the order of their names."""
    fault: Fault | None = None
    """``None``: no code was stopped, or nothing is known of it."""
    sections: tuple[Section, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall time of each stage."""

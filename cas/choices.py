"""The choices among few, each with what it means; their values stand in records and databases."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """How a job ended, or stands; cas(1) has the exit status of each."""

    COMPLETE = "complete"
    """The dump is whole, and every snippet ran that its kernel has something for."""
    PARTIAL = "partial"
    """The result is usable; ``Report.reason`` lists what is missing."""
    WAITING = "waiting"
    """No debuginfo of the kernel is there yet; what the dump says alone is reported already."""
    FAILED = "failed"
    """The job stopped before its end; ``Report.stage`` and ``Report.reason`` say where and why."""
    REFUSED = "refused"
    """The site's policy forbids it: a limit, a signature, a sandbox."""
    INTERRUPTED = "interrupted"
    """A signal, a full disk or a busy database stopped the job; it can be gone on with."""


UNFINISHED = frozenset({Verdict.WAITING, Verdict.INTERRUPTED})
"""Verdicts after which the dump is needed once more."""


class Storage(StrEnum):
    """What becomes of a plain dump that is submitted; a packed one is always unpacked."""

    COPY = "copy"
    """The job has a copy."""
    MOVE = "move"
    """It becomes the job's own file, if it can."""
    REFERENCE = "reference"
    """It stays where it is; the job knows its path and its digest."""


class Presence(StrEnum):
    """Where the best file of an archived crash is."""

    HERE = "here"
    """In the archive, with the size that it was stored with."""
    TRUNCATED = "truncated"
    """In the archive, with another size than it was stored with."""
    ELSEWHERE = "elsewhere"
    """Where it was submitted: it was never copied; or in a store, to which it was moved."""
    MISSING = "missing"
    """There should be a file, and there is none."""
    PURGED = "purged"
    """It was removed for its age; what was found out is kept."""
    NOTED = "noted"
    """There never was one: a note tells of the crash."""


class Stage(StrEnum):
    """What is behind a job, in this order; a stage that is not noted is done again."""

    RECEIVED = "received"
    """The job has its directory and its ``job.json``."""
    STORED = "stored"
    """The dump is on the disk of the job, whole, with its digest."""
    IDENTIFIED = "identified"
    """The dump has told which kernel wrote it."""
    MATCHED = "matched"
    """A kernel is chosen for it."""
    PREPARED = "prepared"
    """The vmlinux is extracted."""
    ANALYSED = "analysed"
    """The debuggers are through."""
    REPORTED = "reported"
    """The results are published."""
    NOTIFIED = "notified"
    """The server has taken the mail."""


class Engine(StrEnum):
    """What answered a command."""

    CRASH = "crash"
    """crash, here or on an analysis host."""
    DRGN = "drgn"
    """drgn, in its process on this machine."""
    SALVAGE = "salvage"
    """No debugger: the text is what was read of the dump itself."""
    LOG = "log"
    """No debugger: there is no dump, only the text of a kernel log."""
    NONE = "none"
    """Nothing did: the kernel has nothing of the kind, or the snippet gave no commands."""


class Fetch(StrEnum):
    """How much of a dump on a server is fetched."""

    ALL = "all"
    """All of it, once what crashed is told by what was read of it where it lies."""
    ANSWER = "answer"
    """What it takes to tell what crashed; the rest when somebody goes on with the job."""


class EngineChoice(StrEnum):
    """Which debugger shall run the snippets, as ``engine`` of cas.conf and ``--engine`` say."""

    AUTO = "auto"
    """crash where there is one for the dump's architecture, else drgn."""
    CRASH = "crash"
    """crash and nothing else; the job fails where it cannot."""
    DRGN = "drgn"
    """drgn and nothing else."""


class GlideRole(StrEnum):
    """Why a task stands where it does in a deep trace."""

    PANIC = "panic"
    """It was on the CPU that panicked."""
    CPU = "cpu"
    """It was on another CPU, or is the idle task of one."""
    BLOCKED = "blocked"
    """It was in uninterruptible sleep."""
    OTHER = "other"
    """It was asleep otherwise, or waited for a CPU."""


class SectionStatus(StrEnum):
    """How a snippet, or one of its commands, ended."""

    OK = "ok"
    """It was answered."""
    SKIPPED = "skipped"
    """This kernel has nothing of the kind."""
    PARTLY = "partly"
    """Some commands of the snippet gave nothing; a command itself never ends so."""
    FAILED = "failed"
    """The debugger refused it, or answered with nothing but complaints."""
    NOT_RUN = "not run"
    """The debugger was gone by then, and could not be started again."""
    CUT = "cut"
    """It wrote more than a section may have."""
    TIMEOUT = "timeout"
    """It was ended at its limit of time."""
    MEMORY = "memory"
    """It reached the limit of memory."""
    CRASHED = "crashed"
    """The debugger died of it."""


class MatchEvidence(StrEnum):
    """By what a kernel is believed to be the dump's, from the surest on."""

    BUILD_ID = "build-id"
    """The GNU build-ids are equal: the same link of the same objects."""
    BANNER = "banner"
    """The whole ``Linux version …`` lines are equal, with builder, compiler and time."""
    RELEASE_AND_TIME = "release and build time"
    """``uname -r`` and ``uname -v`` are equal."""
    RELEASE = "release"
    """Only ``uname -r`` is equal: a kernel that was built again has the same."""


class NeedKind(StrEnum):
    """What a command of a snippet may need of a kernel."""

    SYMBOL = "symbol"
    """A symbol of vmlinux."""
    TYPE = "type"
    """A type, or a member as ``NAME.MEMBER``."""
    CONFIG = "config"
    """A configuration option that is set."""


class Cause(StrEnum):
    """Why something is missing; of several causes the first explains the others."""

    PART = "part"
    """A part of a split set did not come, or another file came in its place."""
    TWICE = "twice"
    """A part of a split set came twice: perhaps another one was meant."""
    INCOMPLETE = "incomplete"
    """makedumpfile itself has marked the dump: its target was full, or the machine was reset."""
    WRAPPING = "wrapping"
    """The compression or the archive around the dump is cut or damaged."""
    CONVERTED = "converted"
    """Line ends were changed on the way, by FTP in text mode or a mail program."""
    PACKED_CUT = "packed cut"
    """`CUT`, of a dump whose wrapping is whole: it was cut before it was packed."""
    CLAIM = "claim"
    """The headers claim what no kernel writes, and debuggers would take memory for it."""
    CUT = "cut"
    """The file ends before what its headers promise."""
    BLANK = "blank"
    """Zeros stand where there was something else: the file has its length, but was not filled."""
    PAGES = "pages"
    """Pages inside the file are not those that were written; what leads to them is."""
    DAMAGED = "damaged"
    """Bytes inside the file are not those that were written."""
    UNKNOWN = "unknown"
    """A record of a time when no cause was kept."""


class Checked(StrEnum):
    """How far it is known that a dump is whole."""

    LENGTH = "length"
    """All bytes are there; nothing in the file tells whether they are right."""
    SAMPLED = "sampled"
    """All bytes are there, and some pages, spread over the file, unpack."""
    PAGES = "pages"
    """Every page unpacks; a zlib page has its checksum."""
    RANGES = "ranges"
    """The file has its length, and what was asked for was read of it where it lies: nothing is
    known of the rest."""


class Level(StrEnum):
    """How sure something is, from the surest on; docs/diagnosis.md says how often each is right."""

    HIGH = "high"
    """Of 257 reports of syzkaller's that were given it, 97 % were right."""
    MEDIUM = "medium"
    """Something speaks against it, or is missing; 86 % were right."""
    LOW = "low"
    """Where the kernel looked is chance, or little is known; 58 % were right."""


class Weight(StrEnum):
    """What a piece of evidence does for the verdict."""

    CAUSE = "cause"
    """It explains the crash: a circle of locks, who has the memory."""
    CONTEXT = "context"
    """What else was going on."""


class DetectorStatus(StrEnum):
    """How a detector ended."""

    OK = "ok"
    """It looked; whether it found something is another matter."""
    SKIPPED = "skipped"
    """The dump is none for it, e.g. of another architecture, or the time was up before."""
    FAILED = "failed"
    """The dump, or the detector, is not as it should be."""
    TIMEOUT = "timeout"
    """It was ended at its limit; what it had found by then counts."""


class SecretKind(StrEnum):
    """What is replaced in an export; its replacements begin with it, in capitals."""

    HOST = "host"
    """Name of a machine, short or with its domain."""
    DOMAIN = "domain"
    """What names of machines end with."""
    ADDRESS = "address"
    """Of IPv4, IPv6 or a link."""
    USER = "user"
    """Name of a person's account, also as that of its home directory."""
    SERIAL = "serial"
    """Number of one machine, disk or file system."""
    MAIL = "mail"
    """An address of mail."""
    PASSWORD = "password"  # noqa: S105  a kind of secret, and none
    """What lets somebody in, also hashed."""
    TICKET = "ticket"
    """What the site calls the case, or another one."""
    WORD = "word"
    """What was given to be replaced."""


class AnalyzerKind(StrEnum):
    """What runs an analyzer."""

    SHELL = "shell"
    """bash, else sh."""
    PYTHON = "python"
    """drgn's process."""
    COMMAND = "command"
    """The debugger, of which it is a command: no analyzer is stored so."""


class Kind(StrEnum):
    """What kind of crash it was; the values are part of signatures and never change."""

    NULL_DEREFERENCE = "null-dereference"
    """Code read or wrote through a pointer that is NULL, or near it."""
    PAGE_FAULT = "page-fault"
    """Code read, wrote or ran what is not mapped so."""
    PROTECTION_FAULT = "protection-fault"
    """The processor refused an access without naming the address, e.g. a non-canonical one."""
    BUG_ON = "bug-on"
    """An assertion of the kernel's own failed that is not survived."""
    LIST_CORRUPTION = "list-corruption"
    """A linked list was found damaged when it was changed."""
    DIVIDE_ERROR = "divide-error"
    """A division by zero."""
    DOUBLE_FAULT = "double-fault"
    """An exception could not be handled, most often since the stack was over."""
    STACK_OVERFLOW = "stack-overflow"
    """A kernel stack ran into what guards it."""
    STACK_PROTECTOR = "stack-protector"
    """A function found what stands behind its variables overwritten when it returned."""
    OOPS = "oops"
    """Another exception in code of the kernel."""
    MEMORY_ERROR = "memory-error"
    """Memory was used wrongly: after it was freed, beyond its end, freed twice."""
    WARNING = "warning"
    """An assertion that is survived, and that the kernel panicked of, or nothing worse was told."""
    HUNG_TASK = "hung-task"
    """A task waited for too long, not to be interrupted."""
    SOFT_LOCKUP = "soft-lockup"
    """A processor ran kernel code for too long without letting another task run."""
    HARD_LOCKUP = "hard-lockup"
    """A processor took no interrupt for too long."""
    RCU_STALL = "rcu-stall"
    """Readers of RCU did not end for too long."""
    OUT_OF_MEMORY = "out-of-memory"
    """No memory was left, and the kernel was to panic of that."""
    MACHINE_CHECK = "machine-check"
    """The hardware reported an error of its own."""
    NMI = "nmi"
    """A non-maskable interrupt: a button, a management controller, a bus error."""
    SYSRQ = "sysrq"
    """Somebody asked for the crash."""
    PANIC = "panic"
    """The kernel gave up for a reason of its own."""
    NONE = "none"
    """Nothing announces a crash: a dump of a running system."""

"""The verdict on the crash itself."""

from __future__ import annotations

from pathlib import Path

from cas.choices import Kind, Level
from cas.frozen import dataclass
from cas.model.code import Frame
from cas.model.occurrence import Seen

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
class Machine:
    """The hardware that a kernel ran on, as its log says."""

    model: str
    """Vendor, product and board, as firmware has them."""
    bios: str | None = None
    """Version of the firmware."""
    bios_date: str | None = None
    """When the firmware was made, as it writes it: ``11/12/2020``."""


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

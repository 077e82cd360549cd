"""Everything that a job found out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from pathlib import Path

from cas.choices import Engine, Stage, Verdict
from cas.frozen import dataclass
from cas.model.answer import FirstAnswer
from cas.model.dump import Dump, Stored
from cas.model.evidence import Detection
from cas.model.fault import Fault
from cas.model.finding import Finding
from cas.model.kernel import Match
from cas.model.snippet import Section


@dataclass(frozen=True, slots=True)
class ByRanges:
    """What was asked of a server for the first answer, while the dump lay there."""

    requests: int
    size_bytes: int
    """Bytes of the dump that came."""


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
    by_ranges: ByRanges | None = None
    """``None``: nothing was read where it lay on a server."""
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
    glide: Section | None = None
    """The deep trace, which is no part of the verdict; ``None``: there is none."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall time of each stage."""

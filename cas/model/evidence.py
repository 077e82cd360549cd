"""What detectors find in a dump."""

from __future__ import annotations

from cas.choices import DetectorStatus, Weight
from cas.frozen import dataclass


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

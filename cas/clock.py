"""Whether time has really passed: a clock that is wrong must not make old what is not.

Everything that was done here left a trace with its time. Where there is none for long, the clock
may have jumped; where one is of later than now, it has.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

SLACK = timedelta(hours=1)
"""By which a trace may be of later than now: file servers have clocks of their own."""
EPOCH = datetime.fromtimestamp(0, UTC)
NEVER = datetime.max.replace(tzinfo=UTC)
_LIMIT_DAYS = 365_000
_FORM = "%Y-%m-%d %H:%M"


@dataclass(frozen=True, slots=True, order=True)
class Trace:
    """Something that was done here."""

    when: datetime
    """With a time zone."""
    what: str


@dataclass(frozen=True, slots=True)
class Belief:
    """How far back the clock can be believed."""

    since: datetime = EPOCH
    """What is of before may be younger than it seems."""
    doubt: str | None = None
    """Why nothing of before `since` is believed, as a sentence without its end."""
    is_of_now: bool = False
    """Whether it is the clock of now that is doubted, not one of before."""


def believed(traces: Iterable[Trace], now: datetime, limit_days: float) -> Belief:
    """How far back time has passed as the clock says.

    :param limit_days: the age that counts; half of it without a trace is doubtful
    """
    gap = timedelta(days=min(limit_days, _LIMIT_DAYS) / 2)
    later = Trace(now, "now")
    for trace in sorted(traces, reverse=True):
        if trace.when > now + SLACK:
            doubt = f"the clock says {now:{_FORM}} UTC, but {trace.what} is of {_utc(trace)}"
            return Belief(NEVER, doubt, is_of_now=True)
        if later.when - trace.when > gap:
            doubt = (
                f"nothing was done here between {_utc(trace)} ({trace.what}) and {_utc(later)} "
                f"({later.what}), so that the clock may be wrong, or was"
            )
            return Belief(later.when, doubt, is_of_now=later.when == now)
        later = min(later, trace)
    return Belief()


def at(seconds: float) -> datetime:
    """A time of a file as a time; one that cannot be told is the epoch."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return EPOCH


def _utc(trace: Trace) -> str:
    return f"{trace.when.astimezone(UTC):{_FORM}} UTC"

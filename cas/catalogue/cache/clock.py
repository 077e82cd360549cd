"""Whether time has really passed: a clock that is wrong must not make old what is not.

Everything that was done here left a trace with its time. Where there is none for long, the clock
may have jumped; where one is of later than now, it has.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from cas.frozen import dataclass
from cas.units import utc

SLACK = timedelta(hours=1)
"""By which a trace may be of later than now: file servers have clocks of their own."""
QUIET = timedelta(days=400)
"""For which nobody may have had a crash."""
EPOCH = datetime.fromtimestamp(0, UTC)
NEVER = datetime.max.replace(tzinfo=UTC)
_LIMIT_DAYS = 365_000


@dataclass(frozen=True, slots=True, order=True)
class Trace:
    """Something that was done here."""

    when: datetime
    """A time with its zone."""
    what: str
    is_sure: bool = False
    """Somebody looked at the clock then, and at what it makes old."""


@dataclass(frozen=True, slots=True)
class Belief:
    """How far back the clock can be believed."""

    since: datetime = EPOCH
    """What is of before may be younger than it seems."""
    doubt: str | None = None
    """Why nothing of before `since` is believed, as a sentence without its end."""
    is_of_now: bool = False
    """It is the clock of now that is doubted, not one of before."""


def believed(traces: Iterable[Trace], now: datetime, limit_days: float) -> Belief:
    """How far back time has passed as the clock says.

    A span without a trace is no doubt any more, be the site only a quiet one, once the limit has
    passed since, trace by trace, or somebody has looked at the clock. What is years before all else
    stays in doubt: it may be of a clock that was behind, and of yesterday.

    :param limit_days: the age that counts; half of it without a trace is doubtful
    """
    gap = timedelta(days=min(limit_days, _LIMIT_DAYS) / 2)
    later, is_sure = Trace(now, "now"), False
    for trace in sorted(traces, reverse=True):
        if trace.when > now + SLACK:
            doubt = f"the clock says {utc(now)}, but {trace.what} is of {_utc(trace)}"
            return Belief(NEVER, doubt, is_of_now=True)
        silence = later.when - trace.when
        is_over = is_sure or now - later.when > 2 * gap  # what was before is old in any case
        if silence > gap and not (is_over and silence <= QUIET):
            doubt = (
                f"nothing was done here between {_utc(trace)} ({trace.what}) and {_utc(later)} "
                f"({later.what}), so that the clock may be wrong, or was"
            )
            return Belief(later.when, doubt, is_of_now=later.when == now)
        is_sure |= trace.is_sure
        later = min(later, trace)
    return Belief()


def file_time(seconds: float) -> datetime:
    """A time of a file as a time; one that cannot be told is the epoch."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return EPOCH


def _utc(trace: Trace) -> str:
    return utc(trace.when)

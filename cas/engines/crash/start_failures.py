"""Why crash did not open a dump, start by start, and how that is said in one sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cas.engines.crash.rungs import Options, untried_remedies
from cas.errors import EngineError
from cas.frozen import dataclass
from cas.supervise import is_from_outside

_TOO_OLD = re.compile(r"do(es)? not match")
_SERIES = re.compile(r"\d+\.\d+")


class NotOpened(EngineError):
    """crash did not open the dump."""

    def __init__(self, message: str, *, program: str = "crash") -> None:
        super().__init__(
            message,
            hint=f"{program} may be too old for this kernel, or the dump damaged;"
            " try --engine drgn",
        )


@dataclass(frozen=True, slots=True)
class ExpectedDump:
    """What is known of a dump before crash has opened it."""

    releases: tuple[str, ...] = ()
    """``uname -r`` of its kernel, in the spellings that may be."""
    is_whole: bool = False
    """Nothing of it is missing, and drgn reads it: what cannot be opened then is not the
    dump's fault, and drgn can do the rest."""


@dataclass(frozen=True, slots=True)
class StartFailure:
    """How one start of crash ended."""

    rung: str
    reason: str
    """How it ended, in a few words of ours."""
    words: str
    """crash's own; empty when it said nothing of use."""
    signal: int
    """Which ended it, or stopped it; 0: none."""
    said: bytes
    """All of its last words."""
    is_wrong: bool = False
    """It answered, but not as a crash with this dump would."""

    @property
    def is_from_outside(self) -> bool:
        """Whether somebody else ended it."""
        return is_from_outside(self.signal)

    def untried_remedies(self, options: Options) -> frozenset[str]:
        """Options that leave out what it stumbled over."""
        return frozenset() if _TOO_OLD.search(self.words) else untried_remedies(options, self.said)

    def __str__(self) -> str:
        if self.words:
            return f"{self.reason}: {self.words}"
        return f"{self.reason} without a message" if self.reason.startswith("exit") else self.reason


def why_not_opened(failures: Sequence[StartFailure], expected: ExpectedDump, program: str) -> str:
    """Why crash did not open a dump, in a sentence.

    :param failures: of all starts, at least one
    :param program: what it calls itself, e.g. ``crash 8.0.2``
    """
    last = failures[-1]
    if not expected.is_whole or last.is_from_outside:
        # each reason once, with the rungs that ended so
        rungs: dict[str, dict[str, None]] = {}
        for failure in failures:
            rungs.setdefault(str(failure), {})[failure.rung] = None
        return "; ".join(f"{', '.join(ended)}: {reason}" for reason, ended in rungs.items())
    is_old = not last.signal and not last.is_wrong
    if (
        is_old
        and (not last.words or _TOO_OLD.search(last.words))
        and last.reason.startswith("exit")
    ):
        series = next(filter(None, map(_SERIES.match, expected.releases)), None)
        return f"{program} is too old for {series[0] if series else 'this kernel'}"
    return f"{program} does not open the dump: {last}"

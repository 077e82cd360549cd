"""Whether a crash happened before, on which machines and how often."""

from __future__ import annotations

from datetime import datetime

from cas.frozen import dataclass


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
    notes: int = 0
    """How many of them only a note tells of, without a dump."""


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
    """Jobs that have this very dump, newest first: they are no occurrences."""
    same_log: tuple[str, ...] = ()
    """Jobs of this very crash, by another dump or a kernel log: the log's end is the same to the
    microsecond. They are no occurrences either."""
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

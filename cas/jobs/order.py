"""What a user asks for with a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from cas.choices import EngineChoice, Fetch
from cas.frozen import dataclass

if TYPE_CHECKING:
    from cas.fetch.url import Url

PIPE = Path("-")
"""In place of a file on the command line: standard input."""
FROM_STDIN = Path("/dev/stdin")
"""The upload of an order whose dump comes through standard input."""


@dataclass(frozen=True, slots=True)
class Order:
    """What the user asked for."""

    ticket: str
    upload: Path
    email: str | None = None
    wants_kmods: bool = False
    engine: EngineChoice | None = None
    """Instead of the configuration's engine."""
    member: str | None = None
    """The dump to take from an archive that holds several."""
    more: tuple[Path, ...] = ()
    """Further parts of a split dump."""
    takes: bool = False
    """Move the upload into the job, where that can be, instead of copying it."""
    url: str | None = None
    """Where the upload is fetched from, fit to be shown; there is no `upload` then."""
    fetch: Fetch | None = None
    """How much of a dump on a server is fetched; instead of the configuration's choice."""
    source: Url | None = field(default=None, repr=False, compare=False)
    """The same with its secrets, which are not kept."""
    held: Mapping[Path, int] = field(default_factory=dict, repr=False, compare=False)
    """Descriptors of uploads that this user could not open by their paths; not kept either."""

"""What a run needs ready before it begins: an empty room, and drgn on its way."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cas.config import Config
from cas.engines.drgn import Worker


@dataclass(frozen=True, slots=True)
class Workshop:
    """What is running or open for the length of a run."""

    worker: Worker
    room: Path
    """An empty directory for the debuggers."""
    stack: ExitStack
    """Ends what the run starts."""


@contextmanager
def workshop(config: Config) -> Iterator[Workshop]:
    """Open a workshop, first of all: drgn's process takes longest to get ready.

    :raises EngineError: drgn cannot be started
    """
    with ExitStack() as stack:
        room = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cas-")))
        worker = stack.enter_context(Worker(room, config.supervision.memory_bytes))
        yield Workshop(worker, room, stack)

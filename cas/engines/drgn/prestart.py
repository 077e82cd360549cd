"""What a run needs ready before it begins: an empty room, and drgn on its way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from cas.engines.drgn.process import Worker
from cas.settings.config import Config
from cas.supervise import Room, establish, scratch


@dataclass(frozen=True, slots=True)
class Prestart:
    """What is running or open for the length of a run."""

    worker: Worker
    room: Room
    """Where the debuggers run."""
    sandbox: str
    """Which sandbox the room has, or why none."""
    stack: ExitStack
    """Ends what the run starts."""


@contextmanager
def prestarted(config: Config) -> Iterator[Prestart]:
    """Start what takes long, first of all: drgn's process takes longest to get ready.

    :raises SandboxMissing: the configuration demands one, and it does not work here
    :raises EngineError: drgn cannot be started
    """
    sandbox, name = establish(config.supervision.sandbox)
    with ExitStack() as stack:
        room = Room(stack.enter_context(scratch()), config.supervision, sandbox=sandbox)
        worker = stack.enter_context(Worker(room))
        yield Prestart(worker, room, name, stack)

"""What a run needs ready before it begins: an empty directory, and drgn on its way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from cas.engines.drgn.starting import start_drgn
from cas.frozen import dataclass
from cas.settings.config import Config
from cas.supervise import Confinement, find_sandbox, scratch

if TYPE_CHECKING:
    from cas.engines.drgn.process import Worker


@dataclass(frozen=True, slots=True)
class Prestart:
    """What is running or open for the length of a run."""

    worker: Worker
    confinement: Confinement
    """Where the debuggers run."""
    sandbox: str
    """Which sandbox they have, or why none."""
    stack: ExitStack
    """Ends what the run starts."""


@contextmanager
def prestarted(config: Config) -> Iterator[Prestart]:
    """Start what takes long, first of all: drgn's process takes longest to get ready.

    :raises SandboxMissing: the configuration demands one, and it does not work here
    :raises EngineError: drgn cannot be started
    """
    sandbox, name = find_sandbox(config.supervision.sandbox)
    with ExitStack() as stack:
        confinement = Confinement(
            stack.enter_context(scratch()), config.supervision, sandbox=sandbox
        )
        running = start_drgn(confinement)
        try:
            from cas.engines.drgn.process import Worker  # it gets ready meanwhile

            worker = stack.enter_context(Worker(confinement, running))
        except BaseException:
            running.child.end()
            raise
        yield Prestart(worker, confinement, name, stack)

"""What a run needs ready before it begins: an empty directory, and drgn on its way."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from cas.engines.drgn.starting import start_drgn
from cas.errors import EngineError
from cas.frozen import dataclass
from cas.settings.config import Config
from cas.supervise import Confinement, find_sandbox, likely_sandbox, scratch

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
    rules = config.supervision
    with ExitStack() as stack:
        sandbox = likely_sandbox(rules.sandbox)
        confinement = Confinement(stack.enter_context(scratch()), rules, sandbox=sandbox)
        running = None
        try:
            # to try the sandbox first would take as long as to start it; it is given no file before
            with suppress(EngineError):  # which the trial explains, or the second start
                running = start_drgn(confinement)
            pool = stack.enter_context(ThreadPoolExecutor(1, "sandbox"))
            trial = pool.submit(find_sandbox, rules.sandbox)
            from cas.engines.drgn.process import Worker  # it gets ready meanwhile

            found, name = trial.result()
            if found != sandbox or running is None:
                if running:
                    running.end()
                confinement = replace(confinement, sandbox=found)
                running = start_drgn(confinement)
            worker = stack.enter_context(Worker(confinement, running))
        except BaseException:
            if running:
                running.end()
            raise
        yield Prestart(worker, confinement, name, stack)

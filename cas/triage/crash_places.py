"""Where crash may run for one dump: this machine, analysis hosts, in the order of preference."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from cas.choices import EngineChoice
from cas.database.store import Store
from cas.engines.crash.place import LocalPlace, Place, version
from cas.engines.crash.program import choose_crash, how_to_get_crash
from cas.errors import CasError, EngineError
from cas.hosts.demand import CrashDemand
from cas.hosts.registry import HostRegistry
from cas.model.case import Case
from cas.model.host import Host
from cas.progress import Progress
from cas.settings.config import Config
from cas.supervise import Confinement

if TYPE_CHECKING:
    from cas.hosts.choice import HostChoice


class CrashPlaces:
    """The places for one dump, one after another; a context manager that lets go of all hosts."""

    def __init__(
        self,
        demand: CrashDemand,
        config: Config,
        confinement: Confinement,
        store: Store,
        progress: Progress,
    ) -> None:
        """Look what is here; hosts are asked in the background if they come first."""
        self._demand = demand
        self._arch = demand.dump.arch
        self._config = config
        self._confinement = confinement
        self._store = store
        self._progress = progress
        self._asking: Future[HostChoice | None] | None = None
        self._is_closed = False
        self.why_not_here: EngineError | None = None
        """Why the crash that is configured for this machine cannot be used."""
        self._program: Path | None = None
        """This machine's crash; ``None``: there is none for this architecture."""
        if demand.host is None:
            try:
                self._program = choose_crash(config, self._arch, demand.engine)
            except EngineError as error:
                self.why_not_here = error
        self._has_served_here = False
        if self.hosts_come_first:
            self._ask()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_closed = True
        if self._asking is not None:
            self._asking.add_done_callback(_close)

    def __bool__(self) -> bool:
        """Whether there is any place to try; waits until it is known which hosts there are."""
        return self._program is not None or bool(self._host_choice)

    @property
    def hosts_come_first(self) -> bool:
        """Whether hosts are tried before this machine's crash."""
        if self._demand.engine is EngineChoice.DRGN or self._config.hosts.use == "never":
            return False
        return self._program is None or self._config.hosts.use == "first"

    @property
    def problems(self) -> tuple[str, ...]:
        """Why places could not be taken, a sentence each."""
        here = (str(self.why_not_here),) if self.why_not_here else ()
        return (*here, *(self._host_choice.problems if self._host_choice is not None else ()))

    def nowhere(self, reason: str = "") -> EngineError:
        """Why crash runs in no place.

        :param reason: what is known of those that were taken
        """
        reasons = dict.fromkeys(filter(None, (reason, *self.problems)))
        text = "; ".join(reasons) or f"there is no crash for {self._arch}"
        return EngineError(text, hint=how_to_get_crash(self._arch))

    def next_place(self, case: Case) -> Place | None:
        """The next place, ready for crash on this case; ``None``: there is none left.

        :param case: the dump and the vmlinux of the demand, with the kmods that are known by now
        """
        if self._is_closed:
            return None
        if self._host_choice is not None and (place := self._host_choice.next_place(case)):
            return place
        if self._program is None:
            return None
        if not self._has_served_here:
            self._has_served_here = True
            files = self._program, case.vmlinux, case.dump.path
            extensions, options = self._config.extensions, self._demand.options
            return LocalPlace(*files, self._confinement, extensions, case.kmods, options)
        if self._asking is None and self._config.hosts.use == "auto":
            self._ask(version(self._program, self._confinement))
            return self._host_choice.next_place(case) if self._host_choice is not None else None
        return None

    @property
    def _host_choice(self) -> HostChoice | None:
        """The hosts that may serve, once they are known; ``None``: there are none."""
        return self._asking.result() if self._asking is not None else None

    def _ask(self, failed: str | None = None) -> None:
        """Ask the hosts that may serve, in the background.

        :param failed: what a crash calls itself that could not open the dump: only newer ones are
            of use
        """
        pool = ThreadPoolExecutor(1, "hosts")
        self._asking = pool.submit(self._asked, failed)
        pool.shutdown(wait=False)

    def _asked(self, failed: str | None) -> HostChoice | None:
        hosts: tuple[Host, ...] = ()
        try:
            hosts = HostRegistry(self._store).for_analysis()
        except CasError as error:
            self._progress.warn(f"the analysis hosts cannot be looked up: {error}")
        choice = None
        if hosts or self._demand.host is not None:
            from cas.hosts.choice import HostChoice  # paramiko takes a while to import

            demand = replace(self._demand, newer_than=failed)
            choice = HostChoice(hosts, demand, self._config, self._progress)
        self._store.preload()  # while the hosts think
        return choice


def _close(asking: Future[HostChoice | None]) -> None:
    offers = asking.result() if not asking.cancelled() and not asking.exception() else None
    if offers is not None:
        offers.close()

"""The dump's kernel for a run: found, extracted, and kept in the cache while it is used."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import ExitStack

from cas.catalogue.cache import lease, limits
from cas.catalogue.extraction import extract
from cas.catalogue.extraction.extract import Extraction
from cas.catalogue.suppliers import Sought
from cas.errors import CasError
from cas.model import Dump, Match
from cas.triage.context import Run


class Supply:
    """What a run needs of the catalogue and of the cache."""

    def __init__(self, run: Run, stack: ExitStack) -> None:
        """Nothing is looked for yet.

        :param stack: until its end the extracted files stay in the cache
        """
        self._run = run
        self._stack = stack

    def find(self, dump: Dump) -> Match:
        """The kernel that crashed, and why it is believed to be the right one."""
        run = self._run
        return run.catalogue.find(dump.identity, cache=run.config.debugs, progress=run.progress)

    def prepare(self, match: Match, kmods: Iterable[str]) -> None:
        """Have the vmlinux in the cache, and those kmods that its package has."""
        cache = self._run.config.debugs
        self._stack.enter_context(lease.held(cache, match.kernel))
        extract.extract(match, kmods, cache, self._run.progress)

    def extract(self, dump: Dump, match: Match, kmods: Iterable[str]) -> Extraction:
        """The vmlinux and the files of some kmods; where the package is of no use, from elsewhere.

        :param kmods: names
        """
        run = self._run
        sought = Sought(dump.identity, run.config.debugs, run.progress)
        used, found = run.catalogue.extract(sought, match, kmods, self._stack)
        if used is not match:
            run.know(match=used)
        self._keep_limits()
        return found

    def _keep_limits(self) -> None:
        """Remove other kernels from the cache, if it holds too much with this one."""
        config = self._run.config
        try:
            trimmed = limits.trim_if_grown(config.debugs, config.cache, time.time())
        except CasError as error:
            self._run.progress.warn(f"the limits of the cache are not kept: {error}")
            return
        for removal in trimmed.removed:
            self._run.progress.note(f"removed {removal.holding.name} from the cache: {removal.why}")

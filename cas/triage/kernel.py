"""The dump's kernel for a run: found, extracted, and kept in the cache while it is used."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import ExitStack

from cas.catalogue.cache import lease
from cas.catalogue.cache.entry import may_be_full
from cas.catalogue.extraction import extract
from cas.catalogue.extraction.extract import Extraction
from cas.catalogue.extraction.kmod_cache import Wanted
from cas.catalogue.extraction.kmod_search import Found
from cas.catalogue.suppliers import Sought
from cas.errors import CasError
from cas.model.dump import Dump
from cas.model.kernel import Match
from cas.triage.context import Context
from cas.triage.telling import Announcer


class KernelSupply:
    """What a run needs of the catalogue and of the cache."""

    def __init__(self, context: Context, leases: ExitStack, tell: Announcer) -> None:
        """Nothing is looked for yet.

        :param leases: until its end the extracted files stay in the cache
        """
        self._context = context
        self._leases = leases
        self._tell = tell

    def find(self, dump: Dump) -> Match:
        """The kernel that crashed, and why it is believed to be the right one; it is told."""
        cache, progress = self._context.config.debugs, self._context.progress
        match = self._context.catalogue.find(dump.identity, cache=cache, progress=progress)
        self._tell.match(match)
        return match

    def extract_beforehand(self, match: Match, kmods: Iterable[str]) -> None:
        """Have the vmlinux in the cache, and those kmods that its package has."""
        cache = self._context.config.debugs
        self._leases.enter_context(lease.held(cache, match.kernel))
        extract.extract(match, kmods, cache, self._context.progress)

    def extract(self, dump: Dump, match: Match, kmods: Iterable[str]) -> tuple[Match, Extraction]:
        """The vmlinux and the files of some kmods; where the package is of no use, from elsewhere.

        :param kmods: names
        :return: the match that served in the end, and its files
        """
        context = self._context
        sought = Sought(dump.identity, context.config.debugs, context.progress)
        with context.timed("extract"):
            extracted = context.catalogue.extract(sought, match, kmods, self._leases)
        # with this one the cache may hold too much
        try:
            if not may_be_full(context.config.debugs, context.config.cache.limit_bytes):
                return extracted
            from cas.catalogue.cache import limits

            trimmed = limits.trim_if_grown(context.config.debugs, context.config.cache, time.time())
        except CasError as error:
            context.progress.warn(f"the limits of the cache are not kept: {error}")
            return extracted
        for removal in trimmed.removed:
            context.progress.note(f"removed {removal.holding.name} from the cache: {removal.why}")
        return extracted

    def kmods(self, match: Match, wanted: Wanted) -> Found:
        """Files of kmods: those that came with the kernel, and of known builds from wherever."""
        cache, progress = self._context.config.debugs, self._context.progress
        with self._context.timed("extract"):
            return self._context.catalogue.kmods(match, wanted, cache=cache, progress=progress)

    def guessed_kmods(self, match: Match, wanted: Wanted, there: Found) -> Found:
        """See `Catalogue.guessed_kmods`."""
        cache, progress = self._context.config.debugs, self._context.progress
        with self._context.timed("extract"):
            return self._context.catalogue.guessed_kmods(
                match, wanted, there, cache=cache, progress=progress
            )

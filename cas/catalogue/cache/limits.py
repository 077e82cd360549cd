"""How much of the cache is kept: what nobody has used for long goes, and nothing in use ever.

An entry gets another name before anything of it is deleted, so that it is there as a whole or not
at all; where that was interrupted, the next one to look at the limits goes on with it.
"""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cas.catalogue.cache import lease, placing
from cas.catalogue.cache.clock import Belief, Trace, believed, file_time
from cas.catalogue.cache.entry import (
    GROWN,
    cache_entries,
    is_entry_name,
    may_be_full,
    new_lock,
    remove_unfinished,
    unfinished,
)
from cas.catalogue.cache.listing import Holding, holdings
from cas.errors import CasError, NotPermitted
from cas.files.lease import is_held
from cas.frozen import dataclass
from cas.settings.rules import CacheRules
from cas.text import count
from cas.units import human_size

DOOMED = ".removed-"
"""How the names of entries begin that are being deleted."""
_DOOMED = re.compile(re.escape(DOOMED) + "(.+)-[0-9a-f]{8}")
_DAY_S = 86_400
_IN_USE = "it is in use"


@dataclass(frozen=True, slots=True)
class Removal:
    """An entry that went, or would, or should have."""

    holding: Holding
    why: str


@dataclass(frozen=True, slots=True)
class Trimmed:
    """What came of a look at the limits."""

    removed: tuple[Removal, ...] = ()
    kept: tuple[Removal, ...] = ()
    """Entries that should have gone, with what kept them: mostly, that they are in use."""
    left_bytes: int = 0
    """What the cache holds now."""
    doubt: str | None = None
    """Why the clock is not believed, where that kept something that seems to be too old."""

    @property
    def freed_bytes(self) -> int:
        """What the removed entries held."""
        return sum(removal.holding.size_bytes for removal in self.removed)


def trim(
    cache: Path,
    rules: CacheRules,
    now: float,
    traces: Iterable[Trace] = (),
    *,
    only_plan: bool = False,
) -> Trimmed:
    """Remove what the limits do not allow: first what is too old, then the least recently used.

    :param now: seconds since 1970
    :param traces: of what else was done here, by which the clock is judged
    :param only_plan: remove nothing, only say what would go
    :raises ConfigError: the cache cannot be written
    """
    with placing.writing_to(cache, 0):
        if not only_plan:
            finish_removals(cache)
            for entry in cache_entries(cache):
                if unfinished(entry):
                    with (
                        suppress(NotPermitted),  # somebody else's; it does not keep the others
                        placing.writing_to(entry, 0),
                        not_being_filled(entry) as is_ours,
                    ):
                        if is_ours:
                            remove_unfinished(entry)
            # before the sizes are looked at: what is added from here on is for the next time
            (cache / GROWN).unlink(missing_ok=True)
        found = holdings(cache)
        belief = _belief(found, traces, rules, now)
        return _Trim(rules, now, found, belief, only_plan=only_plan).run()


def trim_if_grown(cache: Path, rules: CacheRules, now: float) -> Trimmed:
    """The same, if something was added since the last time and the cache may hold too much.

    That costs two system calls when there is nothing to do.
    """
    return trim(cache, rules, now) if may_be_full(cache, rules.limit_bytes) else Trimmed()


def discard(cache: Path, name: str) -> bool:
    """Remove the entry of a build-id; ``False`` when it is in use and stays.

    :param name: the build-id, or another name of an entry
    :raises ConfigError: the cache cannot be written
    """
    entry = cache / name
    with placing.writing_to(cache, 0):
        return not is_entry_name(name) or not entry.is_dir() or _remove(entry, None)


class _Trim:
    """One look at the limits."""

    def __init__(
        self,
        rules: CacheRules,
        now: float,
        found: list[Holding],
        belief: Belief,
        *,
        only_plan: bool,
    ) -> None:
        self._rules = rules
        self._belief = belief
        self._now = now
        self._found = [holding for holding in found if not holding.problem]
        self._only_plan = only_plan
        self._removed: list[Removal] = []
        self._kept = [Removal(holding, holding.problem) for holding in found if holding.problem]
        self._left_bytes = sum(holding.size_bytes for holding in found)

    def run(self) -> Trimmed:
        oldest = self._now - self._rules.days * _DAY_S
        doubtful = []
        for holding in self._found:
            if holding.last_use >= oldest:
                continue
            if file_time(holding.last_use) < self._belief.since:
                doubtful.append(holding)
            else:
                self._let_go(holding, f"unused for more than {count(self._rules.days, 'day')}")
        limit = self._rules.limit_bytes
        if self._left_bytes > limit:
            tried = {removal.holding.entry for removal in (*self._removed, *self._kept)}
            for holding in self._found:
                if self._left_bytes <= target_bytes(self._rules):
                    break
                if holding.entry not in tried:
                    self._let_go(holding, f"the cache held more than {human_size(limit)}")
        doubt = self._belief.doubt if doubtful else None
        return Trimmed(tuple(self._removed), tuple(self._kept), self._left_bytes, doubt)

    def _let_go(self, holding: Holding, why: str) -> None:
        try:
            if self._only_plan:
                kept_for = _IN_USE if is_held(holding.entry) else None
            else:
                kept_for = None if _remove(holding.entry, holding.last_use) else _IN_USE
        except CasError as error:  # somebody else's; it does not keep the others
            kept_for = str(error)
        if kept_for is None:
            self._removed.append(Removal(holding, why))
            self._left_bytes -= holding.size_bytes
        else:
            self._kept.append(Removal(holding, kept_for))


def _belief(
    found: Iterable[Holding], traces: Iterable[Trace], rules: CacheRules, now: float
) -> Belief:
    uses = (
        Trace(file_time(holding.last_use), f"the use of {holding.name}")
        for holding in found
        if not holding.problem  # of which nothing is known
    )
    return believed((*traces, *uses), file_time(now), rules.days)


def target_bytes(rules: CacheRules) -> int:
    """What the cache may hold once it has held too much."""
    target = rules.limit_bytes * 4 // 5 if rules.target_bytes is None else rules.target_bytes
    return min(target, rules.limit_bytes)


def finish_removals(cache: Path) -> None:
    """Delete what is left of entries whose removal was interrupted."""
    for doomed in cache.glob(f"{DOOMED}*"):
        if is_half_removed(doomed):
            shutil.rmtree(doomed, ignore_errors=True)  # another process may be at it


def is_half_removed(path: Path) -> bool:
    """Whether that is left of an entry, by the exact form of the name that we give."""
    found = _DOOMED.fullmatch(path.name)
    return bool(found and is_entry_name(found[1]) and path.is_dir() and not path.is_symlink())


def _remove(entry: Path, last_use: float | None) -> bool:
    """Whether the entry is gone.

    :param last_use: when it was chosen; it stays if it was used since. ``None``: never mind
    """
    doomed = entry.with_name(f"{DOOMED}{entry.name}-{secrets.token_hex(4)}")
    with placing.writing_to(entry, 0), not_being_filled(entry) as is_ours:
        if not is_ours:
            return False
        if not entry.is_dir():  # another process was faster
            return True
        with lease.unused(entry) as is_unused:
            if not is_unused or (last_use is not None and lease.last_use(entry) > last_use):
                return False
            entry.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)
    return True


@contextmanager
def not_being_filled(entry: Path) -> Iterator[bool]:
    """Whether nobody fills the entry; if so, nobody can until the end of the context."""
    from filelock import Timeout  # a warm cache needs no lock

    lock = new_lock(entry)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()

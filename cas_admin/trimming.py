"""The limits of the cache of extracted kernels: `cas-admin cache clean` and builds keep them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cas.catalogue.cache import limits, useless
from cas.catalogue.cache.clock import Trace
from cas.catalogue.cache.limits import Removal, Trimmed
from cas.commands import World
from cas.database.store import Store
from cas.errors import CasError
from cas.jobs.work_directory import WorkDirectory
from cas.text import one_line
from cas.units import human_size
from cas_admin import ageing


def trim_cache(world: World, *, only_list: bool) -> Iterator[str]:
    """Remove what the limits do not allow, and forget which servers sent something useless.

    :param only_list: only say what would go
    :return: a line for each entry that went or would go, for each that stays in spite of it, and
        for all of them
    :raises ConfigError: the cache cannot be written
    """
    config, now = world.config, world.now.timestamp()
    traces: Iterable[Trace] = ()
    try:
        records = ageing.Records.of(Store.of(config), world.progress)
        traces = ageing.traces(WorkDirectory.of(config), records)
    except CasError as error:  # the cache has traces of its own
        world.progress.warn(str(error))
    trimmed = limits.trim(config.debugs, config.cache, now, traces, only_plan=only_list)
    _tell_doubt(trimmed, world)
    if not only_list:
        useless.forget_useless(config.debugs)
    for removal in trimmed.removed:
        yield _removal_line("would remove" if only_list else "removed", removal)
    for removal in trimmed.kept:
        yield _removal_line("kept", removal)
    freed, left = human_size(trimmed.freed_bytes), human_size(trimmed.left_bytes)
    verb, holds = ("would free", "would hold") if only_list else ("freed", "holds")
    yield f"{verb} {freed}; the cache {holds} {left} of {human_size(config.cache.limit_bytes)}"


def keep_limits(world: World, traces: Iterable[Trace]) -> list[str]:
    """What `trim` does, at the end of something else: a line for each entry that went.

    :param traces: of what was done here before
    """
    config = world.config
    try:
        trimmed = limits.trim(config.debugs, config.cache, world.now.timestamp(), traces)
    except CasError as error:
        world.progress.warn(f"the limits of the cache are not kept: {error}")
        return []
    _tell_doubt(trimmed, world)
    return [_removal_line("removed", removal) for removal in trimmed.removed]


def _tell_doubt(trimmed: Trimmed, world: World) -> None:
    if trimmed.doubt:
        world.progress.warn(f"{trimmed.doubt}: no kernel is removed for its age")


def _removal_line(verb: str, removal: Removal) -> str:
    holding = removal.holding
    return one_line(f"{verb} {holding.name}, {human_size(holding.size_bytes)}: {removal.why}")

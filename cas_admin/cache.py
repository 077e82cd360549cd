"""``cas-admin cache``: what the cache of extracted kernels holds, and what of it may go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from cas.catalogue.cache import inspection, lease, limits, useless
from cas.catalogue.cache.clock import Trace
from cas.catalogue.cache.inspection import Fault
from cas.catalogue.cache.limits import Removal, Trimmed
from cas.catalogue.cache.listing import Holding, holdings
from cas.commands import Answer, World
from cas.database.store import Store
from cas.errors import CasError, NotPermitted
from cas.jobs.work_directory import WorkDirectory
from cas.settings import users
from cas.settings.config import Config
from cas.text import count, json_text, one_line
from cas.units import human_size, plain, told_time
from cas_admin import ageing

BROKEN = 4
VERSION = 1
COLUMNS = ("RELEASE", "ARCH", "BUILD-ID", "SIZE", "KMODS", "LAST USE", "STATE", "SOURCE")
REPAIR = "remove it (cas-admin cache verify --repair does): it is extracted again when needed"
FOREIGN = "move it elsewhere if somebody needs it, else remove it"


def listed(world: World, *, as_json: bool) -> Answer:
    """The entries, the least recently used first, and what they take of what is allowed."""
    config = world.config
    found = holdings(config.debugs)
    if as_json:
        return Answer((_json(found, config),))
    total = sum(holding.size_bytes for holding in found)
    limit = human_size(config.cache.limit_bytes)
    summary = f"{count(len(found), 'kernel')}, {human_size(total)} of {limit} in {config.debugs}"
    for holding in found:
        if holding.problem:
            world.progress.warn(holding.problem)
    return Answer((*_table(found), one_line(summary)))


def clean(world: World, *, only_list: bool) -> Answer:
    """Remove what the limits do not allow, and forget which servers sent something useless.

    :param only_list: only say what would go
    :raises ConfigError: the cache cannot be written
    """
    config, now = world.config, world.now.timestamp()
    trimmed = limits.trim(config.debugs, config.cache, now, _traces(world), only_plan=only_list)
    _tell_doubt(trimmed, world)
    if not only_list:
        useless.forget(config.debugs)
    told = (*removals(trimmed, only_list=only_list), _left(trimmed, config, only_list))
    return Answer(told, stands=not only_list)


def keep_limits(world: World, traces: Iterable[Trace]) -> list[str]:
    """What `clean` does, at the end of something else: a line for each entry that went.

    :param traces: of what was done here before
    """
    config = world.config
    try:
        trimmed = limits.trim(config.debugs, config.cache, world.now.timestamp(), traces)
    except CasError as error:
        world.progress.warn(f"the limits of the cache are not kept: {error}")
        return []
    _tell_doubt(trimmed, world)
    return [_line("removed", removal) for removal in trimmed.removed]


def _traces(world: World) -> Iterable[Trace]:
    """Of what was done here; those of the cache alone where no others can be read."""
    try:
        records = ageing.Records.of(Store.of(world.config), world.progress)
        return ageing.traces(WorkDirectory.of(world.config), records)
    except CasError as error:
        world.progress.warn(str(error))
        return ()


def _tell_doubt(trimmed: Trimmed, world: World) -> None:
    if trimmed.doubt:
        world.progress.warn(f"{trimmed.doubt}: no kernel is removed for its age")


def verify(world: World, *, as_json: bool, repair: bool = False) -> Answer:
    """Read every extracted file again, and compare it with what was extracted.

    :param repair: remove the wrong ones that nobody is using
    :return: a line for each fault; status 4 when there is one
    :raises ConfigError: the cache cannot be written
    """
    cache = world.config.debugs
    total = inspection.size_bytes(cache)
    with world.progress.bar("Verifying the extracted kernels", total) as advance:
        faults = list(inspection.verify(cache, advance, repair=repair))
    status = BROKEN if faults else 0
    if as_json:
        return Answer((_faults_json(faults, total),), status)
    said = count(len(faults), "fault") if faults else "all is well"
    summary = f"{human_size(total)} verified in {cache}: {said}"
    told = (_told(fault, world.config) for fault in faults)
    return Answer((*told, one_line(summary)), status)


def removals(trimmed: Trimmed, *, only_list: bool = False) -> Iterator[str]:
    """A line for each entry that went or would go, and for each that stays in spite of it."""
    verb = "would remove" if only_list else "removed"
    for removal in trimmed.removed:
        yield _line(verb, removal)
    for removal in trimmed.kept:
        yield _line("kept", removal)


def _line(verb: str, removal: Removal) -> str:
    holding = removal.holding
    return one_line(f"{verb} {holding.name}, {human_size(holding.size_bytes)}: {removal.why}")


def _left(trimmed: Trimmed, config: Config, only_list: bool) -> str:
    freed, left = human_size(trimmed.freed_bytes), human_size(trimmed.left_bytes)
    verb, holds = ("would free", "would hold") if only_list else ("freed", "holds")
    limit = human_size(config.cache.limit_bytes)
    return f"{verb} {freed}; the cache {holds} {left} of {limit}"


def _told(fault: Fault, config: Config) -> str:
    advice = REPAIR if fault.is_ours else FOREIGN
    if fault.obstacle is not None:
        advice = users.remedy(fault.obstacle, config) or NotPermitted.hint
    return one_line(f"{fault.path}: {fault.what}; {advice}")


def _table(found: Sequence[Holding]) -> Iterator[str]:
    if not found:
        return
    rows = [COLUMNS, *map(_cells, found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    for *cells, last in rows:
        yield "".join(f"{cell:{n}}  " for cell, n in zip(cells, widths, strict=True)) + last


def _cells(holding: Holding) -> tuple[str, ...]:
    kernel = holding.kernel
    return tuple(
        map(
            one_line,
            (
                kernel.release if kernel else "-",
                kernel.arch if kernel else "-",
                holding.entry.name,
                human_size(holding.size_bytes),
                str(holding.kmods),
                "-" if holding.problem else told_time(_when(holding)),
                _state(holding),
                str(kernel.source) if kernel else "-",
            ),
        )
    )


def _state(holding: Holding) -> str:
    if holding.problem:
        return "closed"
    return "in use" if lease.is_held(holding.entry) else "free"


def _when(holding: Holding) -> datetime:
    return datetime.fromtimestamp(holding.last_use, UTC)


def _json(found: Sequence[Holding], config: Config) -> str:
    facts = {
        "version": VERSION,
        "directory": str(config.debugs),
        "size_bytes": sum(holding.size_bytes for holding in found),
        "limit_bytes": config.cache.limit_bytes,
        "target_bytes": limits.target_bytes(config.cache),
        "days": config.cache.days,
        "entries": [_facts(holding) for holding in found],
    }
    return json_text(facts, indent=1)


def _facts(holding: Holding) -> dict[str, object]:
    kernel = holding.kernel
    return {
        "name": holding.entry.name,
        "release": kernel and kernel.release,
        "arch": kernel and kernel.arch,
        "build_id": kernel and kernel.build_id,
        "size_bytes": holding.size_bytes,
        "has_vmlinux": holding.has_vmlinux,
        "kmods": holding.kmods,
        "last_use": plain(_when(holding).replace(microsecond=0)),
        "is_in_use": lease.is_held(holding.entry),
        "problem": holding.problem,
        "source": str(kernel.source) if kernel else None,
        "member": kernel and kernel.member,
    }


def _faults_json(faults: Sequence[Fault], total_bytes: int) -> str:
    found = [
        {"path": str(fault.path), "what": fault.what, "is_ours": fault.is_ours} for fault in faults
    ]
    return json_text({"version": VERSION, "size_bytes": total_bytes, "faults": found}, indent=1)

"""What `cas-admin status` shows, part by part: for programs as facts, for people as lines."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from cas.archive.archive import Archive, ForeignArchive
from cas.catalogue.cache.listing import holdings
from cas.choices import EngineChoice, Presence
from cas.database.store import Store
from cas.engines.versions import InstalledDebugger, configured_engines
from cas.errors import CasError
from cas.files.lease import is_held
from cas.files.whole import nearest
from cas.frozen import dataclass
from cas.hosts.registry import HostRegistry
from cas.jobs.job import Job, load_job
from cas.jobs.layout import DUMP
from cas.jobs.work_directory import WorkDirectory
from cas.model.archived import EVERY
from cas.report import mail_files, result
from cas.report.result_record import Kernel
from cas.settings.config import Config
from cas.supervise import find_sandbox
from cas.text import count
from cas.units import human_size, human_span, told_time
from cas_admin import ageing, unusable
from cas_admin.archive_room import Growth, Level, space_of
from cas_admin.invariants import SANDBOX_HINT

SHOWN = 10
"""Of a list, for people; programs are given all of it."""
BUILDS_SHOWN = 3
UNKNOWN = "(unknown)"
_BLOCK_BYTES = 512
"""Of ``st_blocks``, whatever the file system's own are."""


@dataclass(frozen=True, slots=True)
class StatusPart:
    """What one part has found out."""

    facts: Mapping[str, Any]
    lines: tuple[str, ...]


Part = Callable[[Config, Store], StatusPart]


def package_part(config: Config, store: Store) -> StatusPart:
    """What is catalogued, what cannot be used, and what contradicts itself."""
    counts = store.packages.counts()
    bad = store.packages.bad()
    contested = store.kernels.contested()
    facts = {
        **asdict(counts),
        "bad": [{"path": path, "reason": reason} for path, reason in bad],
        "contested": [asdict(one) for one in contested],
    }
    each = [
        f"{kind or 'other'}: " + ", ".join(f"{number} {state}" for state, number in states.items())
        for kind, states in counts.packages.items()
    ]
    kmods = f"{count(counts.kmod_packages, 'package')} with kernel modules"
    lines = (
        *each,
        f"{count(counts.kernels, 'kernel')}; {kmods}",
        *_first_lines([f"! {line}" for line in unusable.unusable_lines(bad)]),
        *_first_lines([f"! {one}" for one in contested]),
    )
    return StatusPart(facts, lines)


def build_part(config: Config, store: Store) -> StatusPart:
    """The last runs of the build, newest first."""
    last = store.builds.last()
    lines = []
    for one in last[:BUILDS_SHOWN]:
        span = one.ended and human_span((one.ended - one.started).total_seconds())
        found = ", ".join(f"{name} {number}" for name, number in one.counts.items() if number)
        problem = f"; ! {one.problem}" if one.problem else ""
        ended = f"{span or 'not ended'}: {found or 'nothing found'}{problem}"
        lines.append(f"{told_time(one.started)}, {ended}")
    lines = lines or ["none yet; run: cas-admin -b"]
    keys = ("started", "ended", "counts", "problem")
    facts = [{key: getattr(one, key) for key in keys} for one in last]
    return StatusPart({"last": facts}, tuple(lines))


def cache_part(config: Config, store: Store) -> StatusPart:
    """What the cache of extracted kernels takes."""
    found, limit_bytes = holdings(config.debugs), config.cache.limit_bytes
    size_bytes = sum(holding.size_bytes for holding in found)
    in_use = sum(is_held(holding.entry) for holding in found)
    facts = {
        "size_bytes": size_bytes,
        "limit_bytes": limit_bytes,
        "kernels": len(found),
        "in_use": in_use,
    }
    closed = [f"! {holding.problem}" for holding in found if holding.problem]
    summary = f"{human_size(size_bytes)} of {human_size(limit_bytes)}: "
    summary += f"{count(len(found), 'kernel')}, {in_use} in use"
    return StatusPart(facts | {"closed": len(closed)}, (summary, *_first_lines(closed)))


def job_part(config: Config, store: Store) -> StatusPart:
    """How the jobs ended, as their directories say, and for which kernels some wait."""
    verdicts, waiting = Counter[str](), list[Job]()
    work = WorkDirectory.of(config)
    for directory in work.jobs():
        try:
            job = load_job(directory)
        except CasError:
            verdicts["unreadable"] += 1
            continue
        verdicts["unfinished" if job.is_stopped else job.verdict or ""] += 1
        waiting += [job] if job.is_waiting else []
    mails = sum(1 for _ in mail_files.waiting_mails(work))
    missing = _awaited_kernels(waiting)
    skipped = work.skipped()
    held = ageing.held_jobs(work)
    facts = {
        "verdicts": dict(verdicts),
        "mails": mails,
        "waiting": missing,
        "held": {why: asdict(one) for why, one in held.items()},
        "skipped": skipped,
    }
    each = ", ".join(f"{number} {verdict}" for verdict, number in verdicts.most_common())
    lines = [f"{count(verdicts.total(), 'job')}: {each}" if each else "no jobs"]
    lines += [f"{count(mails, 'mail')} not sent yet; run: cas-admin resume"] if mails else []
    lines += [*ageing.held_line(held), *_first_lines([f"! {line}" for line in skipped])]
    awaited = []
    for kernel in missing:
        who = f"{kernel['release'] or UNKNOWN} ({kernel['arch'] or UNKNOWN})"
        awaited.append(f"{count(len(kernel['jobs']), 'job')} waiting for {who}: {kernel['hint']}")
    return StatusPart(facts, (*lines, *_first_lines(awaited)))


def archive_part(config: Config, store: Store) -> StatusPart:
    """What the archive takes, and what of it is gone, as far as somebody has looked."""
    try:
        archive = Archive.of(config, store)
    except ForeignArchive as error:
        return StatusPart({}, (f"{error}: it is theirs to look after",))
    held = archive.holdings()
    presences = dict(store.crashes.tally(EVERY, "presence"))
    lost = sum(presences.get(each, 0) for each in (Presence.MISSING, Presence.TRUNCATED))
    lines, room_facts = archive_room(archive, config)
    facts = {
        "crashes": held.crashes,
        "files": held.files,
        "size_bytes": held.size_bytes,
        "missing": lost,
        "elsewhere": presences.get(Presence.ELSEWHERE, 0),
        **room_facts,
    }
    crashes = f"{held.crashes:,} {'crash' if held.crashes == 1 else 'crashes'}"
    said = f"{crashes}, {count(held.files, 'file')} of {human_size(held.size_bytes)}"
    if away := facts["elsewhere"]:
        said += f", {away:,} elsewhere"
    if lost:
        said = f"! {said}, {lost} missing; run: cas ls presence=missing"
    return StatusPart(facts, (said, *lines))


def known_issue_part(config: Config, store: Store) -> StatusPart:
    """The known issues in effect, and what of their files cannot be used."""
    if not config.known_issues:
        facts = {"issues": 0, "files": [], "faults": []}
        return StatusPart(facts, ("none: `knownIssues` in cas.conf names no files",))
    from cas.findings.known import load_known

    known = load_known(config.known_issues)
    facts = {"issues": len(known.issues), "files": known.files, "faults": known.faults}
    said = f"{count(len(known.issues), 'issue')} in {count(len(known.files), 'file')}"
    return StatusPart(facts, (said, *_first_lines([f"! {fault}" for fault in known.faults])))


def host_part(config: Config, store: Store) -> StatusPart:
    """The analysis hosts, as they were when they were last asked."""
    registry = HostRegistry(store)
    registered, swept = registry.for_analysis(), len(registry.swept())
    disabled = sum(not host.is_enabled for host in registered)
    failed = sum(host.is_enabled and host.problem is not None for host in registered)
    useful = len(registered) - disabled - failed
    facts = {
        "registered": len(registered),
        "of_use": useful,
        "failed": failed,
        "disabled": disabled,
        "swept": swept,
    }
    said = f"{len(registered)} registered: {useful} of use, {failed} failed, {disabled} disabled"
    told = [said if registered else "none registered"]
    told += [f"{swept} swept for dumps"] if swept else []
    return StatusPart(facts, tuple(told))


def debugger_part(config: Config, store: Store) -> StatusPart:
    """What reads dumps on this machine."""
    found = configured_engines(config)
    facts = {"engines": [asdict(engine) for engine in found]}
    return StatusPart(facts, tuple(_engine_line(one, config) for one in found))


def space_part(config: Config, store: Store) -> StatusPart:
    """What is free where jobs and extracted kernels are kept, and whether a job has room there."""
    places = {"workDirectory": config.work_directory, "debugs": config.debugs}
    free = {}
    for name, path in places.items():
        free[name] = shutil.disk_usage(nearest(path)).free
    room_bytes = max(0, free["workDirectory"] - config.intake.reserve_bytes)
    largest_bytes = 0  # on the disk, of the dumps that are kept: holes cost nothing
    for directory in WorkDirectory.of(config).jobs():
        with suppress(OSError), os.scandir(directory / DUMP) as found:
            taken = (entry.stat(follow_symlinks=False).st_blocks * _BLOCK_BYTES for entry in found)
            largest_bytes = max(largest_bytes, *taken, 0)
    facts = {f"{name}_free_bytes": number for name, number in free.items()}
    facts |= {"dump_room_bytes": room_bytes, "largest_dump_bytes": largest_bytes}
    work, debugs = (f"{human_size(free[name])} free for {places[name]}" for name in places)
    mark = "" if room_bytes > largest_bytes else "! "
    told = room(room_bytes, largest_bytes, config.intake.reserve_bytes)
    return StatusPart(facts, (f"{mark}{work}: {told}", debugs))


def archive_room(archive: Archive, config: Config) -> tuple[list[str], Mapping[str, Any]]:
    """How long the room of the archive lasts, for people and for programs."""
    place = nearest(archive.path)
    free, _ = space_of(place)
    room_bytes = max(0, free - config.intake.reserve_bytes)
    growth = Growth.of(archive, int(time.time()))
    facts = {
        "free_bytes": free,
        "added_bytes": {str(days): size for days, size in growth.added_bytes.items()},
        "lasts_days": {
            str(days): round(lasts, 1) for days, lasts in growth.lasts_days(room_bytes).items()
        },
        "is_pressed": None,
    }
    lines = [f"{human_size(room_bytes)} are there for more: {growth.told(room_bytes)}"]
    if config.retention.high:
        level = Level.of(archive.path, config.retention)
        facts["is_pressed"] = level.is_pressed
        advice = "; run: cas-admin purge --pressure" * level.is_pressed
        lines.append(f"{'! ' * level.is_pressed}{level}{advice}")
    return lines, facts


def room(room_bytes: int, largest_bytes: int, reserve_bytes: int) -> str:
    """Whether a job has room, in words.

    :param room_bytes: that are free beside the reserve
    :param largest_bytes: of the largest dump that is kept; 0: there is none
    """
    if not room_bytes:
        return f"no room for a job, diskReserve keeps {human_size(reserve_bytes)} free"
    largest = f", the largest kept takes {human_size(largest_bytes)}" if largest_bytes else ""
    return f"room for an unpacked dump of {human_size(room_bytes)}{largest}"


def sandbox_part(config: Config, store: Store) -> StatusPart:
    """What programs that read a dump run in."""
    _, name = find_sandbox(config.supervision.sandbox)
    is_there = not name.startswith("none")
    advice = "" if is_there or config.supervision.sandbox == "none" else f"; {SANDBOX_HINT}"
    return StatusPart({"name": name}, (f"{'' if is_there else '! '}{name}{advice}",))


def _engine_line(engine: InstalledDebugger, config: Config) -> str:
    if engine.version:
        return f"{engine.version}: {engine.path}" if engine.path else engine.version
    if (
        engine.path is None
        and engine.name == config.crash == "crash"
        and config.engine is not EngineChoice.CRASH
    ):
        return f"no crash for {engine.arch}: drgn runs the snippets"
    return f"! {engine.name}: {engine.path or ''}{' ' if engine.path else ''}{engine.problem}"


def _awaited_kernels(waiting: Iterable[Job]) -> list[dict[str, Any]]:
    """The kernels for which jobs wait, those of most jobs first."""
    kernels: dict[tuple[str, str, str], dict[str, Any]] = {}
    for job in waiting:
        try:
            found = result.load(job.directory)
            kernel, reason, hint = found.kernel or Kernel(), found.reason, found.hint
        except CasError as error:
            kernel, reason, hint = Kernel(), None, str(error)
        release, arch, build_id = kernel.release or "", kernel.arch or "", kernel.build_id or ""
        one = kernels.setdefault(
            (release, arch, build_id),
            {"release": release, "arch": arch, "build_id": build_id, "jobs": []},
        )
        one |= {"reason": reason, "hint": hint}
        one["jobs"].append(job.directory)
    return sorted(kernels.values(), key=lambda one: -len(one["jobs"]))


def _first_lines(lines: Sequence[str]) -> Iterator[str]:
    yield from lines[:SHOWN]
    if len(lines) > SHOWN:
        yield f"and {len(lines) - SHOWN} more"

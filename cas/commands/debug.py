"""``cas debug SPEC``: a debugger on a job's dump, for a person, a script or a few commands."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from cas.catalogue import Catalogue
from cas.catalogue.cache import lease
from cas.catalogue.extraction.kmod_search import Found
from cas.choices import EngineChoice
from cas.commands.debug_dump import dump_path, kept_from_purge, require_kept
from cas.commands.debug_input import Input, content, from_stdin
from cas.commands.debug_kernel import (
    given_kernel,
    kmods_of_log,
    loaded_kmods,
    right_kernel,
    was_read_otherwise,
)
from cas.commands.debug_order import DebugOrder
from cas.commands.debug_sessions import DebugSession, in_crash, in_drgn
from cas.commands.far_dump import far_dump, far_place, opened_far
from cas.commands.invocation import World
from cas.commands.meant_job import Subject, find_dump, job_of
from cas.database.store import Store
from cas.dump import SEARCH_BYTES, identify, require_modest
from cas.dump.served_source import SourceServer
from cas.errors import UsageError
from cas.jobs.job import Job
from cas.model.case import Case
from cas.model.dump import Dump
from cas.supervise import Confinement, find_sandbox, scratch

if TYPE_CHECKING:
    from cas.fetch.ranged_file import RangedFile


def debug(order: DebugOrder, world: World) -> int:
    """Open a debugger and hand everything on; its exit status.

    :raises SeveralJobs: the SPEC means more than one
    :raises CasError: there is no such job, no kernel for it, or no debugger that opens it
    """
    first = b"".join(map(content, order.for_crash.scripts))
    if order.inputs:
        feed = Input(order.inputs, first=first)
    else:
        feed = from_stdin(world.is_interactive, first)
    subject = find_dump(order.words, world)
    job, place = job_of(subject), far_place(subject)
    engine = order.engine or world.config.engine
    if order.host and engine is EngineChoice.DRGN:
        raise UsageError("drgn runs on this machine: --host is for crash")
    if place:
        if order.engine is EngineChoice.CRASH or order.host:
            raise UsageError(
                f"the dump of {subject} is not here, but at {place.url}: crash cannot read it",
                hint=f"to fetch it: {place.get}; drgn reads it there:"
                f" cas debug {order.spec} --engine drgn",
            )
        world.progress.say(f"the dump is read where it is, {place.url}; to fetch it: {place.get}")
        engine = EngineChoice.DRGN
    with scratch() as directory, ExitStack() as leases:
        leases.enter_context(kept_from_purge(subject, world))
        source = opened_far(place, world, directory, leases) if place else None
        dump = dump_of(subject, order, source, world)
        case, debuginfo = case_of(subject, dump, order, world, leases)
        if case.dump.is_log and (order.engine is EngineChoice.CRASH or order.host):
            raise UsageError(
                f"{order.spec} has no dump, only a kernel log: crash has nothing to open",
                hint=f"what its kernel says without memory: cas debug {order.spec}",
            )
        sandbox, _ = find_sandbox(world.config.supervision.sandbox)
        # a debugger may be silent as long as its user is
        rules = replace(world.config.supervision, watchdog_s=math.inf)
        confinement = Confinement(directory, rules, sandbox=sandbox)
        order = replace(order, engine=engine)
        served = None
        if source is not None:
            served = leases.enter_context(SourceServer(source)).theirs.fileno()
        session = DebugSession(
            order, job, case, debuginfo, Store.of(world.config), confinement, served
        )
        run = in_drgn if engine is EngineChoice.DRGN or case.dump.is_log else in_crash
        return run(session, feed, world)


def dump_of(subject: Subject, order: DebugOrder, source: RangedFile | None, world: World) -> Dump:
    """What the dump says of itself."""
    if source is None:
        require_kept(subject, world, is_forced=order.is_forced)
    with world.progress.bar("Reading the dump", None):
        if source is not None and (place := far_place(subject)):
            dump = far_dump(place, source, is_forced=order.is_forced)
        else:
            path = dump_path(subject)
            limit_bytes = world.config.buffer_size_bytes or SEARCH_BYTES
            dump = identify(path, limit_bytes)
            if isinstance(subject, Job) and was_read_otherwise(subject, dump):
                dump = identify(path, limit_bytes, is_header_wrong=True)
    require_modest(dump)
    return dump


def case_of(
    subject: Subject, dump: Dump, order: DebugOrder, world: World, leases: ExitStack
) -> tuple[Case, frozenset[str]]:
    """The dump with its kernel; the names of the kmods whose files have debug information.

    :param leases: until its end the cache keeps these files
    """
    if order.kernel:
        vmlinux = given_kernel(order.kernel, subject, dump, world, is_forced=order.is_forced)
        leases.enter_context(lease.on_file(world.config.debugs, vmlinux))
        return Case(dump, vmlinux), frozenset()
    catalogue = Catalogue.of(world.config, Store.of(world.config))
    job = job_of(subject)
    vmlinux, match = right_kernel(job, dump, catalogue, world, leases)
    if dump.is_log:
        found = kmods_of_log(dump, match, catalogue, world)
    elif job is None:
        found = Found()
    else:
        found = loaded_kmods(job, dump, vmlinux, match, world)
    return Case(dump, vmlinux, found.files), found.debuginfo

"""``cas debug SPEC``: a debugger on a job's dump, for a person, a script or a few commands."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import replace

from cas.catalogue import Catalogue
from cas.catalogue.cache import lease
from cas.choices import EngineChoice
from cas.commands import specification
from cas.commands.debug_dump import require_kept
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
from cas.commands.invocation import World
from cas.database.store import Store
from cas.dump import SEARCH_BYTES, identify, require_modest
from cas.errors import UsageError
from cas.jobs.job import Job
from cas.jobs.work_directory import WorkDirectory
from cas.model.case import Case
from cas.supervise import Confinement, find_sandbox, scratch


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
    job = specification.find_job(order.spec, WorkDirectory.of(world.config))
    engine = order.engine or world.config.engine
    if order.host and engine is EngineChoice.DRGN:
        raise UsageError("drgn runs on this machine: --host is for crash")
    store = Store.of(world.config)
    with scratch() as directory, ExitStack() as leases:
        case, debuginfo = _case(job, order, store, world, leases)
        if case.dump.is_log and (order.engine is EngineChoice.CRASH or order.host):
            raise UsageError(
                f"{job.directory} has no dump, only a kernel log: crash has nothing to open",
                hint=f"what its kernel says without memory: cas debug {order.spec}",
            )
        sandbox, _ = find_sandbox(world.config.supervision.sandbox)
        # a debugger may be silent as long as its user is
        rules = replace(world.config.supervision, watchdog_s=math.inf)
        confinement = Confinement(directory, rules, sandbox=sandbox)
        order = replace(order, engine=engine)
        session = DebugSession(order, job, case, debuginfo, store, confinement)
        run = in_drgn if engine is EngineChoice.DRGN or case.dump.is_log else in_crash
        return run(session, feed, world)


def _case(
    job: Job, order: DebugOrder, store: Store, world: World, leases: ExitStack
) -> tuple[Case, frozenset[str]]:
    """The dump with its kernel; the names of the kmods whose files have debug information.

    :param leases: until its end the cache keeps these files
    """
    assert job.stored  # noqa: S101  it would not have been found
    require_kept(job, world, is_forced=order.is_forced)
    with world.progress.bar("Reading the dump", None):
        limit_bytes = world.config.buffer_size_bytes or SEARCH_BYTES
        dump = identify(job.stored.vmcore, limit_bytes)
        if was_read_otherwise(job, dump):
            dump = identify(job.stored.vmcore, limit_bytes, is_header_wrong=True)
    require_modest(dump)
    if order.kernel:
        vmlinux = given_kernel(order.kernel, job, dump, world, is_forced=order.is_forced)
        leases.enter_context(lease.on_file(world.config.debugs, vmlinux))
        return Case(dump, vmlinux), frozenset()
    catalogue = Catalogue.of(world.config, store)
    vmlinux, match = right_kernel(job, dump, catalogue, world, leases)
    if dump.is_log:
        found = kmods_of_log(dump, match, catalogue, world)
    else:
        found = loaded_kmods(job, dump, vmlinux, match, world)
    return Case(dump, vmlinux, found.files), found.debuginfo

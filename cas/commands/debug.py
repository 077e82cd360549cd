"""``cas debug SPEC``: a debugger on a job's dump, for a person, a script or a few commands."""

from __future__ import annotations

import shlex
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from cas.catalogue import Catalogue
from cas.catalogue.cache import lease
from cas.choices import EngineChoice
from cas.commands import specification
from cas.commands.debug_dump import require_kept
from cas.commands.debug_input import Input, content, from_stdin
from cas.commands.debug_kernel import given_kernel, loaded_kmods, right_kernel, was_read_otherwise
from cas.commands.debug_options import ForCrash
from cas.commands.debug_sessions import Subject, in_crash, in_drgn
from cas.commands.invocation import World
from cas.database.store import Store
from cas.dump import SEARCH_BYTES, identify, require_modest
from cas.errors import UsageError
from cas.jobs.job import Job
from cas.jobs.work_directory import WorkDirectory
from cas.supervise import scratch


@dataclass(frozen=True, slots=True)
class DebugOrder:
    """What the user asked for."""

    spec: str
    engine: EngineChoice | None = None
    """Instead of the configuration's engine."""
    inputs: tuple[str | Path, ...] = ()
    """Commands, and files of commands, in their order; none: whatever stdin brings."""
    kernel: Path | None = None
    """A vmlinux instead of the one that is found."""
    is_forced: bool = False
    """The vmlinux may be another kernel's, and the dump another than was received (``--force``)."""
    host: str | None = None
    """The analysis host to run crash on."""
    for_crash: ForCrash = field(default_factory=ForCrash)
    """What is none of our options."""


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
    with scratch() as directory, ExitStack() as session:
        subject = _subject(job, order, world, session)
        subject = replace(subject, engine=engine, directory=directory, for_crash=order.for_crash)
        run = in_drgn if engine is EngineChoice.DRGN else in_crash
        return run(subject, feed, world)


def _subject(job: Job, order: DebugOrder, world: World, session: ExitStack) -> Subject:
    """The dump with its kernel."""
    assert job.stored  # noqa: S101  it would not have been found
    require_kept(job, world, is_forced=order.is_forced)
    with world.progress.bar("Reading the dump", None):
        limit_bytes = world.config.buffer_size_bytes or SEARCH_BYTES
        dump = identify(job.stored.vmcore, limit_bytes)
        if was_read_otherwise(job, dump):
            dump = identify(job.stored.vmcore, limit_bytes, is_header_wrong=True)
    require_modest(dump)
    if dump.is_log:
        raise UsageError(
            f"{job.directory} has no dump, only a kernel log: a debugger has nothing to open",
            hint=f"to read it: less {shlex.quote(str(job.directory / 'log'))}",
        )
    store = Store.of(world.config)
    if order.kernel:
        vmlinux = given_kernel(order.kernel, job, dump, world, is_forced=order.is_forced)
        session.enter_context(lease.on_file(world.config.debugs, vmlinux))
        return Subject(job, dump, vmlinux, store, Path(), order.host, order.is_forced)
    catalogue = Catalogue.of(world.config, store)
    vmlinux, match = right_kernel(job, dump, catalogue, world, session)
    kmods = loaded_kmods(job, dump, vmlinux, match, world)
    return Subject(job, dump, vmlinux, store, Path(), order.host, kmods=kmods)

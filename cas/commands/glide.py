"""The deep trace of a job's dump, by drgn in its sandbox."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cas.commands.debug import case_of, dump_of
from cas.commands.debug_dump import kept_from_purge
from cas.commands.debug_order import DebugOrder
from cas.commands.far_dump import opened_far, require_whole_url
from cas.commands.invocation import World
from cas.commands.meant_job import Subject, find_dump
from cas.engines.drgn.glide import GlideOrder, glide_modules, headed
from cas.engines.drgn.process import Worker
from cas.errors import UsageError
from cas.files import shipped
from cas.jobs.job import Job, job_name
from cas.model.case import Case
from cas.supervise import Confinement, find_sandbox, scratch
from cas.text import short_line

if TYPE_CHECKING:
    from cas.fetch.ranged_file import RangedFile

_TASKS = re.compile(r"panic|cpus|blocked|all|\d{1,9}(,\d{1,9})*")


def glide_order(tasks: str, depth: int | None, world: World) -> GlideOrder:
    """What is asked for on the command line.

    :param depth: ``None``: the usual ones
    :raises UsageError: `tasks` means nothing
    :raises UnusableModule: a module cannot be read
    """
    if not _TASKS.fullmatch(tasks):
        raise UsageError(
            f"--tasks {short_line(tasks, 80)!r} names no tasks",
            hint="give panic, cpus, blocked, all, or process ids: --tasks 1,47",
        )
    usual = GlideOrder()
    return GlideOrder(
        tasks,
        usual.panic_depth if depth is None else depth,
        usual.depth if depth is None else depth,
        world.config.supervision.command_s,
        glide_modules((shipped.shipped("glide"), *world.config.glide)),
    )


def records_of(words: Sequence[str], order: GlideOrder, world: World) -> Iterator[dict[str, Any]]:
    """The records of a trace, see :mod:`cas.commands.answers`; the first one has the dump's name.

    :param words: which dump
    :raises SeveralJobs: they mean more than one job
    :raises CasError: there is no such dump, no kernel for it, or drgn does not come to the end
    """
    subject = find_dump(words, world)
    job = subject if isinstance(subject, Job) else None
    with scratch() as directory, ExitStack() as session:
        session.enter_context(kept_from_purge(subject, world))
        source = None
        if job is not None and job.is_answer_alone:
            require_whole_url(job)
            source = opened_far(job, world, directory, session)
        case = _case(subject, source, tuple(words), world, session)
        sandbox, _ = find_sandbox(world.config.supervision.sandbox)
        confinement = Confinement(directory, world.config.supervision, sandbox=sandbox)
        worker = session.enter_context(Worker(confinement))
        worker.remark_by(world.progress.warn)
        if source is not None:
            worker.serve(case.dump.path, source)
        with world.progress.bar("Opening it with drgn", None):
            remarks = worker.fit(case, world.config.supervision.start_s)
        for remark in remarks:
            world.progress.warn(remark)
        name = job_name(job) if job is not None else str(subject)
        yield from headed(worker.glide(order), name)


def _case(
    subject: Subject,
    source: RangedFile | None,
    words: tuple[str, ...],
    world: World,
    session: ExitStack,
) -> Case:
    """The dump with its kernel, and the kernel modules of which there is debug information."""
    asked = DebugOrder(words)
    dump = dump_of(subject, asked, source, world)
    if dump.is_log:
        raise UsageError(
            f"{asked.spec} has no dump, only a kernel log: there are no stacks to trace",
            hint=f"what its kernel says without memory: cas debug {asked.spec}",
        )
    case, debuginfo = case_of(subject, dump, asked, world, session)
    kmods = {name: path for name, path in case.kmods.items() if name in debuginfo}
    return replace(case, kmods=kmods)

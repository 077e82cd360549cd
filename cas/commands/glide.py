"""The deep trace of a job's dump, by drgn in its sandbox."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cas.archive.archive import Archive
from cas.catalogue import Catalogue
from cas.commands.debug import case_of, dump_of
from cas.commands.debug_dump import kept_from_purge
from cas.commands.debug_order import DebugOrder
from cas.commands.far_dump import far_place, opened_far
from cas.commands.invocation import World
from cas.commands.meant_job import Subject, find_dump, job_of
from cas.database.store import Store
from cas.engines.drgn.glide import GlideModule, GlideOrder, glide_modules, headed
from cas.engines.drgn.process import Worker
from cas.errors import CasError, UsageError
from cas.files import shipped
from cas.jobs.job import Job, job_name
from cas.model.case import Case
from cas.report.result import load as load_result
from cas.supervise import Confinement, find_sandbox, scratch
from cas.text import short_line

if TYPE_CHECKING:
    from cas.fetch.ranged_file import RangedFile

_NAME = re.compile(r"[a-z0-9_]{1,64}")
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


def records_of(asked: DebugOrder, order: GlideOrder, world: World) -> Iterator[dict[str, Any]]:
    """The records of a trace, see :mod:`cas.commands.answers`; the first one has the dump's name.

    :param asked: which dump, and with which kernel
    :raises SeveralJobs: they mean more than one job
    :raises CasError: there is no such dump, no kernel for it, or drgn does not come to the end
    """
    subject = find_dump(asked.words, world)
    job, place = job_of(subject), far_place(subject)
    with scratch() as directory, ExitStack() as session:
        session.enter_context(kept_from_purge(subject, world))
        source = opened_far(place, world, directory, session) if place else None
        case = _case(subject, source, asked, world, session)
        if job is not None and asked.kernel is None:
            files = _files_for_modules(job, case, order.modules, world)
            case = replace(case, kmods={**case.kmods, **files})
        sandbox, _ = find_sandbox(world.config.supervision.sandbox)
        confinement = Confinement(directory, world.config.supervision, sandbox=sandbox)
        worker = session.enter_context(Worker(confinement))
        worker.remark_by(world.progress.warn)
        worker.is_forced = asked.is_forced
        if source is not None:
            worker.serve(case.dump.path, source)
        with world.progress.bar("Opening it with drgn", None):
            remarks = worker.fit(case, world.config.supervision.start_s)
        for remark in remarks:
            world.progress.warn(remark)
        name = job_name(subject) if isinstance(subject, Job) else str(subject)
        order = replace(order, asked=_asked_for(case.dump.crash_id, world))
        yield from headed(worker.glide(order), name)


def _asked_for(crash_id: str | None, world: World) -> tuple[str, ...]:
    """The modules that the crash's property ``glide`` names."""
    if crash_id is None:
        return ()
    with suppress(CasError):  # it is not in the archive, or not ours to read
        said = Archive.of(world.config).read(crash_id).properties.get("glide")
        words = said if isinstance(said, list) else str(said or "").replace(",", " ").split()
        return tuple(word for word in map(str, words) if _NAME.fullmatch(word))
    return ()


def _case(
    subject: Subject,
    source: RangedFile | None,
    asked: DebugOrder,
    world: World,
    session: ExitStack,
) -> Case:
    """The dump with its kernel, and the kernel modules of which there is debug information."""
    dump = dump_of(subject, asked, source, world)
    if dump.is_log:
        raise UsageError(
            f"{asked.spec} has no dump, only a kernel log: there are no stacks to trace",
            hint=f"what its kernel says without memory: cas debug {asked.spec}",
        )
    case, debuginfo = case_of(subject, dump, asked, world, session)
    kmods = {name: path for name, path in case.kmods.items() if name in debuginfo}
    return replace(case, kmods=kmods)


def _files_for_modules(
    job: Job,
    case: Case,
    modules: Iterable[GlideModule],
    world: World,
) -> Mapping[str, Path]:
    """Debug files of the kernel modules that modules of the trace look into, if they were loaded.

    They are extracted where they are not at hand, once; no package is read for one that did not
    come with the kernel.
    """
    config, progress = world.config, world.progress
    named = {name for module in modules for name in module.kmods} - case.kmods.keys()
    try:
        answer = load_result(job.directory).answer
        loaded = answer.kmods if answer else ()
        own = (each for each in loaded if each.name in named and "O" not in each.taint)
        wanted = {each.name: each.build_id for each in own}
        if not wanted:
            return {}
        catalogue = Catalogue.of(config, Store.of(config))
        match = catalogue.find(case.dump.identity, cache=config.debugs, progress=progress)
        found = catalogue.kmods(match, wanted, cache=config.debugs, progress=progress)
    except CasError as error:
        progress.warn(f"not all kernel modules have debug information: {error}")
        return {}
    return found.debug_files

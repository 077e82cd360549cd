"""``cas -i ID -f FILE``: a dump and a ticket in, results out; ``cas -i ID`` goes on with it."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from cas.choices import Checked, Fetch, Verdict
from cas.commands.invocation import Done, Output, World
from cas.commands.room import advise_room
from cas.engines.drgn.prestart import Prestart, prestarted
from cas.errors import AGAIN, CasError, ConfigError, Interrupted, JobBusy, UsageError
from cas.files.standard_streams import STDIN
from cas.files.whole import is_file
from cas.jobs.job import Job, by_age, job_name, load_job
from cas.jobs.new_job import check_ticket, create_job
from cas.jobs.order import FROM_STDIN, PIPE, Order
from cas.jobs.reference import lack_of_dump
from cas.jobs.sharing import ResultGroup
from cas.jobs.work_directory import WorkDirectory
from cas.model.dump import KERNEL_LOG
from cas.model.report import Report
from cas.report.address import check_address
from cas.triage.triage import send_mails, triage

PARTIAL = 3


def run_new_job(order: Order, world: World, opened: Prestart) -> Output:
    """Run a job from its beginning; nothing is created when its order cannot be carried out.

    :raises CasError: the ticket, the file or the address is of no use
    """
    _check_order(order, world)
    work = WorkDirectory.of(world.config)
    group = ResultGroup.of(world.config)
    if group:
        group.require_member()
    order = resolved_order(order, world, ("-i", order.ticket, "-f"))
    job = create_job(work, order, world.now)
    with going_on(job):
        if group:
            group.open_directory(job.directory)
            if closed := group.closed_way(world.config.work_directory):
                world.progress.warn(
                    f"the results are closed to the group {group.name}, which may not pass "
                    f"{closed}: chgrp {group.name} {closed} && chmod g+x {closed}"
                )
        return (yield from _run_to_end(job, world, opened, is_new=True))


def resume_job(order: Order, world: World) -> Output:
    """Go on with the ticket's newest job that has not come to its end.

    :param order: its address, modules and engine are added to what was asked before
    :raises UsageError: there is none
    """
    _check_order(order, world)
    work = WorkDirectory.of(world.config)
    readable = []
    for directory in work.jobs(order.ticket):
        try:
            readable.append(load_job(directory))
        except CasError as error:
            world.progress.warn(str(error))
    readable = by_age(readable)
    unfinished = [job for job in readable if job.can_go_on]
    for line in work.skipped(order.ticket):
        world.progress.warn(line)
    if not unfinished:
        raise _nothing_unfinished(order.ticket, work, readable)
    job = unfinished[-1]
    if job.is_answer_alone:
        from cas.commands.far_dump import require_there  # for few jobs

        require_there(job, world)
    amended = replace(
        job.order,
        email=order.email or job.order.email,
        wants_kmods=order.wants_kmods or job.order.wants_kmods,
        engine=order.engine or job.order.engine,
        member=order.member or job.order.member,
        # who goes on with an answer wants the rest
        fetch=order.fetch or (Fetch.ALL if job.is_answer_alone else job.order.fetch),
    )
    with prestarted(world.config) as opened, going_on(job):
        return (yield from _run_to_end(replace(job, order=amended), world, opened))


@contextmanager
def going_on(job: Job) -> Iterator[None]:
    """Tell whoever interrupts a job that was begun how to go on with it."""
    try:
        yield
    except KeyboardInterrupt as interruption:
        raise Interrupted(f"what is finished is kept: cas -i {job.order.ticket}") from interruption


def _has_dump(job: Job) -> bool:
    """Whether a debugger may have something to open, and not a kernel log alone."""
    if job.stored is None or lack_of_dump(job) is not None:
        return False
    from cas.dump import recognise_file

    try:
        return recognise_file(job.stored.vmcore) != KERNEL_LOG
    except CasError:  # damaged: the debugger says what it can do
        return True


def _nothing_unfinished(ticket: str, work: WorkDirectory, ended: Sequence[Job]) -> UsageError:
    """The error, with what may have been meant: the ticket's last job, a file, another ticket.

    :param ended: the ticket's jobs whose record can be read, oldest first
    """
    said, analyse = f"{ticket} has no unfinished job", f"cas -i {ticket} -f FILE"
    if ended:
        last = ended[-1]
        debug = f"to open a debugger: cas debug {job_name(last)}; " if _has_dump(last) else ""
        return UsageError(
            f"{said}; its results are in {last.directory}",
            hint=f"{debug}to analyse another dump: {analyse}",
        )
    if is_file(Path(ticket)):
        hint = f"{ticket} is a file; to analyse it: cas -i TICKET -f {ticket}"
        return UsageError(said, hint=hint)
    from cas.commands import specification  # and reports that were written before

    if (meant := specification.same_but_for_spelling(ticket, work)) is not None:
        return UsageError(said, hint=f"did you mean cas -i {meant}? To analyse a dump: {analyse}")
    return UsageError(said, hint=f"to analyse a dump: {analyse}")


def _check_order(order: Order, world: World) -> None:
    check_ticket(order.ticket)
    if order.email:
        check_address(order.email)
        if not world.config.mail.host:
            raise ConfigError(
                "results cannot be mailed: there is no `smtphost` in cas.conf",
                hint="without -e they stay in the job's directory; to mail them, write into "
                "cas.conf: smtphost = HOST",
            )


def resolved_order(order: Order, world: World, before: Sequence[str]) -> Order:
    """The order, with absolute paths or a URL that can be shown.

    :param before: the words of the command, up to the file
    :raises CasError: there is plainly no dump, and no archive that may hold one
    """
    if order.url:
        from cas.fetch.url import parse_url

        if order.more:
            raise UsageError("parts of a split dump cannot be fetched: give files")
        source = parse_url(order.url)
        if source.is_object:
            from cas.fetch.stores import store_of

            store_of(source, world.config.stores)
        return replace(order, url=str(source), source=source)
    held = world.held
    if PIPE in (order.upload, *order.more):
        if order.more or world.is_interactive:
            raise UsageError(
                "nothing is piped in" if world.is_interactive else "-f - takes one upload alone",
                hint=f"for example: dmesg | cas {' '.join(before)} -",
            )
        if stat.S_ISREG(os.fstat(STDIN).st_mode):
            _look_into(STDIN, FROM_STDIN)
        return replace(order, upload=FROM_STDIN, held={FROM_STDIN: STDIN})
    if order.more:
        _look_for_halves([path for path in (order.upload, *order.more) if path not in held])
    # drgn's process gets ready while these are imported
    from cas.commands.wrong_file import require_dump_file
    from cas.dump import recognise_file
    from cas.intake import is_wrapped

    for path in (order.upload, *order.more):
        if path in held:
            _look_into(held[path], path)
            continue
        require_dump_file(path, before)
        if not is_wrapped(path):
            recognise_file(path)
    more = tuple(path.absolute() for path in order.more)
    open_files = {path.absolute(): descriptor for path, descriptor in held.items()}
    return replace(order, upload=order.upload.absolute(), more=more, held=open_files)


def _look_for_halves(paths: Sequence[Path]) -> None:
    """:raises UnsupportedFormat: they are a snapshot of VMware, which has its memory apart"""
    from cas.dump import kind_of
    from cas.intake import check_upload, is_memory, require_one_file

    states = []
    for path in paths:
        check_upload(path)
        with path.open("rb") as file:
            states += [path.name] if kind_of(file.read(512)) == "vmware" else []
    memories = [path.name for path in paths if is_memory(path.name)]
    require_one_file("the upload", states, memories)


def _look_into(descriptor: int, path: Path) -> None:
    """Look for a dump in a file that only root could open.

    It may be a secret, of which no copy is kept.

    :raises NotADump: there is something else, or nothing
    """
    from cas.dump import recognise_source
    from cas.dump.source import FileSource
    from cas.intake import PEEK_BYTES
    from cas.streams.wrapping import wrapping

    source = FileSource(descriptor)
    if wrapping(source.read(0, PEEK_BYTES)) is None:
        recognise_source(source, str(path))


def _run_to_end(job: Job, world: World, opened: Prestart, *, is_new: bool = False) -> Output:
    """Run a job to its end; its directory is named on stdout, whatever its verdict.

    :param is_new: it was made by this run
    :raises CasError: what stopped it; its hint is the next command
    """
    report, error = _as_far_as_it_goes(job, world, opened, is_new=is_new)
    send_mails(world.config, world.progress)
    directory = job.directory
    if error:
        advise_room(error, world)
        world.progress.say(f"{report.verdict}, exit status {error.exit_code}")
        again = f"cas -i {job.order.ticket}"
        if report.verdict is Verdict.PARTIAL:
            wait = error.hint.replace(AGAIN, f"to go on: {again}")
            kept = shlex.quote(str(directory / "report.txt"))
            error.hint = f"the answer is kept: less {kept}; {wait}"
        elif report.verdict is Verdict.INTERRUPTED and AGAIN in error.hint:
            error.hint = error.hint.replace(AGAIN, f"run: {again}")
        elif report.verdict is Verdict.INTERRUPTED:
            error.hint = "; ".join(filter(None, (error.hint, f"then run: {again}")))
        elif error.hint:
            error.hint = error.hint.replace("cas -i ID", again)
        else:
            report_file = shlex.quote(str(directory / "report.txt"))
            error.hint = f"what was found out: less {report_file}"
        error.result = str(directory)
        raise error
    if report.verdict is Verdict.PARTIAL:
        world.progress.warn(f"partial, exit status {PARTIAL}: {report.reason or 'see the report'}")
        report_file = shlex.quote(str(directory / "report.txt"))
        told = f"next: less {report_file}"
        can_debug = report.dump is not None and bool(report.vmlinux or not report.dump.is_log)
        if report.dump and report.dump.checked is Checked.RANGES:
            from cas.fetch.url import is_whole, to_fetch  # for few jobs

            url = job.order.url or ""
            told += f"; to fetch the rest of the dump and go on: {to_fetch(job.order.ticket, url)}"
            can_debug = is_whole(url)
        if can_debug:
            # the ticket alone may mean several jobs
            told += f"; to open a debugger: cas debug {job_name(job)}"
        world.progress.say(told)
    yield Done(directory)
    from cas.commands.auto_analyzers import run_auto_analyzers  # and the archive

    run_auto_analyzers(report, world)
    return PARTIAL if report.verdict is Verdict.PARTIAL else 0


def _as_far_as_it_goes(
    job: Job, world: World, opened: Prestart, *, is_new: bool
) -> tuple[Report, CasError | None]:
    """What was found out, and what stopped the job before its end.

    :raises JobBusy: another run has the job
    :raises CasError: what was found out could not be written; the job can be gone on with
    """
    try:
        return triage(job, world.config, world.progress, opened, is_new=is_new)
    except JobBusy:
        raise
    except CasError as error:
        advise_room(error, world)
        world.progress.say(f"{Verdict.INTERRUPTED}, exit status {error.exit_code}")
        error.hint = error.hint.replace(AGAIN, f"run: cas -i {job.order.ticket}")
        error.result = str(job.directory)
        raise

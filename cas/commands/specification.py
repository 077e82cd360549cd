"""SPEC: how a user names one of the jobs that are kept.

There are four forms: a ticket, ``TICKET/STAMP``, ``TICKET/latest``, and the path of a job
directory.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cas.commands.invocation import Output, World
from cas.commands.mistakes import without_secrets
from cas.errors import CasError, UsageError
from cas.files.whole import is_file
from cas.jobs.job import Job, by_age, job_name, load_job
from cas.jobs.reference import lack_of_dump
from cas.jobs.work_directory import STATE, WorkDirectory, is_stamp, is_ticket
from cas.report.result import load as load_result
from cas.text import short_line
from cas.units import told_time

LATEST = "latest"
"""In place of a stamp: the newest job of the ticket that has its dump."""
_ANEW = "cas -i TICKET -f FILE"
PANIC_LIMIT = 100
"""Characters of a panic message in a list."""


class NoJob(UsageError):
    """Nothing that is kept is meant by a SPEC."""

    hint = (
        "give a ticket, TICKET/STAMP, TICKET/latest, a job directory, or four digits or more of a "
        "crash's id; to see what there is: cas jobs, cas ls"
    )


class SeveralJobs(UsageError):
    """A SPEC means more than one job."""

    exit_code = 1
    hint = "name one of them, as TICKET/STAMP, or TICKET/latest"

    def __init__(self, message: str, found: tuple[Job, ...]) -> None:
        """Keep the facts.

        :param found: oldest first
        """
        super().__init__(message)
        self.found = found


def find_job(
    spec: str, work: WorkDirectory, is_kept: Callable[[Job], bool] = lambda _: False
) -> Job:
    """The job that a SPEC means, with its dump on the disk.

    :param work: where the jobs are kept
    :param is_kept: whether the dump of one is kept that is not in its directory any more
    :raises NoJob: there is none
    :raises SeveralJobs: there are several
    """
    found, problems, stopped, missing = [], list[str](), None, None
    for directory in _meant_directories(work, spec):
        try:
            job = load_job(directory)
        except CasError as error:
            problems.append(str(error))
            continue
        if job.is_answer_alone or (lack := lack_of_dump(job)) is None or is_kept(job):
            found.append(job)
        elif job.is_stopped and job.stored is None:
            stopped = job
            problems.append(f"{directory} is not finished, and has no dump yet")
        else:
            missing = missing or (job.stored and job.stored.reference)
            problems.append(f"{directory} {lack}")
    if not found:
        # what was looked at is meant, and no other
        advice = f"to analyse a dump: {_ANEW}" if problems else _nearest_names(work, spec)
        if stopped is not None:
            advice = f"to go on with it: cas -i {stopped.order.ticket}"
        if missing:
            advice = f"put it back, or mount its file system; or {advice}"
        problems += work.skipped(ticket) if (ticket := _ticket_of(spec)) else []
        said = (
            "; ".join(problems)
            or f"there is no job {short_line(without_secrets(spec), PANIC_LIMIT)!r}"
        )
        raise NoJob(said, hint=advice)
    found = list(by_age(found))
    is_latest = is_ticket(spec.removesuffix(f"/{LATEST}")) and spec.endswith(f"/{LATEST}")
    if len(found) > 1 and not is_latest:
        raise SeveralJobs(f"{spec} has {len(found)} jobs", tuple(found))
    return found[-1]


def _nearest_names(work: WorkDirectory, spec: str) -> str:
    """How to name a job, with those that are called nearly so."""
    from difflib import get_close_matches  # seldom needed, and not free

    if is_file(Path(spec)):
        # the dump and other files lie in a directory below that of the job
        for above in Path(os.path.realpath(spec)).parents:
            if is_stamp(above.name) and is_file(above / STATE):
                return f"it is a file of a job; did you mean {shlex.quote(str(above))}?"
        return f"it is a file; to analyse it: cas -i TICKET -f {shlex.quote(spec)}"
    directories = list(work.jobs())
    tickets = {directory.parent.name for directory in directories}
    asked, _, stamp = spec.strip("/").partition("/")
    # the path of a ticket's directory; links and loops of them are no matter
    place = "" if "\0" in spec else os.path.realpath(spec)
    if str(Path(place).parent) == os.path.realpath(work.path):
        asked, stamp = Path(place).name, ""
    near: list[str] = []
    if asked in tickets:
        stamps = [each.name for each in directories if each.parent.name == asked]
        close = get_close_matches(stamp, stamps) or sorted(stamps)[-1:]
        near = [f"{asked}/{each}" for each in close]
    else:
        lowered = {ticket.lower(): ticket for ticket in tickets}
        near = [lowered[each] for each in get_close_matches(asked.lower(), lowered)]
    return f"did you mean {' or '.join(near)}? {NoJob.hint}" if near else NoJob.hint


def same_but_for_spelling(ticket: str, work: WorkDirectory) -> str | None:
    """A ticket with jobs that has the same letters and digits; another number is another ticket."""
    for directory in work.jobs():
        if _letters(directory.parent.name) == _letters(ticket):
            return directory.parent.name
    return None


def _letters(ticket: str) -> str:
    return "".join(filter(str.isalnum, ticket.lower()))


def ticket_and_stamp(spec: str) -> tuple[str, str] | None:
    """Ticket, and stamp or ``latest`` or nothing, of a SPEC of that form.

    >>> ticket_and_stamp("T-1/latest"), ticket_and_stamp("T-1"), ticket_and_stamp("./T-1")
    (('T-1', 'latest'), ('T-1', ''), None)
    """
    ticket, slash, last = spec.partition("/")
    is_form = is_ticket(ticket) and (not slash or last == LATEST or is_stamp(last))
    return (ticket, last) if is_form else None


def is_job_named(spec: str, work: WorkDirectory) -> bool:
    """Whether a SPEC means any job that is kept."""
    return bool(_meant_directories(work, spec))


def directories_of(spec: str, work: WorkDirectory) -> tuple[Path, ...]:
    """The directories of all jobs that a SPEC means, whether or not they have a dump still.

    :raises NoJob: there is none
    """
    found = _meant_directories(work, spec)
    if not found:
        skipped = work.skipped(ticket) if (ticket := _ticket_of(spec)) else []
        said = (
            "; ".join(skipped)
            or f"there is no job {short_line(without_secrets(spec), PANIC_LIMIT)!r}"
        )
        raise NoJob(said, hint=_nearest_names(work, spec))
    return found


def described(job: Job) -> str:
    """A job in a line of a list: what to call it, when it began, its verdict, and the crash."""
    time = told_time(job.started)
    messages: list[str | None] = []
    with suppress(CasError):  # it has not come to its end
        result = load_result(job.directory)
        messages = [part.panic_message for part in (result.answer, result.dump) if part]
    said = short_line(next(filter(None, messages), ""), PANIC_LIMIT)
    return f"{job_name(job)}  {time}  {job.verdict or 'unfinished':11}  {said}".rstrip()


def list_jobs(error: SeveralJobs, command: str, world: World) -> Output:
    """The jobs that a SPEC may mean, and how to name the newest.

    :param command: what was asked for, up to the SPEC
    """
    world.progress.warn(f"{error}; {error.hint}")
    yield from map(described, error.found)
    world.progress.say(f"the newest: {command} {job_name(error.found[-1])}")
    return error.exit_code


def _ticket_of(spec: str) -> str | None:
    ticket = spec.partition("/")[0]
    return ticket if is_ticket(ticket) else None


def _meant_directories(work: WorkDirectory, spec: str) -> tuple[Path, ...]:
    """The directories of jobs that a SPEC means; what is none of our names may be a path."""
    found = tuple[Path, ...]()
    if form := ticket_and_stamp(spec):
        ticket, last = form
        is_one = last not in ("", LATEST)
        found = tuple(path for path in work.jobs(ticket) if not is_one or path.name == last)
    if not found and "\0" not in spec and os.path.lexists(Path(spec) / STATE):
        found = (Path(spec).resolve(),)
    return found

"""What must hold between job directories, database, packages and the cache of kernels."""

from __future__ import annotations

import errno
import os
import shlex
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from cas.archive.archive import Archive
from cas.archive.keeping import kept_file
from cas.catalogue.cache import inspection
from cas.choices import Stage, Verdict
from cas.database.records import PackageState
from cas.database.store import Store
from cas.errors import (
    CasError,
    ConfigError,
    DatabaseDamaged,
    JobBusy,
    NotPermitted,
    SandboxMissing,
)
from cas.files.permission import not_permitted
from cas.frozen import dataclass
from cas.jobs import seal
from cas.jobs.job import Job, load_job
from cas.jobs.lock import lock_job
from cas.jobs.reference import flaw_of_dump
from cas.jobs.sharing import ResultGroup
from cas.jobs.work_directory import STATE, UNBORN_S, Kind, WorkDirectory, is_gone, is_regular
from cas.report import mail_files, result
from cas.settings import users
from cas.settings.config import Config
from cas.supervise import find_sandbox

ENDED = frozenset(Verdict) - {Verdict.INTERRUPTED}
GO_ON = "run: cas-admin resume"
INDEX = "run: cas-admin index"
BUILD = "run: cas-admin -b"
MEND = f"{INDEX}, then: cas-admin -b"
FOREIGN = "see to it, if that should be a job of yours"
PURGE = "the next cas-admin -p removes it"
SANDBOX_HINT = "install bubblewrap and allow user namespaces"


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something that an administrator should know."""

    where: str
    what: str
    next_step: str
    is_broken: bool = True
    """An invariant does not hold; else something only waits to be gone on with."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What is looked at, and how closely."""

    config: Config
    work: WorkDirectory
    store: Store
    rows: Mapping[Path, Verdict] | None
    """Verdicts of the jobs that the database knows, by directory; ``None`` when it cannot tell."""
    with_digests: bool
    group: ResultGroup | None = None
    """Which may read results."""


def of_jobs(scope: Scope) -> Iterator[Flaw]:
    """Every directory below the work directory that is a job, or was to become one."""
    try:
        for entry in scope.work.entries():
            if entry.kind is Kind.JOB:
                yield from _flaws_of_job(entry.path, scope)
            elif entry.kind is not Kind.FOREIGN:
                is_young = time.time() - entry.modified < UNBORN_S
                if entry.kind is not Kind.UNBORN or not is_young:
                    advice = "look into it, remove it" if entry.kind is Kind.BARE else PURGE
                    yield Flaw(str(entry.path), entry.kind.value, advice)
    except NotPermitted as error:
        yield Flaw(str(scope.work.path), str(error), users.hint(error, scope.config))
        return
    closed = scope.group and scope.group.closed_way(scope.work.path)
    if scope.group and closed:
        what = f"may not be passed by the group {scope.group.name}, which shall read results below"
        yield Flaw(
            str(closed), what, f"run: chgrp {scope.group.name} {closed} && chmod g+x {closed}"
        )
    for line in scope.work.skipped():
        yield Flaw(str(scope.work.path), line, FOREIGN, is_broken=False)


def of_rows(scope: Scope) -> Iterator[Flaw]:
    """The database, against the directories and the packages."""
    try:
        for damage in scope.store.damage():
            yield Flaw(scope.store.name, f"is damaged: {damage}", MEND)
        if lacking := scope.store.lacking():
            yield Flaw(scope.store.name, f"lacks the tables {', '.join(sorted(lacking))}", MEND)
        for directory in scope.rows or ():
            if is_gone(directory):
                yield Flaw(str(directory), "is in the database, but there is no such job", INDEX)
        for path, known in scope.store.packages.known_packages().items():
            try:
                state = path.stat()
            except OSError as error:
                yield Flaw(str(path), f"is catalogued, but {error.strerror}", BUILD)
                continue
            if (state.st_size, state.st_mtime_ns) != (known.stamp.size_bytes, known.stamp.mtime_ns):
                yield Flaw(str(path), "has changed since it was catalogued", BUILD, is_broken=False)
            elif known.state is not PackageState.OK:
                yield Flaw(str(path), "cannot be used", f"replace it and {BUILD}", is_broken=False)
    except DatabaseDamaged as error:
        yield Flaw(scope.store.name, f"is damaged: {error}", MEND)
    except ConfigError as error:  # this user may not read it
        yield Flaw("the database", str(error), users.hint(error, scope.config))


def of_cache(scope: Scope) -> Iterator[Flaw]:
    """The extracted kernels."""
    try:
        for fault in inspection.entry_flaws(scope.config.debugs, with_digests=scope.with_digests):
            advice = "run: cas-admin cache verify --repair"
            if fault.obstacle is not None:
                advice = users.remedy(fault.obstacle, scope.config) or NotPermitted.hint
            yield Flaw(str(fault.path), fault.what, advice)
    except NotPermitted as error:
        yield Flaw(str(scope.config.debugs), str(error), users.hint(error, scope.config))


def of_sandbox(scope: Scope) -> Iterator[Flaw]:
    """What programs that read a dump run in, where that is less than was wanted."""
    wanted = scope.config.supervision.sandbox
    try:
        _, name = find_sandbox(wanted)
    except SandboxMissing as error:
        yield Flaw("sandbox", str(error), error.hint)
        return
    if wanted != "none" and name != "bwrap":
        what = f"programs that read a dump have {name}"
        yield Flaw("sandbox", what, SANDBOX_HINT, is_broken=False)


def of_known(scope: Scope) -> Iterator[Flaw]:
    """The files of known issues: what cannot be used of them is in no verdict."""
    if not scope.config.known_issues:
        return
    from cas.findings.known import load_known

    for fault in load_known(scope.config.known_issues).faults:
        yield Flaw("known issues", fault, "correct the file; then: cas-admin known")


def _flaws_of_job(directory: Path, scope: Scope) -> Iterator[Flaw]:
    where = str(directory)
    with ExitStack() as stack:
        try:
            stack.enter_context(lock_job(directory))
            job = load_job(directory)
        except JobBusy:
            return
        except NotPermitted as error:
            yield Flaw(where, str(error), users.hint(error, scope.config))
            return
        except CasError as error:
            yield Flaw(where, str(error), "analyse the dump again, then remove the directory")
            return
        files = (directory / name for name in job.files)
        if closed := next((path for path in files if _is_closed(path)), None):
            denied = not_permitted(closed, OSError(errno.EACCES, os.strerror(errno.EACCES)), "read")
            yield Flaw(where, str(denied), users.hint(denied, scope.config))
            return
        yield from _flaws_of_modes(job, scope)
        again = f"run: cas -i {job.order.ticket}"
        if what := flaw_of_dump(job, with_digests=scope.with_digests):
            advice = f"put it back as it was, or analyse a copy: cas -i {job.order.ticket} -f FILE"
            yield Flaw(where, what, advice)
        if job.is_stopped:
            yield Flaw(where, "was stopped on its way", again, is_broken=False)
            return
        if job.is_waiting:
            yield Flaw(where, "waits for its kernel", BUILD, is_broken=False)
        if seal.is_half_done(job):
            advice = f"run: cas-admin reprocess {job.order.ticket}/{directory.name}"
            yield Flaw(
                where, "was being reprocessed when that was stopped", advice, is_broken=False
            )
            return
        for what in _inconsistencies(job, scope):
            yield Flaw(where, what, f"analyse the dump again: cas -i {job.order.ticket} -f FILE")
        if scope.rows is not None and scope.rows.get(directory) is None:
            yield Flaw(where, "is not in the database", INDEX)
        elif scope.rows is not None and scope.rows[directory] != job.verdict:
            what = f"is {job.verdict}, but {scope.rows[directory]} in the database"
            yield Flaw(where, what, INDEX)
        yield from _flaws_of_mail(job)


def _is_closed(path: Path) -> bool:
    """Whether there may be a file that this user may not read."""
    try:
        path.lstat()
    except PermissionError:
        return True
    except OSError:
        return False
    return not os.access(path, os.R_OK)


def _inconsistencies(job: Job, scope: Scope) -> Iterator[str]:
    """What of an ended job contradicts something else of it."""
    if job.verdict not in ENDED:
        yield f"{STATE} has the unknown verdict {job.verdict!r}"
    if Stage.REPORTED not in job.stages:
        yield f"{STATE} has the verdict {job.verdict}, but no stage `reported`"
    try:
        found = result.load(job.directory)
    except CasError as error:
        yield str(error)
    else:
        if found.verdict != job.verdict:
            yield f"{STATE} says {job.verdict}, {result.NAME} says {found.verdict}"
        sections = {section.path for section in found.sections}
        for name in sorted(sections - job.files.keys()):
            yield f"the section {name} was never sealed"
    is_kept = _is_dump_kept(job, scope)
    for flaw in seal.flaws(job, with_digests=scope.with_digests):
        if not (is_kept and flaw == f"{job.dump_name} is missing"):
            yield flaw
    for path in seal.leftovers(job.directory):
        yield f"{path.name} was left behind by a run that was stopped"


def _is_dump_kept(job: Job, scope: Scope) -> bool:
    """Whether a job has no dump because the archive has moved that to a store."""
    if job.stored is None or job.stored.reference or is_regular(job.stored.vmcore):
        return False
    with suppress(CasError):
        if crash_id := result.crash_id_of(job.directory):
            archive = Archive.of(scope.config, scope.store)
            return kept_file(archive, crash_id, job.digest) is not None
    return False


def _flaws_of_mail(job: Job) -> Iterator[Flaw]:
    where = str(job.directory)
    if (job.directory / mail_files.WAITING).is_file():
        yield Flaw(where, "has a mail that waits", GO_ON, is_broken=False)
    elif (job.directory / mail_files.REFUSED).is_file():
        advice = f"tell {job.order.email} by other means"
        yield Flaw(where, "has a mail that the server refused", advice, is_broken=False)


def _flaws_of_modes(job: Job, scope: Scope) -> Iterator[Flaw]:
    """Files that others than their owner may use, but for a group's results; one line for a job."""
    directory, group = job.directory, scope.group
    states = ((path, path.lstat()) for path in (directory.parent, directory, *directory.rglob("*")))
    allowed = group.allowed(job) if group else {}
    bare = [
        path
        for path, state in states
        if not stat.S_ISLNK(state.st_mode)
        and stat.S_IMODE(state.st_mode) & 0o077
        and not (group and group.is_meant(state, allowed.get(path, 0)))
    ]
    if bare:
        what = f"is open to others: {bare[0].name}" + (
            f" and {len(bare) - 1} more" * bool(bare[1:])
        )
        named = " ".join(shlex.quote(str(path)) for path in bare)
        advice = f"chmod go= {named}" if group else f"chmod -R go= {directory.parent}"
        yield Flaw(str(directory), what, f"run: {advice}")
    elif group and not job.is_stopped and not group.is_shared(job):
        what = f"has results that the group {group.name} may not read"
        yield Flaw(str(directory), what, group.command(job), is_broken=False)

"""The dump for a debugger: the one that was received, or what became of it by the user's will."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from cas.archive.archive import Archive
from cas.archive.keeping import is_as_stored
from cas.commands.invocation import World
from cas.commands.meant_job import ArchivedDump, Subject
from cas.errors import CasError, DumpChanged, NotADump, Refused
from cas.files.digest import Fingerprint, require_same
from cas.jobs.job import Job
from cas.jobs.layout import RESULTS
from cas.jobs.log import logged
from cas.jobs.reference import is_untouched, looks
from cas.report.result import crash_id_of
from cas.settings.person import person


class OtherDump(Refused):
    """A dump is not what was received any more."""

    hint = "put it back as it was received; to debug what is there now: add --force"


def dump_path(subject: Subject) -> Path:
    """Where the dump is, on this machine."""
    if isinstance(subject, ArchivedDump):
        return subject.path
    assert subject.stored  # noqa: S101  it would not have been found
    return subject.stored.vmcore


def require_kept(subject: Subject, world: World, *, is_forced: bool) -> None:
    """Make sure that a dump is what was received; another only by force, which is recorded.

    Its content is read only if it may have changed since the job ended.

    :raises OtherDump: it is another
    :raises NotADump: it cannot be read
    :raises TryAgain: what was forced cannot be recorded
    """
    vmcore = dump_path(subject)
    if isinstance(subject, ArchivedDump):
        recorded: Fingerprint | None = subject.recorded
        is_sure = _looks_or_none(vmcore) == (subject.looks or ())
    else:
        recorded, is_sure = subject.fingerprint, _is_untouched(subject, world)
    if recorded is None or is_sure:
        return
    try:
        with world.progress.bar("Comparing the dump with its recorded digest", None):
            require_same(vmcore, recorded)
    except OSError as error:
        raise NotADump(f"{vmcore} cannot be read: {error.strerror}") from error
    except DumpChanged as error:
        if not is_forced:
            raise OtherDump(str(error)) from error
        record_force(subject, f"debugs another dump by --force: {error}", world)


def record_force(subject: Subject, what: str, world: World) -> None:
    """Write into a job's log, or into the record of the crash, what somebody does by force.

    :param what: behind who that is
    :raises TryAgain: it cannot be recorded
    """
    who = person(world.environment, world.config)
    if isinstance(subject, ArchivedDump):
        with Archive.of(world.config).changing(subject.crash_id) as draft:
            draft.info = draft.info.noting(what, who, int(world.now.timestamp()))
        world.progress.warn(f"{who} {what}")
        return
    with logged(subject, world.config.debug_level, world.progress) as log:
        log.warn(f"{who} {what}")


def _looks_or_none(path: Path) -> tuple[int, int, int] | None:
    try:
        return looks(path)
    except OSError:
        return None


def _is_untouched(job: Job, world: World) -> bool:
    """Whether nobody can have changed a job's dump since it was stored."""
    assert job.stored  # noqa: S101  it would not have been found
    recorded, there = job.fingerprint, job.stored.reference
    if there and is_untouched(there):
        return True
    if there is None and recorded:  # else the file system's clock may be another one
        with suppress(OSError):
            # nobody can set the time of a file's last change of any kind, st_ctime
            ended, state = (job.directory / RESULTS[0]).stat(), job.stored.vmcore.stat()
            is_older = state.st_ctime_ns <= ended.st_mtime_ns
            if state.st_size == recorded.size_bytes and is_older:
                return True
    return _is_vouched_for(job, world)


@contextmanager
def kept_from_purge(subject: Subject, world: World) -> Iterator[None]:
    """Keep a job, and the files of its crash, from being purged while somebody looks at it."""
    with ExitStack() as leases:
        with suppress(CasError):  # it is in no archive, or this user may not write there
            if isinstance(subject, ArchivedDump):
                crash_id: str | None = subject.crash_id
            else:
                crash_id = crash_id_of(subject.directory)
            if crash_id:
                leases.enter_context(Archive.of(world.config).using(crash_id))
        yield


def _is_vouched_for(job: Job, world: World) -> bool:
    """Whether the archive has the dump, and nobody has touched it since its digest was made."""
    assert job.stored  # noqa: S101  it would not have been found
    with suppress(CasError):
        crash_id = crash_id_of(job.directory)
        if crash_id and job.digest:
            archive = Archive.of(world.config)
            return is_as_stored(archive, crash_id, job.digest, job.stored.vmcore)
    return False

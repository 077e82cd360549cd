"""The dump for a debugger: the one that was received, or what became of it by the user's will."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from cas.archive.archive import Archive
from cas.archive.keeping import is_as_stored
from cas.commands.invocation import World
from cas.errors import CasError, DumpChanged, NotADump, Refused
from cas.files.digest import require_same
from cas.jobs.job import Job
from cas.jobs.layout import RESULTS
from cas.jobs.log import logged
from cas.jobs.reference import is_untouched
from cas.report.result import crash_id_of
from cas.settings.person import person


class OtherDump(Refused):
    """A job's dump is not what was received any more."""

    hint = "put it back as it was received; to debug what is there now: add --force"


def require_kept(job: Job, world: World, *, is_forced: bool) -> None:
    """Make sure that a job's dump is what was received; another only by force, which is recorded.

    Its content is read only if it may have changed since the job ended.

    :raises OtherDump: it is another
    :raises NotADump: it cannot be read
    :raises TryAgain: what was forced cannot be recorded
    """
    assert job.stored  # noqa: S101  it would not have been found
    vmcore = job.stored.vmcore
    recorded, there = job.fingerprint, job.stored.reference
    if recorded is None or (there and is_untouched(there)):
        return
    if there is None:  # else the file system's clock may be another one
        with suppress(OSError):
            # nobody can set the time of a file's last change of any kind, st_ctime
            ended, state = (job.directory / RESULTS[0]).stat(), vmcore.stat()
            is_older = state.st_ctime_ns <= ended.st_mtime_ns
            if state.st_size == recorded.size_bytes and is_older:
                return
    if _is_vouched_for(job, world):
        return
    try:
        with world.progress.bar("Comparing the dump with its recorded digest", None):
            require_same(vmcore, recorded)
    except OSError as error:
        raise NotADump(f"{vmcore} cannot be read: {error.strerror}") from error
    except DumpChanged as error:
        if not is_forced:
            raise OtherDump(str(error)) from error
        with logged(job, world.config.debug_level, world.progress) as log:
            who = person(world.environment, world.config)
            log.warn(f"{who} debugs another dump by --force: {error}")


@contextmanager
def kept_from_purge(job: Job, world: World) -> Iterator[None]:
    """Keep a job, and the files of its crash, from being purged while somebody looks at it."""
    with ExitStack() as leases:
        with suppress(CasError):  # it is in no archive, or this user may not write there
            if crash_id := crash_id_of(job.directory):
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

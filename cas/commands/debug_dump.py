"""The dump for a debugger: the one that was received, or what became of it by the user's will."""

from __future__ import annotations

import getpass
from contextlib import suppress

from cas.archive.archive import Archive
from cas.archive.keeping import is_as_stored
from cas.commands.invocation import World
from cas.errors import CasError, DumpChanged, NotADump, Refused
from cas.files.digest import require_same
from cas.jobs.job import Job
from cas.jobs.layout import RESULTS
from cas.jobs.log import logged
from cas.jobs.reference import is_untouched
from cas.report.result import load as load_result


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
            log.warn(f"{user()} debugs another dump by --force: {error}")


def _is_vouched_for(job: Job, world: World) -> bool:
    """Whether the archive has the dump, and nobody has touched it since its digest was made."""
    assert job.stored  # noqa: S101  it would not have been found
    if job.digest is None:
        return False
    with suppress(CasError):
        dump = load_result(job.directory).dump
        if dump and dump.crash_id:
            archive = Archive.of(world.config)
            return is_as_stored(archive, dump.crash_id, job.digest, job.stored.vmcore)
    return False


def user() -> str:
    """Who does that, as a log has it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without an entry in the password database
        return "somebody"

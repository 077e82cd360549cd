"""A dump that is no file of its job: it stays where it was submitted (``storage = reference``)."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from cas.errors import CasError
from cas.files.patient_calls import answering
from cas.files.whole import read_regular
from cas.jobs.job import STATE_LIMIT, Job, load_job
from cas.jobs.work_directory import STATE, WorkDirectory, is_regular
from cas.model.dump import Reference
from cas.units import utc


def looks(path: Path) -> tuple[int, int, int]:
    """What cannot stay the same when a file is written to, or another is put in its place.

    :raises OSError: there is none
    """
    state = path.stat()
    return state.st_ino, state.st_mtime_ns, state.st_ctime_ns


def is_untouched(there: Reference) -> bool:
    """Whether nobody has written to the file or put another in its place since."""
    try:
        return looks(there.path) == (there.inode, there.modified_ns, there.changed_ns)
    except OSError:
        return False


def referrer(work: WorkDirectory, path: Path) -> Path | None:
    """The directory of a job that has left its dump there, as far as this user may look.

    :param path: absolute, without symbolic links
    """
    written = json.dumps(str(path)).encode()
    for directory in work.jobs():
        with suppress(OSError, CasError):
            if written not in read_regular(directory / STATE, STATE_LIMIT):
                continue  # most jobs: their records need not be decoded
            stored = load_job(directory).stored
            if stored and stored.reference and stored.reference.path == path:
                return directory
    return None


def lack_of_dump(job: Job) -> str | None:
    """Why the dump of a job cannot be opened, as what the job lacks; ``None``: it is there.

    A file system that does not answer is not waited for long.
    """
    if job.stored is None:
        return "has no dump yet"
    if job.stored.reference is None:
        if is_regular(job.stored.vmcore):
            return None
        if job.dump_purged is None:
            return "has no dump"
        return (
            f"has no dump any more: it was purged on {utc(job.dump_purged)}, its reports are there"
        )
    path = job.stored.vmcore
    try:
        answering(path)
    except FileNotFoundError:
        return f"has no dump any more: {path}, where it was to stay, is missing"
    except OSError as error:
        return f"cannot read its dump, {path}: {error.strerror or error}"
    return None


def flaw_of_dump(job: Job, *, with_digests: bool) -> str | None:
    """What of a dump that stays where it was submitted is not as it was; ``None``: nothing."""
    kept = job.fingerprint
    if job.stored is None or job.stored.reference is None or kept is None:
        return None
    if (lack := lack_of_dump(job)) is not None:
        return lack
    path = job.stored.vmcore
    try:
        if (size := path.stat().st_size) != kept.size_bytes:
            return f"its dump {path} has {size} bytes, {kept.size_bytes} were sealed"
        is_other = with_digests and not kept.fits(path)
    except OSError as error:
        return f"cannot read its dump, {path}: {error.strerror}"
    return f"its dump {path} has another content than was sealed" if is_other else None

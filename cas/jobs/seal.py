"""What a job leaves behind, sealed: size and digest of every file, in ``job.json``.

A file is sealed when it is on the disk. ``job.json`` with the verdict comes after all of them, so
that a job that counts as ended has its files whole, whatever happens to the machine.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from cas.files.digest import Fingerprint
from cas.files.whole import PART, sync, sync_directory, write_whole, writing_below
from cas.jobs.job import Job
from cas.jobs.layout import LINKED, RESULTS
from cas.jobs.work_directory import STATE, is_regular

_MAIL = "mail."
_SYNCING = 4
"""Files at a time that the disk is asked to keep."""


def published(job: Job) -> Iterator[str]:
    """Paths below the job's directory that others read; not what changes after its end."""
    changing = {STATE, f"{job.order.ticket}.log"}
    paths = (Path(parent, name) for parent, _, names in os.walk(job.directory) for name in names)
    for path in sorted(paths):
        if not path.is_file() or path.is_symlink():
            continue
        name = str(path.relative_to(job.directory))
        hidden = any(part.startswith(".") for part in Path(name).parts)
        if not hidden and name not in changing and not name.startswith((_MAIL, f"{LINKED}/")):
            yield name


def settle(job: Job) -> None:
    """Have everything that is published survive a power cut, but for what tells of the end.

    :raises DiskFull: there is no room after all
    :raises TryAgain: the disk does not take it
    """
    paths = [job.directory / name for name in published(job) if name not in RESULTS]
    with writing_below(job.directory), ThreadPoolExecutor(_SYNCING) as pool:
        list(pool.map(sync, paths))
        for directory in {path.parent for path in paths} | {job.directory}:
            sync_directory(directory)


def seal(job: Job) -> Job:
    """The job with the fingerprints of everything published; leftovers of writing go.

    :raises TryAgain: a file cannot be read
    """
    with writing_below(job.directory):
        for leftover in leftovers(job.directory):
            leftover.unlink(missing_ok=True)
        names = list(published(job))
        found = {
            name: job.files.get(name) or Fingerprint.of(job.directory / name) for name in names
        }
    return replace(job, files=found)


def put_in_place(job: Job, contents: Mapping[str, bytes]) -> Job:
    """Replace published files of an ended job, all of them or none.

    They are there, under hidden names, before ``job.json`` says that they count; whoever is stopped
    after that has :func:`finish_replacing` do the rest.

    :return: the job as it is then
    :raises TryAgain: a file cannot be written
    """
    found = {}
    for name, content in contents.items():
        staged = _staged(job.directory, name)
        write_whole(staged, content)
        found[name] = Fingerprint.of(staged)
    renewed = replace(job, files={**job.files, **found})
    renewed.save()
    finish_replacing(renewed)
    return renewed


def finish_replacing(job: Job) -> None:
    """Put files in their places that count already, and remove those that never will.

    :raises TryAgain: the directory cannot be written
    """
    with writing_below(job.directory):
        for name in RESULTS:
            staged = _staged(job.directory, name)
            if not is_regular(staged):
                continue
            if name in job.files and job.files[name].fits(staged):
                staged.replace(job.directory / name)
            else:
                staged.unlink()
        for torn in _torn(job.directory):
            torn.unlink(missing_ok=True)
        sync_directory(job.directory)


def is_half_done(job: Job) -> bool:
    """Whether somebody who put files in their places was stopped on the way."""
    staged = any(is_regular(_staged(job.directory, name)) for name in RESULTS)
    return staged or any(_torn(job.directory))


def _staged(directory: Path, name: str) -> Path:
    return directory / f".{name}{PART}.new"


def _torn(directory: Path) -> Iterator[Path]:
    """What was being written of such files, which nobody reads."""
    parts = (_staged(directory, name) for name in RESULTS)
    return (each for path in parts if is_regular(each := path.with_name(f".{path.name}{PART}")))


def leftovers(directory: Path) -> list[Path]:
    """Files that were being written when a run was stopped."""
    return [path for path in directory.glob(f".*{PART}*") if path.is_file()]


def flaws(job: Job, *, with_digests: bool) -> Iterator[str]:
    """What of a job is not as it was sealed, a phrase each."""
    for name, sealed in job.files.items():
        path, flaw = job.directory / name, ""
        try:
            state = path.lstat()
            if not stat.S_ISREG(state.st_mode):
                flaw = "is no regular file"
            elif state.st_size != sealed.size_bytes:
                flaw = f"has {state.st_size} bytes, {sealed.size_bytes} were sealed"
            elif with_digests and not sealed.fits(path):
                flaw = "has another content than was sealed"
        except FileNotFoundError:
            flaw = "" if job.dump_purged and path in job.dump_paths else "is missing"
        except OSError as error:
            flaw = f"cannot be read: {error.strerror}"
        if flaw:
            yield f"{name} {flaw}"

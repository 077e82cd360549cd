"""Which rows of the catalogue are still true of the files that they name.

A row says what its file said when it was catalogued, and counts as long as the file has the size,
the time of modification and the inode of then. Where it has not, the file itself is asked again:
rsync, sshfs and restores give the same content another inode, and an administrator may have put
another kernel in its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from functools import partial
from pathlib import Path

from cas.database.records import Candidate, FileStamp, Package, Renewal, is_same
from cas.errors import PackageError
from cas.files.patient_calls import CallThreads, regular
from cas.frozen import dataclass

_AT_ONCE = 8
"""Files that are looked at; each may be on a file system that does not answer."""


@dataclass(frozen=True, slots=True)
class Current:
    """What came of a look at the files of some rows."""

    candidates: tuple[Candidate, ...] = ()
    """Those whose rows are true."""
    gone: tuple[str, ...] = ()
    """Which files are not there any more, a sentence each."""
    changed: Mapping[Path, str] = field(default_factory=dict)
    """Which others do not count, with a sentence that says why."""
    renewals: tuple[Renewal, ...] = ()


def current(candidates: Sequence[Candidate], timeout_s: float) -> Current:
    """The candidates that are what their rows say.

    :param timeout_s: without an answer from a file system, after which what is there is left out
    """
    stamps = {one.kernel.source: one.stamp for one in candidates}
    if not stamps:
        return Current()
    call_threads = CallThreads(min(len(stamps), _AT_ONCE), timeout_s)
    try:
        asked = {
            path: call_threads.ask(partial(_file_now, path, stamp))
            for path, stamp in stamps.items()
        }
        true, gone, renewals = list[Candidate](), list[str](), list[Renewal]()
        changed: dict[Path, str] = {}
        for path, attempt in asked.items():
            mine = [one for one in candidates if one.kernel.source == path]
            try:
                stamp, package = call_threads.result(attempt)
            except FileNotFoundError:
                gone.append(f"{path} is gone")
            except OSError as error:
                changed[path] = f"{path}: {error.strerror or error}"
            except PackageError as error:
                changed[path] = f"{_changed_sentence(path)}, and cannot be used: {error}"
            else:
                # whether the file holds the kernels that it was catalogued with
                same = [
                    one
                    for one in mine
                    if package is None
                    or (
                        package.arch == one.kernel.arch
                        and any(is_same(one.kernel, packaged) for packaged in package.kernels)
                    )
                ]
                true += same
                if package is not None and same and mine[0].stamp:
                    renewals.append(Renewal(path, mine[0].stamp, stamp, package.kernels))
                if len(same) < len(mine):
                    changed[path] = _changed_sentence(path)
    finally:
        call_threads.dismiss()
    in_order = [one for one in candidates if one in true]
    return Current(tuple(in_order), tuple(gone), changed, tuple(renewals))


_FileNow = tuple[FileStamp, Package | None]
"""A file's stamp, and what it says where that is not the catalogued one."""


def _file_now(path: Path, catalogued: FileStamp | None) -> _FileNow:
    """:raises OSError: it is gone, no regular file, or cannot be opened"""
    stamp = FileStamp.of(regular(path))
    if stamp == catalogued:
        return stamp, None
    from cas.catalogue.packages import package_kinds  # and how each kind is read

    return stamp, package_kinds.read_package(path)


def _changed_sentence(path: Path) -> str:
    return f"{path} changed since cas-admin -b"

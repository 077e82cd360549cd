"""What was submitted, on its way to a dump in the job directory."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cas.choices import Storage
from cas.dump import kind_of, reassemble, recognise_file
from cas.errors import DumpChanged, DumpMissing, JobFailed
from cas.files.digest import DumpDigest, Fingerprint
from cas.files.patient_calls import NoAnswer, answering
from cas.files.permission import DENIED, not_permitted
from cas.files.whole import sync_directory
from cas.intake import Intake, Storing, is_plain, state_of_upload, take_over, taking
from cas.jobs.job import Job
from cas.jobs.layout import DOWNLOAD, DUMP
from cas.jobs.order import FROM_STDIN
from cas.jobs.reference import lack_of_dump, looks, referrer
from cas.jobs.work_directory import WorkDirectory, is_regular
from cas.model.dump import KERNEL_LOG, Reference, Stored
from cas.progress import Progress
from cas.settings.config import Config
from cas.triage.lookout import Lookout

if TYPE_CHECKING:
    from cas.dump.log_file import ChosenLog
    from cas.fetch.url import Url

SILENCES = 10
"""Times `watchdog` that an upload's file system may keep silent: servers come back."""
_PLAIN = re.compile(r"[\w./+:,=@~-]+", re.ASCII)


class Arrival:
    """The upload, fetched, unpacked and copied while the work on it already goes on.

    A context manager; leaving it by an error stops the copy and removes what is half-written.
    """

    def __init__(
        self, job: Job, config: Config, progress: Progress, again: str | None = None
    ) -> None:
        """Prepare; nothing is read yet.

        :param again: the command to go on with, if it is not that of the job
        """
        self._again = again or f"cas -i {job.order.ticket}"
        self._job = job
        self._config = config
        self._progress = progress
        self._stack = ExitStack()
        self._storing: Storing | None = None
        self._digest: DumpDigest | None = None
        self._uploads: tuple[Path, ...] = ()
        self._before: tuple[int, ...] | None = None
        """What a plain upload, which is read where it lies, looked like before."""
        self._storage = Storage.COPY
        self._why_copied: str | None = None
        """What was in the way of another storage that was asked for."""
        self._stored: Stored | None = job.stored
        self._is_read_here = True
        """Whether this process may read the upload where it lies."""
        self._is_kept = job.stored is not None
        """Whether the job's record says that the dump is kept, or is about to."""
        self.arrived_bytes: int | None = None
        """Size of what was submitted, as it came; ``None`` where it is not there any more."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: Any) -> None:
        self._stack.__exit__(*failure)
        if failure[0] is not None and not self._is_kept:
            self._forget_links()

    def url_to_fetch(self) -> Url | None:
        """Where the upload still is; ``None``: nothing of it is left to be fetched.

        :raises UsageError: the URL had secrets, which were not kept
        """
        order = self._job.order
        # by its final name it is whole and checked; a URL with secrets could not be asked again
        if not order.url or self._stored or any(_whole_files(self.download_directory())):
            return None
        from cas.fetch.url import parse_url

        return order.source or parse_url(order.url)

    def download_directory(self) -> Path:
        """Where what is fetched lies, until the dump is kept."""
        directory = self._job.directory / DOWNLOAD
        directory.mkdir(exist_ok=True)
        return directory

    def begin(self) -> Path:
        """A file that begins as the dump does; the rest of it may still be under way.

        A dump that was kept before is compared with its recorded digest meanwhile.

        :raises CasError: the upload cannot be fetched, read or unpacked
        """
        if self._stored:
            vmcore = self._stored.vmcore
            if self._stored.reference and (lack := lack_of_dump(self._job)):
                raise DumpMissing(f"{self._job.directory} {lack}")
            if self._stored.reference:
                self._stack.enter_context(self._lookout(vmcore))
            if os.path.lexists(vmcore) and not is_regular(vmcore):
                raise JobFailed(f"{vmcore} is no regular file, so no dump that was received")
            if recorded := self._job.fingerprint:
                self._digest = self._stack.enter_context(DumpDigest(lambda: vmcore, recorded))
            return vmcore
        order = self._job.order
        self._uploads = self._fetched() or self._handed_over()
        self.arrived_bytes = sum(map(_size_bytes, self._uploads))
        self._storage, self._why_copied = self._chosen_storage()
        if self._storage is Storage.REFERENCE:
            self._uploads = (order.upload.resolve(),)
        intake = Intake(self._config.intake, kind_of, order.member, self._storage, _choose_log)
        if self._is_one_plain_file():
            self._before = state_of_upload(self._uploads[0])
        if self._job.directory not in self._uploads[0].parents:
            self._stack.enter_context(self._lookout(self._uploads[0]))
        storing = Storing(self._uploads, self._job.directory, intake, self._progress)
        self._storing = self._stack.enter_context(storing)
        head = storing.head()
        self._digest = self._stack.enter_context(DumpDigest(lambda: storing.settled().vmcore))
        return head

    def is_plain(self, head: Path) -> bool:
        """Whether that file is the upload itself, all of it a dump."""
        return (head,) == self._uploads

    def let_go(self) -> None:
        """Note that this process reads the upload no more where it lies; debuggers may."""
        self._is_read_here = False

    def want_copy(self) -> None:
        """Have the upload copied now: the first answer is told, or there is none."""
        if self._storing:
            self._storing.want()

    def _lookout(self, dump: Path) -> Lookout:
        def is_needed() -> bool:
            if (self._stored and self._stored.reference) or self._storage is Storage.REFERENCE:
                return True
            is_copied = self._storing is not None and self._storing.is_over
            return self._is_read_here or not is_copied

        def tell(silence: str) -> None:
            again = f"when it answers again: {self._again}"
            self._progress.warn(f"{silence}: the job stops here; {again}")

        timeout_s = SILENCES * self._config.supervision.watchdog_s
        return Lookout(dump, timeout_s, is_needed, tell)

    def packed_upload(self) -> Path | None:
        """The upload, if it is one file that is still being unpacked."""
        is_under_way = self._stored is None and self._storing and not self._storing.is_over
        if not is_under_way or self._job.order.member or len(self._uploads) != 1:
            return None
        return None if self._is_one_plain_file() else self._uploads[0]

    def left_s(self) -> float:
        """About how long it takes until all of the upload is in the job directory."""
        return self._storing.left_s() if self._storing else 0.0

    def readable(self, head: Path) -> Path:
        """A file with all of the dump: a plain one is read where it lies, also when it is copied.

        drgn may have begun with it there, and would have to begin anew with another file.

        :param head: what `begin` gave
        """
        storing = self._storing
        if self._stored or storing is None or not self.is_plain(head):
            return self.stored().vmcore
        if storing.is_over and state_of_upload(head) != self._before:
            return self.stored().vmcore
        return head

    def vmcore(self) -> Path:
        """The dump's file in the job directory, which may still be written to."""
        storing = self._storing
        if self._stored is None and storing and storing.vmcore and self._is_one_plain_file():
            return storing.vmcore
        return self.stored().vmcore

    def written(self) -> Path:
        """The dump in the job directory once it is written; nothing is shown meanwhile."""
        if self._stored is None and self._storing and self._is_one_plain_file():
            return self._storing.written().vmcore
        return self.stored().vmcore

    def change(self) -> str | None:
        """Why an upload that was read where it lies may be another one than was copied.

        One that is gone by now was not read any more.
        """
        if self._before is None or self._storing is None or self._storage is Storage.REFERENCE:
            return None
        self.stored()
        try:
            answering(self._uploads[0], self._config.supervision.watchdog_s)
        except NoAnswer:
            return "the file system of the upload does not answer any more"
        except OSError:
            return None
        if state_of_upload(self._uploads[0]) in (None, self._before):
            return None
        return "the upload changed after it was copied"

    @property
    def has_begun(self) -> bool:
        """Whether there is anything to wait for."""
        return self._storing is not None

    def stored(self) -> Stored:
        """The dump in the job directory, once all of it is written."""
        if self._stored is None:
            assert self._storing  # noqa: S101  begin() came before
            self._stored = self._joined(self._storing.stored())
        return self._stored

    def settled(self) -> Path:
        """The dump in the job directory, once nobody writes to it any more.

        :raises CasError: as `stored`
        """
        if self._stored is None:
            assert self._storing  # noqa: S101  begin() came before
            return self._storing.settled().vmcore
        return self._stored.vmcore

    def kept(self) -> tuple[Stored, dict[str, Fingerprint]]:
        """The dump once it would survive a power cut, and by what it is known again.

        :raises DumpChanged: it is not what was received, or was changed since
        """
        stored = self.stored()
        if self._digest is None:
            return stored, dict(self._job.files)
        if self._storing is not None:
            self._storing.settled()
            if self._storage is Storage.REFERENCE:
                return self._referred(stored.vmcore, self._digest), {}
            if told := self._how_stored(stored.vmcore):
                stored = replace(stored, remarks=(*stored.remarks, told))
        found = self._digest.result()
        self._is_kept = True
        return stored, {} if stored.reference else {self._job.name_of(stored.vmcore): found}

    @property
    def digest(self) -> str | None:
        """That of the dump, once it is known."""
        found = self._digest.found if self._digest else None
        return found.digest if found else None

    def clear_away(self) -> None:
        """Remove what is of no use now that the job's record says that the dump is kept: what was
        fetched, and the own name of a file that was moved.

        :raises NotPermitted: that name cannot be taken away
        """
        shutil.rmtree(self._job.directory / DOWNLOAD, ignore_errors=True)
        if self._job.order.takes:
            taking.move_out(self._job.order.upload, self.stored().vmcore)

    def _referred(self, dump: Path, digest: DumpDigest) -> Stored:
        """The dump that stays where it is, once it is sure that all was read of this very file.

        :raises DumpChanged: it is another by now
        """
        try:
            marks = looks(dump)  # what is written from here on is noticed later
        except OSError as error:
            raise DumpChanged(f"{dump} is gone, which was read where it lies") from error
        found = digest.result()
        if state_of_upload(dump) != self._before:
            raise DumpChanged(f"{dump} was changed while it was read where it lies")
        told = f"the dump stays where it is, the job has no copy of it: {dump} ({found})"
        there = Reference(dump, found.size_bytes, found.digest, *marks)
        return Stored(dump, remarks=(told,), reference=there)

    def _how_stored(self, kept: Path) -> str | None:
        """What became of an upload that was not to be copied; ``None``: nothing else was asked."""
        upload, why = self._job.order.upload, self._why_copied
        if why is None and self._storage is Storage.COPY:
            return None
        if why is None and taking.is_same(upload, kept):
            return f"{upload} was moved to {kept}, and goes when the job is purged"
        why = why or f"{kept.parent} cannot have it"
        return f"{upload} was copied and stays where it is: {why}"

    def _chosen_storage(self) -> tuple[Storage, str | None]:
        """What becomes of the upload; where it is not what was asked for, why it is copied.

        With the configuration's choice packed uploads and kernel logs go their usual way, which is
        not worth a word.
        """
        order = self._job.order
        wanted = Storage.MOVE if order.takes else self._config.storage
        if wanted is Storage.COPY or order.url:
            return Storage.COPY, None
        why = None
        if order.more:
            why = "parts of a split dump are joined into one"
        elif self._uploads != (order.upload,):
            is_piped = order.upload == FROM_STDIN
            why = "" if is_piped else "only root can open it"
        elif not self._is_one_plain_file():
            why = "it is packed" if order.takes else ""
        elif order.takes:
            self._forget_links()  # of a run that was stopped
            why = taking.why_copied(order.upload, self._job.directory) or self._why_needed()
        elif recognise_file(order.upload) == KERNEL_LOG:
            why = ""
        elif not _PLAIN.fullmatch(str(order.upload.resolve())):
            why = "its path has characters that not every debugger takes"
        elif taking.is_of_job(order.upload):
            why = "it belongs to another job, and goes when that is purged"
        return (wanted, None) if why is None else (Storage.COPY, why or None)

    def _why_needed(self) -> str | None:
        """Why nobody may move the upload away; ``None``: no job needs it where it is."""
        work = WorkDirectory.of(self._config)
        other = referrer(work, self._job.order.upload.resolve())
        return f"it is the dump of {other}, which has no copy of it" if other else None

    def _forget_links(self) -> None:
        """Remove the job's name of a file that was to be moved: it has its own."""
        if self._job.order.takes:
            for kept in (self._job.directory / DUMP).glob("*"):
                taking.forget_link(self._job.order.upload, kept)

    def _is_one_plain_file(self) -> bool:
        return len(self._uploads) == 1 and is_plain(self._uploads[0], kind_of)

    def _fetched(self) -> tuple[Path, ...]:
        if not self._job.order.url:
            return ()
        url = self.url_to_fetch()
        directory = self.download_directory()
        if url is None:
            return tuple(_whole_files(directory))
        # three protocols, for few jobs
        from cas.fetch.fetch import FetchPolicy, fetch

        return (fetch(url, directory, FetchPolicy.of(self._config), self._progress),)

    def _handed_over(self) -> tuple[Path, ...]:
        """The uploads; in place of one that only root can open, a copy of ours."""
        order, found = self._job.order, list[Path]()
        for number, path in enumerate((order.upload, *order.more)):
            copy = self._job.directory / DOWNLOAD / str(number) / path.name
            # by its final name it is whole
            if path in order.held and not copy.exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                with self._progress.bar(f"Taking over {path.name}", None):
                    take_over(order.held[path], copy, self._config.intake)
            found.append(copy if copy.exists() else path)
        return tuple(found)

    def _joined(self, stored: Stored) -> Stored:
        """The parts of a split dump as one."""
        if not stored.parts:
            return stored
        target = stored.vmcore.with_name("vmcore")
        with self._progress.bar(f"Joining {len(stored.parts)} parts", None):
            assert self._storing  # noqa: S101  only begun storing has parts
            self._storing.settled()
            missing = reassemble(stored.parts, target)
            sync_directory(target.parent)
        for part in stored.parts:
            part.unlink()
        self._digest = self._stack.enter_context(DumpDigest(lambda: target))
        return replace(stored, vmcore=target, missing=(*stored.missing, *missing))


def _whole_files(directory: Path) -> Iterator[Path]:
    return (path for path in directory.iterdir() if not path.name.startswith("."))


def _choose_log(files: Sequence[Path]) -> ChosenLog | None:
    from cas.dump.log_file import choose_log  # few uploads are logs

    return choose_log(files)


def _size_bytes(upload: Path) -> int:
    """Of a file; nothing for what is none.

    :raises NotPermitted: this user may not look
    """
    try:
        return upload.stat().st_size if upload.is_file() else 0
    except OSError as error:
        if error.errno in DENIED:
            raise not_permitted(upload, error, "read") from error
        return 0  # who opens it says so

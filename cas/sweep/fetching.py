"""A file of a host into the archive, by the way of an upload; what was fetched is not lost."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from cas.archive import incoming
from cas.archive.archive import Archive
from cas.archive.keeping import Entered
from cas.archive.record import Place
from cas.choices import Fetch
from cas.errors import DiskFull, FetchError, Refused, TryAgain
from cas.fetch.part import Part
from cas.fetch.sftp import SftpFile, stat_version
from cas.files.whole import write_whole, writing_below
from cas.frozen import dataclass
from cas.jobs.job import Job
from cas.jobs.layout import DOWNLOAD
from cas.jobs.order import Order
from cas.progress import Progress, Silent
from cas.settings.config import Config
from cas.sweep.far_host import FarHost
from cas.sweep.walk import Found, Joined
from cas.triage.uploading import enter_fetched
from cas.units import human_size


@dataclass(frozen=True, slots=True)
class Arrived:
    """A file that has come, in a directory of its own which is ours until it is closed."""

    job: Job
    part: Part | None
    """What grew, and is whole now; ``None``: it has its name already."""
    is_old: bool
    """An earlier sweep has fetched it, of what the host had then."""
    stack: ExitStack

    def enter(self, archive: Archive, config: Config, place: Place | None) -> Entered:
        """Have it in the archive, without an answer; the next file is fetched meanwhile.

        :param place: where it was found
        :raises NotADump: it is none, and is gone
        :raises CasError: that cannot be done now; the next sweep does it
        """
        with self.stack:
            if self.part:
                self.part.publish()
            return enter_fetched(self.job, archive, config, Silent(), place)


@dataclass(frozen=True, slots=True)
class Fetching:
    """What brings files of a host here."""

    host: FarHost
    archive: Archive
    config: Config
    progress: Progress
    received: Callable[[int], None]
    """Told how many bytes have come."""

    def arrived(self, found: Found) -> Arrived:
        """A file of the host, whole.

        :raises Broken: the connection broke; what came is kept for a day
        :raises DiskFull: there is no room; likewise
        :raises CasError: it is not to be had
        """
        address = str(self.host.url(found.path))
        with ExitStack() as stack:
            job = incoming.begun_upload(self.archive, address, stack)
            if job is None:
                order = Order(incoming.NAME, Path(), url=address, fetch=Fetch.ALL)
                now = datetime.now().astimezone()
                job = stack.enter_context(incoming.new_upload(self.archive, order, now))
            part = Part(job.directory / DOWNLOAD, self.host.url(found.path), self.config.intake)
            if isinstance(found, Joined):
                with writing_below(job.directory):
                    part.whole.parent.mkdir(mode=0o700, exist_ok=True)
                    write_whole(part.whole, found.content)
                return Arrived(job, None, False, stack.pop_all())
            if part.whole.is_file():
                return Arrived(job, None, True, stack.pop_all())
            stack.enter_context(part)
            self._download(found, job, part)
            return Arrived(job, part, False, stack.pop_all())

    def _download(self, found: Found, job: Job, part: Part) -> None:
        url = self.host.url(found.path)
        try:
            with self.host.opened(found.path, found.state) as file:
                version = stat_version(url, file)
                offset = part.had.offset if version.continues(part.had.version) else 0
                source = SftpFile(url, file, version, offset)
                part.go_on_with(source)
                with self.progress.bar(f"Fetching {url}", version.size_bytes) as advance:
                    advance(part.had.offset)
                    for data in iter(source.read, b""):
                        part.add(data)
                        advance(len(data))
                        self.received(len(data))
                size, declared = part.had.offset, version.size_bytes or 0
                if size < declared:
                    sizes = f"{human_size(size)} of {human_size(declared)}"
                    raise FetchError(f"{url}: the host sends {sizes}")
        except (TryAgain, DiskFull):
            if not part.is_resumable:
                incoming.remove_upload(job)
            raise
        except (FetchError, Refused):
            incoming.remove_upload(job)
            raise

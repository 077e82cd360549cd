"""What every step of a run uses: whom it tells, what it asks, where it writes, how long it took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from cas.catalogue import Catalogue
from cas.choices import Fetch
from cas.database.store import Store
from cas.jobs.job import Job
from cas.progress import Progress
from cas.settings.config import Config


class Context:
    """Of one run of a job.

    What a step finds out it returns; here stand only the sentences that it tells on the way.
    """

    def __init__(self, job: Job, config: Config, progress: Progress) -> None:
        """Nothing is opened yet."""
        self.directory = job.directory
        self.order = job.order
        self.config = config
        self.progress = progress
        self.store = Store.of(config)
        self.catalogue = Catalogue.of(config, self.store)
        self.problems: list[str] = []
        """Why the verdict cannot be ``complete``, in sentences."""
        self.remarks: list[str] = []
        """What a reader should know besides."""
        self.seconds: dict[str, float] = {}
        """Wall time of each stage."""

    @property
    def fetch(self) -> Fetch:
        """How much of a dump on a server is fetched."""
        return self.order.fetch or self.config.fetch

    def remark(self, text: str) -> None:
        """Tell, once, what a reader should know of how the dump was analysed: it costs nothing."""
        if text not in self.remarks:
            self.progress.warn(text)
            self.remarks.append(text)

    def note(self, remark: str) -> None:
        """The same without telling it now: it stands in the job's log and in the report."""
        self.progress.note(remark)
        self.remarks.append(remark)

    def degrade(self, problem: str) -> None:
        """Tell something that keeps the verdict from being ``complete``."""
        self.progress.warn(problem)
        self.problems.append(problem)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Note how long a stage took."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - begun

"""Analyzers over many crashes, so many at a time; they print in the order of the crashes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import field
from pathlib import Path
from typing import TypeAlias

from cas.analyzers.analyzer import Analyzer
from cas.analyzers.prepared import PreparedCrash, PreparedCrashes, renewed
from cas.analyzers.running import Ran, Runner
from cas.analyzers.unfinished import UnfinishedRun
from cas.archive.archive import Archive
from cas.archive.crash_index import IndexBehind
from cas.archive.record import Info
from cas.choices import AnalyzerKind
from cas.errors import CasError, NotPermitted
from cas.frozen import dataclass
from cas.text import one_line, short_line

Running: TypeAlias = "dict[Future[tuple[Ran, ...]], tuple[str, ExitStack]]"
"""The id of the crash on which something runs, and what keeps its files from a purge."""
_AHEAD = 1
"""Crashes that are made ready while so many as may run are running."""


@dataclass(frozen=True, slots=True)
class Analysed:
    """A crash that is done."""

    id: str
    output: Path
    """The file with what was printed."""
    failure: str | None
    """Why it counts as failed."""


@dataclass(slots=True)
class Analysis:
    """A run of analyzers over crashes."""

    archive: Archive
    analyzers: tuple[Analyzer, ...]
    """The one that is wanted behind those that it needs."""
    runner: Runner
    subjects: PreparedCrashes
    run: UnfinishedRun
    by: str
    """Who wants it."""
    at_s: int
    """When, in seconds since 1970."""
    passed_over: list[str] = field(default_factory=list)
    """Ids of crashes that have no dump on this machine."""
    away: list[str] = field(default_factory=list)
    """Those of them whose dump is in a store, where what is to run cannot read it."""
    behind: IndexBehind | None = None
    """The database could not be used for what was said; it is recorded."""

    def over(self, ids: Sequence[str], jobs: int) -> Iterator[Analysed]:
        """Run them over crashes; what is done is given in the order of the ids.

        :param jobs: runs at a time
        """
        waiting = deque(each for each in ids if each not in self.run.failures)
        running: Running = {}
        pool = ThreadPoolExecutor(jobs, "analyzer")
        try:
            for crash_id in ids:
                while crash_id not in self.run.failures and crash_id not in self.passed_over:
                    while waiting and len(running) < jobs + _AHEAD:
                        self._begin(waiting.popleft(), pool, running)
                    self._take_ended(running)
                if crash_id not in self.passed_over:
                    failure = self.run.failures[crash_id]
                    yield Analysed(crash_id, self.run.output(crash_id), failure)
        finally:
            self.runner.stopping.set()
            pool.shutdown(cancel_futures=True)
            for _, lease in running.values():
                lease.close()

    def _begin(self, crash_id: str, pool: ThreadPoolExecutor, running: Running) -> None:
        """Make a crash ready and have it run; what cannot be run is done at once."""
        lease = ExitStack()
        try:
            info = self.archive.read(crash_id)
            dump, source = self.subjects.file_of(info), None
            kinds = {each.kind for each in self.analyzers}
            if dump is None and AnalyzerKind.SHELL not in kinds:
                directory = self.runner.confinement.directory
                source = self.subjects.opened_far(info, directory, lease)
                dump = Path(info.best_file.name) if source and info.best_file else None
            if dump is None:
                is_away = info.best_file is not None and info.best_file.is_moved
                self.away += [crash_id] if is_away else []
                self.passed_over.append(crash_id)
                return
            is_for_debugger = kinds != {AnalyzerKind.SHELL}
            subject = self.subjects.of(info, dump, for_debugger=is_for_debugger, source=source)
        except CasError as error:
            lease.close()
            self.run.output(crash_id).write_bytes(b"")
            self.run.note_done(crash_id, str(error))
            return
        with suppress(CasError):  # who may not write there cannot keep it from a purge
            lease.enter_context(self.archive.using(crash_id))
        running[pool.submit(self._run_all, subject)] = crash_id, lease

    def _take_ended(self, running: Running) -> None:
        """Wait until a run has ended, and take what it gave."""
        if not running:
            return
        ended, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in ended:
            crash_id, lease = running.pop(future)
            lease.close()
            runs = future.result()
            failure = next((ran.failure for ran in runs if ran.failure), None)
            with suppress(IndexBehind):
                failure = self._record(crash_id, runs) or failure
            self.run.note_done(crash_id, failure)

    def _run_all(self, subject: PreparedCrash) -> tuple[Ran, ...]:
        """Run all analyzers on a crash, until one fails."""
        runs = list[Ran]()
        with self.run.output(subject.id).open("wb") as output:
            for analyzer in self.analyzers:
                if analyzer is self.analyzers[-1]:  # what the ones before print is of no interest
                    output.seek(0)
                    output.truncate()
                try:
                    ran = self.runner.run(analyzer, subject, output)
                except (CasError, OSError) as error:
                    ran = Ran(str(error) or type(error).__name__)
                runs.append(ran)
                if ran.failure:
                    break
                subject = renewed(subject, ran.said.applied(subject.info))
        return tuple(runs)

    def _record(self, crash_id: str, runs: Sequence[Ran]) -> str | None:
        """Record what was said of a crash, and by what; why that cannot be, if so.

        :raises IndexBehind: it is recorded, and the database does not know of it
        """
        if all(each.kind is AnalyzerKind.COMMAND for each in self.analyzers):
            return None
        try:
            with self.archive.changing(crash_id) as draft:
                info = draft.info
                for analyzer, ran in zip(self.analyzers, runs, strict=False):
                    info = self._with_run(info, analyzer, ran)
                draft.info = info
        except IndexBehind as error:
            self.behind = error
            raise
        except NotPermitted as error:  # who may only read gets what is printed
            said = any(ran.said.changes for ran in runs)
            return f"what it says of the crash is not recorded: {error}" if said else None
        except CasError as error:
            return f"what it says of the crash is not recorded: {error}"
        return None

    def _with_run(self, info: Info, analyzer: Analyzer, ran: Ran) -> Info:
        told = [ran.said.words] if ran.said.words else []
        told += [f"failed: {short_line(one_line(ran.failure), 200)}"] if ran.failure else []
        what = "; ".join(told) or "ok"
        return ran.said.applied(info).noting(
            f"analyze {analyzer.called}: {what}", self.by, self.at_s
        )

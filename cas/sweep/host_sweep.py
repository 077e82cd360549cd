"""One host, from its directories to the archive."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from paramiko import SFTPFile

from cas.archive.archive import Archive
from cas.archive.crash_index import IndexBehind
from cas.archive.keeping import Entered
from cas.archive.places import note_place
from cas.archive.record import Place
from cas.errors import CasError, DiskFull, FetchError, NotADump, NotPermitted, Refused, Shortage
from cas.fetch.source import Broken, Changed, Denied, NotThere
from cas.model.host import Host
from cas.progress import Progress
from cas.settings.config import Config
from cas.settings.rules import SweepRules
from cas.sweep.claims import Claims
from cas.sweep.far_file import FarFile
from cas.sweep.far_host import SUDO, FarHost, reached
from cas.sweep.fetching import Arrived, Fetching
from cas.sweep.joining import PARTS, logs_of_parts
from cas.sweep.judging import LOG_BYTES, Seen, Useless, seen_there, why_known
from cas.sweep.ledger import Ledger, Noted
from cas.sweep.swept import Missing, Swept
from cas.sweep.walk import Found, Kind, Left, Walk, in_order, parts_by_directory, told_together
from cas.text import one_line
from cas.units import human_size, human_span

ENDING = Broken, DiskFull, Shortage, NotPermitted, IndexBehind
"""What keeps all further files of a host from the archive, too; everything else is of one file."""
HAS_LOG = "the dump beside it has the log"
T = TypeVar("T")
GROWS = "it grows or changes: the next sweep looks again"
AHEAD = 3
"""Files that have come and wait to be in the archive, at most."""
SAVE_S = 10.0
"""Between two times that what is known of a host is written; lost, it costs kilobytes."""


@dataclass(slots=True)
class HostSweep:
    """Sweeps one host, as far as its limits allow."""

    host: Host
    archive: Archive
    config: Config
    progress: Progress
    claims: Claims
    fetches: bool
    """Otherwise nothing is changed, here or there."""
    result: Swept = field(init=False)
    _ledger: Ledger = field(init=False)
    _rules: SweepRules = field(init=False)
    _problems: dict[str, None] = field(default_factory=dict)
    _saved: float = field(default_factory=time.monotonic)
    _planned: int = 0
    """Bytes of what is missing, or was."""
    _entering: dict[str, Future[None]] = field(default_factory=dict)
    """What has come and is not in the archive yet, by its crash."""
    _told_by: dict[bytes, Kind] = field(default_factory=dict)
    """What of a directory tells of its crash, or may: beside it a lesser kind does not count."""
    _brought: set[bytes] = field(default_factory=set)
    """Paths of what is in the archive by this sweep."""
    _pool: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        self.result = Swept(self.host)
        self._rules = self.config.sweep_rules(self.host)

    def run(self) -> Swept:
        """What came of it; that it failed is told there, too."""
        begun = time.monotonic()
        self._ledger = Ledger.of(self.host, self.archive)
        try:
            try:
                self._sweep_within(self._rules.time_s)
            except Broken:  # once: what came is known by now, and a file begun is gone on with
                time.sleep(self._rules.settle_s)
                left_s = self._rules.time_s - (time.monotonic() - begun)
                if left_s <= 0:
                    raise
                self._sweep_within(left_s)
        except CasError as error:
            self.claims.give_up(self.host)
            self.result.is_index_behind = isinstance(error, IndexBehind)
            if time.monotonic() - begun >= self._rules.time_s:
                limit = human_span(self._rules.time_s)
                self._note_problem(f"it was not done within {limit}: the next sweep goes on")
            else:
                advice = f"; {error.hint}" if error.hint else ""
                self._note_problem(one_line(f"{error}{advice}"))
        self.result.seconds = time.monotonic() - begun
        if self.fetches:
            with suppress(CasError):  # it was told, and will be again
                lines = (f"{left.path}: {left.why}" for left in self.result.left)
                self.result.log = self._ledger.save_left(lines)
        return self.result

    def _sweep_within(self, time_s: float) -> None:
        with reached(self.host, replace(self._rules, time_s=time_s), self.config) as there:
            self._sweep(there)

    def _sweep(self, there: FarHost) -> None:
        walk = Walk(there)
        walk.through(self._rules.directories)
        looked = time.monotonic()
        result = self.result
        result.files, result.left, result.known = len(walk.found), walk.left, 0
        result.missing = [each for each in result.missing if each.is_fetched]
        self._planned = sum(each.size_bytes for each in result.missing)
        for problem in walk.problems:
            self._note_problem(problem)
        self._ledger.keep_only(walk.found)
        self._pool = ThreadPoolExecutor(1, "entering")
        try:
            for found in self._unknown(walk.found):
                self._settle(looked)
                self._judge(found, there)
            for parts in self._unknown_parts(walk.found):
                self._settle(looked)
                self._judge_parts(parts, there)
            for crash in [*self._entering]:
                self._await_entering(crash)
        finally:
            self._pool.shutdown()  # what has come is not lost
            for entering in self._entering.values():
                if error := entering.exception():
                    self._note_problem(one_line(str(error) or type(error).__name__))
            self._entering.clear()
            self._save()

    def _settle(self, looked: float) -> None:
        """Wait for the second look, until what is being written has had time to grow."""
        time.sleep(max(0.0, looked + self._rules.settle_s - time.monotonic()))

    def _unknown(self, found: list[Found]) -> Iterator[Found]:
        """Files that are to be looked at; a log only where no dump beside it tells more."""
        self._told_by.clear()
        for each in in_order(found):
            beside = self._told_by.get(each.directory)
            if each.kind is Kind.LOG and beside is Kind.DUMP:
                self._leave(each, HAS_LOG)
                continue
            noted = self._known(each)
            if noted is None:
                yield each
                noted = self._known(each)
            else:
                self._count(each, noted)
            # of one that is not judged yet, such as one that grows, the next sweep will know
            if noted is None or noted.crash:
                self._told_by[each.directory] = beside or each.kind

    def _unknown_parts(self, found: list[Found]) -> Iterator[list[Found]]:
        """Parts of kernel logs that are to be looked at, all of a directory: where nothing beside
        them has the log."""
        for directory, parts in parts_by_directory(found).items():
            noted = [self._known(each) for each in parts]
            beside = self._told_by.get(directory)
            if beside is None and not all(noted):
                yield parts
                continue
            for each, known in zip(parts, noted, strict=True):
                if beside:
                    why = HAS_LOG if beside is Kind.DUMP else "the log beside it has all parts"
                    self._leave(each, why)
                elif known:
                    self._count(each, known)

    def _count(self, found: Found, noted: Noted) -> None:
        """Count a file that was judged before."""
        if noted.crash:
            self.result.known += found.path not in self._brought
        elif noted.why:
            self._leave(found, noted.why)

    def _known(self, found: Found) -> Noted | None:
        """What was noted of a file that is as it was, and whose crash the archive knows."""
        noted = self._ledger.known(found)
        is_lost = noted and noted.crash and not self.archive.has_record(noted.crash)
        return None if is_lost else noted

    def _judge(self, found: Found, there: FarHost) -> None:
        url = there.url(found.path)
        if seen := self._looked(found, there, lambda file: seen_there(found, file, url)):
            self.result.read_bytes += seen.read_bytes
            self._decide_alone(found, seen, there)

    def _judge_parts(self, parts: list[Found], there: FarHost) -> None:
        """Judge the kernel logs that the files of a directory make up, if all can be read."""
        read, left_bytes = list[tuple[Found, bytes]](), LOG_BYTES
        for each in parts[:PARTS]:
            size = each.state.size_bytes
            if size > left_bytes:
                self._leave(
                    each, f"it and the others beside it have more than {human_size(LOG_BYTES)}"
                )
                continue
            content = self._looked(each, there, partial(_content, each, there))
            if content is None:
                return
            read.append((each, content))
            left_bytes -= size
            self.result.read_bytes += size
        for each in parts[PARTS:]:
            self._leave(each, f"more than {PARTS:,} parts lie beside it")
        for log, seen in logs_of_parts(read):
            if isinstance(seen, Seen):
                self._decide_alone(log, seen, there)
            else:
                self._leave_useless(log, seen)

    def _looked(self, found: Found, there: FarHost, look: Callable[[SFTPFile], T]) -> T | None:
        """What a look into a file gives; ``None``: it is left, which is told."""
        try:
            with there.opened(found.path, found.state) as file:
                return look(file)
        except Useless as error:
            self._leave_useless(found, f"{error}: {error.hint}" if error.hint else str(error))
        except (Changed, NotThere):
            self._leave(found, GROWS)
        except Denied:
            self._leave(found, "it is closed to this user")
            self._note_problem(f"files are closed to this user: {SUDO}")
        except FetchError as error:
            self._leave_unread(found, error)
        return None

    def _leave_useless(self, found: Found, why: str) -> None:
        """Leave a file for good."""
        for each in found.files:
            self._leave(each, why)
        self._note(found, None, why)

    def _note(self, found: Found, crash: str | None, why: str | None = None) -> None:
        for each in found.files:
            self._ledger.note(each, crash, why)

    def _decide_alone(self, found: Found, seen: Seen, there: FarHost) -> None:
        """Decide on a file; that this fails keeps no other one away."""
        self._await_entering(seen.crash_id)
        try:
            self._decide(found, seen, there)
        except ENDING:
            raise
        except CasError as error:  # such as a record here that is damaged
            self._leave_unread(found, error)

    def _decide(self, found: Found, seen: Seen, there: FarHost) -> None:
        if known := why_known(found, seen, self.archive):
            self._note_known(found, seen, known)
        elif why := self.claims.take(self.host, found, seen):
            self._leave(found, why)
        elif self._has_room_for(found):
            self._bring(found, seen, there)

    def _note_known(self, found: Found, seen: Seen, why: str) -> None:
        self.result.known += len(found.files)
        self._note(found, seen.crash_id)
        if self.fetches:
            note_place(self.archive, seen.crash_id, self._place_of(found))
            self._save_now_and_then()
        self.progress.note(f"{self.host}: {found.shown}: {why}")

    def _has_room_for(self, found: Found) -> bool:
        """Whether a file is within the limit of bytes."""
        limit, size = self._rules.size_bytes, found.state.size_bytes
        if size > limit:
            self._leave(found, f"it is larger than {human_size(limit)}, `bytes` of cas.conf")
            self._note_problem("a file is larger than `bytes` of cas.conf allows")
            return False
        if self._planned + size > limit:
            said = f"{human_size(limit)} are enough for one sweep: the next one goes on"
            self._leave(found, said)
            return False
        return True

    def _bring(self, found: Found, seen: Seen, there: FarHost) -> None:
        """Fetch a file; it comes into the archive while the next one is fetched."""
        missing = Missing(found.shown, found.state.size_bytes, seen.crash_id)
        self._planned += found.state.size_bytes
        if not self.fetches:
            self.result.missing.append(missing)
            return
        fetching = Fetching(there, self.archive, self.config, self.progress, self._received)
        try:
            with self._timed():
                arrived = fetching.arrived(found)
        except Changed:
            self._leave(found, GROWS)
            return
        except ENDING:
            self.result.missing.append(missing)
            raise
        except (FetchError, Refused) as error:
            self._leave_unread(found, error)
            return
        self._entering[seen.crash_id] = self._pool.submit(self._enter, found, arrived, missing)
        if len(self._entering) > AHEAD:
            self._await_entering(next(iter(self._entering)))

    def _enter(self, found: Found, arrived: Arrived, missing: Missing) -> None:
        """Have a file that has come in the archive; that this failed is told, and ends the host."""
        place = self._place_of(found)
        try:
            entered = arrived.enter(self.archive, self.config, None if arrived.is_old else place)
            if arrived.is_old and self._is_another(found, entered, missing):
                return
            if arrived.is_old:
                note_place(self.archive, entered.info.id, place)
        except NotADump as error:
            self._leave_useless(found, str(error))
            return
        except ENDING:
            self.result.missing.append(missing)
            raise
        except CasError as error:
            self.result.missing.append(missing)
            self._leave_unread(found, error)
            return
        crash, digest = entered.info.id, entered.file.digest
        self.result.missing.append(replace(missing, crash=crash, is_fetched=True, digest=digest))
        self._note(found, crash)
        self._brought.update(each.path for each in found.files)
        if entered.behind:  # each further one would wait for the database as long
            raise entered.behind
        self._save_now_and_then()

    def _is_another(self, found: Found, entered: Entered, missing: Missing) -> bool:
        """Whether what came before is not what is there by now; it is in the archive all the same,
        and the next sweep looks at the file again.
        """
        came = entered.info.id, entered.file.size_bytes
        if came == (missing.crash, missing.size_bytes):
            return False
        self.result.missing.append(missing)
        what = f"what an earlier sweep fetched of it is in the archive now, as one of {came[0]}"
        self._leave(found, f"{what}: the next sweep fetches what is there by now")
        return True

    def _await_entering(self, crash: str) -> None:
        """Wait until a crash is in the archive, if a file of it has come.

        :raises CasError: it could not be entered
        """
        if entering := self._entering.pop(crash, None):
            with self._timed():
                entering.result()

    @contextmanager
    def _timed(self) -> Iterator[None]:
        begun = time.monotonic()
        try:
            yield
        finally:
            self.result.fetch_s += time.monotonic() - begun

    def _place_of(self, found: Found) -> Place:
        state = found.state
        return Place(
            host=str(self.host),
            path=found.shown,
            size_bytes=state.size_bytes,
            modified_s=state.modified_s,
            uid=state.uid,
            gid=state.gid,
        )

    def _save_now_and_then(self) -> None:
        if time.monotonic() - self._saved > SAVE_S:
            self._save()

    def _received(self, size: int) -> None:
        self.result.fetched_bytes += size

    def _leave_unread(self, found: Found, error: CasError) -> None:
        """Leave a file that the host does not give, or that is too much for us."""
        advice = f"; {error.hint}" if error.hint else ""
        why = one_line(f"{error}{advice}")
        self._leave(found, why)
        self._note_problem(why)

    def _leave(self, found: Found, why: str) -> None:
        self.result.left.append(Left(found.shown, why))

    def _note_problem(self, problem: str) -> None:
        self._problems[problem] = None
        self.result.problem = told_together(self._problems)

    def _save(self) -> None:
        if self.fetches:
            self._ledger.save()
            self._saved = time.monotonic()


def _content(found: Found, there: FarHost, file: SFTPFile) -> bytes:
    size = found.state.size_bytes
    return FarFile(file, there.url(found.path), size, LOG_BYTES).read(0, size)

"""Which dumps of the archive go by rules of age and size, and why each other one stays.

What goes is decided by the index and a look at each file that may go; whoever removes something
asks the crash's own record once more (:mod:`cas.archive.emptying`).
"""

from __future__ import annotations

import json
import os
import stat
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import msgspec

from cas.archive.archive import Archive
from cas.archive.crash_directories import BLOCK_BYTES, FILES
from cas.archive.freeing import AWAITED, LOG_FORMAT, dumps_in, is_elsewhere
from cas.archive.record import ToldFile, file_rank
from cas.choices import UNFINISHED, Verdict
from cas.errors import CasError
from cas.files.lease import is_held
from cas.frozen import dataclass
from cas.jobs.job import load_job
from cas.jobs.lock import worked_on
from cas.jobs.work_directory import Kind, WorkDirectory
from cas.model.archived import EVERY, CrashLine, Selection
from cas.settings.config import Config
from cas.units import typed_size

_DAY_S = 24 * 60 * 60
_NAMING = ("top_3", "title")
"""Granularities of the signature by which crashes are the same here, the first that there is."""


class Stays(StrEnum):
    """Why a crash keeps its files, as it is counted."""

    NO_FILE = "without a file here"
    YOUNG = "not old enough"
    SMALL = "not large enough"
    HELD = "held"
    TICKETED = "with a ticket that was set"
    UNFINISHED = "with a job that waits, was stopped or is under way"
    WAITING = "that wait for a kernel, or whose first answer was stopped"
    IN_USE = "in use"
    FOREIGN = "with a job that is not ours"
    EXEMPLAR = "the best of their signature"
    DOUBTED = "whose age is in doubt"
    ENOUGH = "not needed for the room that is wanted"
    NEEDED = "needed by now"
    FAILED = "that could not be removed"


@dataclass(frozen=True, slots=True)
class Rules:
    """What goes: crashes for which all of this holds."""

    selection: Selection = EVERY
    older_s: int | None = None
    """Seconds since the newest file of a crash came and any job of it was changed, at least."""
    larger_bytes: int | None = None
    """Of its files together, at least one more than this."""
    keeps_exemplars: bool = False
    """The best file of every signature stays."""

    @classmethod
    def of(cls, config: Config) -> Self:
        """Those of cas.conf, for when room is needed: no signature loses its best file."""
        asked = config.retention
        older_s = asked.older_s
        if older_s is None:
            older_s = config.purge_limit_days * _DAY_S
        return cls(older_s=older_s, larger_bytes=asked.larger_bytes, keeps_exemplars=True)

    @property
    def command(self) -> str:
        """What removes by these rules, but for a specification."""
        words = ["cas-admin", "purge"]
        if self.older_s is not None:
            days, rest_s = divmod(self.older_s, _DAY_S)
            words += ["--older", f"{self.older_s}s" if rest_s else f"{days}d"]
        if self.larger_bytes is not None:
            words += ["--larger", typed_size(self.larger_bytes)]
        words += ["--keep-exemplar"] if self.keeps_exemplars else []
        return " ".join((*words, "--delete"))

    @property
    def asks_the_clock(self) -> bool:
        """Whether a clock that is wrong makes something go that should not."""
        asked = self.selection
        ages = (asked.added_after_s, asked.added_before_s, asked.crashed_after_s, self.older_s)
        return any(age is not None for age in ages)


@dataclass(frozen=True, slots=True)
class Going:
    """A crash whose files go."""

    line: CrashLine
    size_bytes: int
    """Of its files, as they were stored."""
    freed_bytes: int
    """Of the disk: what has a name elsewhere frees nothing."""
    youngest_s: int
    """When the newest file or job of it came, in seconds since 1970."""
    exemplar: str | None = None
    """The id of the crash that has the best file of its signature, where that has to stay."""


@dataclass(frozen=True, slots=True)
class Staying:
    """A crash that keeps its files."""

    line: CrashLine
    reason: Stays
    why: str
    """The same of this crash, e.g. which ticket was set."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes, oldest first, and what stays."""

    goes: tuple[Going, ...]
    stays: tuple[Staying, ...]

    @property
    def freed_bytes(self) -> int:
        """Of the disk, once all of it is gone."""
        return sum(one.freed_bytes for one in self.goes)

    @property
    def reasons(self) -> Counter[Stays]:
        """How many stay for which reason."""
        return Counter(one.reason for one in self.stays)

    def keeping(self, reason: Stays, kept: Iterable[tuple[Going, str]]) -> Plan:
        """The same, but that some stay for a reason."""
        whys = {one.line.id: why for one, why in kept}
        stays = [
            Staying(one.line, reason, whys[one.line.id]) for one in self.goes if one.line.id in whys
        ]
        goes = tuple(one for one in self.goes if one.line.id not in whys)
        return Plan(goes, (*self.stays, *stays))


class _Signatures(msgspec.Struct, frozen=True):
    top_3: str | None = None
    title: str | None = None


class _Indexed(msgspec.Struct, frozen=True):
    """What of a row of the index is asked here."""

    files: tuple[ToldFile, ...] = ()
    jobs: tuple[str, ...] = ()
    hold: tuple[str, ...] = ()
    set_tickets: tuple[str, ...] = ()
    verdict: str | None = None
    signatures: _Signatures | None = None


@dataclass(slots=True)
class _Crash:
    """A crash as the index has it."""

    line: CrashLine
    added_s: int
    known: _Indexed
    here: tuple[ToldFile, ...] = ()
    """Files that are ours to remove."""
    jobs: list[str] = field(default_factory=list)
    """Directories of its jobs that are there."""
    youngest_s: int = 0

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.here)

    @property
    def signature(self) -> str | None:
        names = self.known.signatures
        return (names.top_3 or names.title) if names else None


@dataclass(frozen=True, slots=True)
class Retention:
    """What is needed to decide."""

    archive: Archive
    work: WorkDirectory
    now_s: int

    def plan(self, rules: Rules) -> Plan:
        """What goes by rules, oldest first, and why each other crash that they are about stays.

        :raises TryAgain: the database is of no use now
        """
        crashes = list(self._read(EVERY if rules.keeps_exemplars else rules.selection))
        asked = crashes
        if rules.keeps_exemplars and rules.selection != EVERY:
            meant = {line.id for line in self.archive.store.crashes.lines(rules.selection)}
            asked = [one for one in crashes if one.line.id in meant]
        stays, left = list[Staying](), list[_Crash]()
        for one in asked:
            reason, why = self._kept_by_record(one, rules)
            if reason:
                stays.append(Staying(one.line, reason, why))
            else:
                left.append(one)
        left = list(self._free_of_jobs(left, rules, stays))
        exemplars = dict[str, str]()
        if rules.keeps_exemplars:
            exemplars = self._exemplars(crashes, left)
            best = set(exemplars.values())
            for one in left:
                if one.line.id in best:
                    why = f"the best file of the signature {one.signature}"
                    stays.append(Staying(one.line, Stays.EXEMPLAR, why))
            left = [one for one in left if one.line.id not in best]
        goes = [
            Going(
                one.line,
                one.size_bytes,
                own_bytes(self._names_of(one)),
                one.youngest_s,
                exemplars.get(one.signature or ""),
            )
            for one in left
        ]
        goes.sort(key=lambda one: (one.youngest_s, one.line.id))
        return Plan(tuple(goes), tuple(stays))

    def _read(self, selection: Selection) -> Iterator[_Crash]:
        for line, added_s, text in self.archive.store.crashes.records(selection):
            try:
                known = _DECODER.decode(text)
            except (msgspec.MsgspecError, ValueError):  # surrogates of names that are no text
                known = msgspec.convert(json.loads(text), _Indexed)
            here = tuple(
                file for file in known.files if file.purged_s is None and not is_elsewhere(file)
            )
            youngest = max((file.added_s for file in known.files), default=added_s)
            yield _Crash(line, added_s, known, here, youngest_s=youngest)

    def _kept_by_record(self, one: _Crash, rules: Rules) -> tuple[Stays | None, str]:
        """What of a crash's record keeps its files."""
        known = one.known
        if not one.here:
            return Stays.NO_FILE, "it has no file here"
        if rules.larger_bytes is not None and one.size_bytes <= rules.larger_bytes:
            return Stays.SMALL, "it is not large enough"
        if self._is_young(one.youngest_s, rules):
            return Stays.YOUNG, "it is not old enough"
        if known.hold:
            return Stays.HELD, f"held by {', '.join(known.hold)}"
        if known.set_tickets:
            return Stays.TICKETED, f"the ticket {', '.join(known.set_tickets)} was set"
        if known.verdict in UNFINISHED and not known.jobs:
            return Stays.WAITING, AWAITED
        return None, ""

    def _is_young(self, came_s: float, rules: Rules) -> bool:
        return rules.older_s is not None and came_s > self.now_s - rules.older_s

    def _free_of_jobs(
        self, crashes: Sequence[_Crash], rules: Rules, stays: list[Staying]
    ) -> Iterator[_Crash]:
        """Crashes that nobody uses and no job needs; for the others it is told why."""
        verdicts, times = self._of_jobs() if any(one.known.jobs for one in crashes) else ({}, {})
        for one in crashes:
            one.jobs = [place for name in one.known.jobs if (place := self._place_of(name))]
        busy = worked_on(Path(place) for one in crashes for place in one.jobs)
        for one in crashes:
            reason, why = None, ""
            for place in one.jobs:
                reason, why = self._kept_by_job(one, place, verdicts, busy)
                if reason:
                    break
                with suppress(OSError):
                    changed_s = int(os.lstat(place).st_mtime)
                    began_s = int(times[place].timestamp()) if place in times else 0
                    one.youngest_s = max(one.youngest_s, changed_s, began_s)
            if not reason and one.jobs and self._is_young(one.youngest_s, rules):
                reason, why = Stays.YOUNG, "a job of it is not old enough"
            if not reason and is_held(self.archive.directory_of(one.line.id)):
                reason, why = Stays.IN_USE, "it is in use"
            if reason:
                stays.append(Staying(one.line, reason, why))
            else:
                yield one

    def _of_jobs(self) -> tuple[Mapping[str, Verdict], Mapping[str, datetime]]:
        rows = self.archive.store.jobs
        verdicts = {str(place): verdict for place, verdict in rows.verdicts().items()}
        return verdicts, {str(place): time for place, time in rows.times().items()}

    def _place_of(self, name: str) -> str | None:
        """The directory of a job, where there is something."""
        place = f"{self.archive.work_directory}/{name}"
        return place if os.path.lexists(place) else None

    def _kept_by_job(
        self, one: _Crash, place: str, verdicts: Mapping[str, Verdict], busy: set[Path]
    ) -> tuple[Stays | None, str]:
        directory = Path(place)
        name = f"{directory.parent.name}/{directory.name}"
        if why := foreign(self.work, directory):
            return Stays.FOREIGN, f"the job {name} is left alone: {why}"
        if directory in busy:
            return Stays.IN_USE, f"a run is working in the job {name}"
        verdict = verdicts.get(place)
        is_log = any(file.format == LOG_FORMAT for file in one.here)
        if verdict is None or is_log:  # of a log only job.json says whether it waits
            try:
                is_unfinished = load_job(directory).is_unfinished
            except CasError as error:
                return Stays.FOREIGN, str(error)
        else:
            is_unfinished = verdict in UNFINISHED
        if is_unfinished:
            return Stays.UNFINISHED, f"the job {name} waits, was stopped or is under way"
        return None, ""

    def _exemplars(self, crashes: Sequence[_Crash], left: Sequence[_Crash]) -> dict[str, str]:
        """The crash with the best file of each signature of which something may go.

        Of files that are as good those that stay anyway count, then the newest.
        """
        wanted = {one.signature for one in left} - {None}
        going = {one.line.id for one in left}
        of_signature = defaultdict[str, list[_Crash]](list)
        for one in crashes:
            if one.here and one.signature in wanted:
                of_signature[one.signature or ""].append(one)

        def rank(one: _Crash) -> tuple[Any, ...]:
            best = max(map(quality, one.here))
            return (*best, one.line.id not in going, one.youngest_s, one.line.id)

        found = {}
        for name, some in of_signature.items():
            for one in sorted(some, key=rank, reverse=True):
                if self.has_best_file(one.line.id, one.here):
                    found[name] = one.line.id
                    break
        return found

    def has_best_file(self, crash_id: str, files: Iterable[ToldFile]) -> bool:
        """Whether the best of a crash's files is there, with the size that it was stored with."""
        best = max(files, key=file_rank, default=None)
        if best is None:
            return False
        try:
            state = os.lstat(self._path_of(crash_id, best))
        except OSError:
            return False
        return stat.S_ISREG(state.st_mode) and state.st_size == best.size_bytes

    def _path_of(self, crash_id: str, file: ToldFile) -> str:
        if file.at is not None:
            return f"{self.archive.work_directory}/{file.at}"
        digest = (file.digest or "").partition(":")[2]
        return f"{self.archive.directory_of(crash_id)}/{FILES}/{digest}"

    def _names_of(self, one: _Crash) -> list[str]:
        """All names of a crash's files that go, in the archive and in its jobs."""
        places = (place for job in one.jobs for place in dumps_in(job))
        return [*dict.fromkeys((*(self._path_of(one.line.id, file) for file in one.here), *places))]


_DECODER = msgspec.json.Decoder(_Indexed)


def quality(file: ToldFile) -> tuple[Any, ...]:
    """By what the best file of a signature is chosen: whole, then least filtered."""
    return file_rank(file)[1:5]


def foreign(work: WorkDirectory, directory: Path) -> str | None:
    """Why the directory of a job is not ours; ``None``: it is."""
    for entry in work.entries(directory.parent.name):
        if entry.path == directory.parent:
            return entry.why
        if entry.path == directory:
            return None if entry.kind is Kind.JOB else entry.why or entry.kind.value
    return "it is not there"


def own_bytes(names: Iterable[str]) -> int:
    """Bytes of the disk that go with all of these names; a file that has another keeps its own."""
    number, found = Counter[tuple[int, int]](), dict[tuple[int, int], os.stat_result]()
    for name in names:
        with suppress(OSError):
            state = os.lstat(name)
            file = state.st_dev, state.st_ino
            number[file] += 1
            found[file] = state
    return sum(
        state.st_blocks * BLOCK_BYTES
        for file, state in found.items()
        if number[file] >= state.st_nlink
    )

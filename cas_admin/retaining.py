"""Dumps of the archive go by rules of age and size: what would go, then, if wanted, what went."""

from __future__ import annotations

import argparse
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import field, replace
from datetime import UTC, datetime
from typing import Any

from cas.archive.archive import Archive
from cas.archive.constraints import Garbage, age_s
from cas.archive.crash_directories import NotArchived, is_crash_id
from cas.archive.emptying import empty_crash
from cas.archive.freeing import StillNeeded, is_elsewhere, remove_leftovers
from cas.archive.record import Change
from cas.archive.retention import Going, Plan, Retention, Rules, Staying, Stays
from cas.catalogue.cache import clock
from cas.catalogue.cache.clock import SLACK, Belief, Trace
from cas.commands import Done, Output, World
from cas.commands.archive_access import opened_archive
from cas.commands.crash_lines import COLUMNS, ls_columns, ls_table
from cas.commands.crash_listing import tell_unknown
from cas.commands.crash_spec import chosen_crashes
from cas.errors import CasError, Refused, TryAgain, UsageError
from cas.files.whole import writing_below
from cas.frozen import dataclass
from cas.jobs.work_directory import WorkDirectory
from cas.model.archived import EVERY
from cas.settings.person import person
from cas.text import json_text
from cas.units import bytes_of, human_size
from cas_admin.ageing import Records, row_traces
from cas_admin.archive_purging import LEFTOVER
from cas_admin.archive_room import Level

VERSION = 1
PARTIAL = 3
LOCK = "purging"
"""In the archive: one purge by rules at a time, or each could rely on what the other removes."""
ENOUGH = "the room that is wanted is there without it"
QUESTION = "Is the clock right, so that these are as old as they seem? [Y/y/N/n]: "
ASK = "look at the clock; on a terminal the same command asks and removes them"
_NOTE_LIMIT = 1 << 20
_HOUR_S = 60 * 60
"""Of the crashes that came within so many seconds one is a trace."""


def purge_archive(options: argparse.Namespace, world: World) -> Output:
    """List which dumps of the archive would go by the rules of the command line, or remove them.

    :raises UsageError: there is no rule, or one of them cannot be meant
    :return: status 3 where the low water mark is not reached
    :raises CasError: something could not be removed
    :raises Refused: nothing goes, since the clock may be wrong
    :raises TryAgain: another such purge is at work, or the database is of no use now
    """
    archive = opened_archive(world)
    rules = _rules_of(options, world, archive)
    level = Level.of(archive.path, world.config.retention) if options.pressure else None
    retaining = Retaining(archive, WorkDirectory.of(world.config), rules, world, level)
    for line in retaining.work.skipped():
        world.progress.warn(line)
    if not options.delete:
        yield from _told(retaining.as_far_as_needed(), options, level, is_dry=True)
        return 0
    with alone_in(archive) as note:
        retaining.finish(note)
        plan = _asked(retaining, retaining.plan_if_pressed())
        removed = Removed(stays=list(plan.stays))
        for line in retaining.remove(plan, removed, note):
            if not options.json:
                yield Done(line)
    yield from _told(removed.plan, options, level, is_dry=False)
    if failed := removed.plan.reasons[Stays.FAILED]:
        raise CasError(f"{failed} of {failed + len(removed.goes)} could not be removed")
    return PARTIAL if level and level.is_pressed and level.lacks_bytes() else 0


def _older_s(text: str) -> int:
    """Seconds of ``--older``; a bare number would be of seconds, and is meant as days.

    :raises Garbage: it has no unit
    """
    if text.isdecimal():
        raise Garbage(f"--older {text} has no unit", hint=f"for example: --older {text}d")
    return age_s(text)


def _asked(retaining: Retaining, plan: Plan) -> Plan:
    """A plan, with what is in doubt where somebody is there and says that the clock is right.

    :raises Refused: all that would go is in doubt
    """
    world = retaining.world
    doubted = [one for one in plan.stays if one.reason is Stays.DOUBTED]
    is_answered = False
    if doubted:
        world.progress.warn(f"{doubted[0].why}: {crashes(len(doubted))} may be young")
        if world.is_interactive:
            is_answered = world.ask(QUESTION).strip().lower() == "y"
        plan = retaining.believing(plan) if is_answered else plan
    retaining.leave_trace(is_answered=is_answered)
    if doubted and not plan.goes:
        raise Refused(f"nothing was purged: {doubted[0].why}", hint=ASK)
    return plan


def _told(
    plan: Plan, options: argparse.Namespace, level: Level | None, *, is_dry: bool
) -> Iterator[str]:
    """A plan, or what came of it."""
    if options.json:
        yield json_text(_facts(plan, level, is_dry=is_dry), indent=1)
        return
    if level:
        yield str(level)
    if level and not level.is_pressed:
        return
    if is_dry:
        cells = ((*ls_columns(one.line), human_size(one.freed_bytes)) for one in plan.goes)
        yield from ls_table((*COLUMNS, "frees"), cells)
    if options.verbose:
        yield from (f"{one.line.id} stays: {one.why}" for one in plan.stays)
    reasons = ", ".join(f"{number:,} {reason}" for reason, number in plan.reasons.most_common())
    if reasons:
        yield f"{crashes(len(plan.stays))} {'stays' if len(plan.stays) == 1 else 'stay'}: {reasons}"
    freed = human_size(plan.freed_bytes)
    lacks_bytes = level.lacks_bytes(plan.freed_bytes if is_dry else 0) if level else 0
    if not is_dry:
        yield f"{freed} freed"
    elif plan.goes:
        yield f"{crashes(len(plan.goes))} would go, {freed} be freed; --delete removes them"
    else:
        yield "nothing would go"
    if lacks_bytes:
        yield (
            f"! {human_size(lacks_bytes)} more {'would be' if is_dry else 'are'} needed to reach "
            "archiveLowWater, and nothing else may go by these rules: make room otherwise, or see "
            "purgeOlder and purgeLarger in cas.conf(5)"
        )


def _facts(plan: Plan, level: Level | None, *, is_dry: bool) -> dict[str, Any]:
    """The same for programs."""
    goes = [
        {"id": one.line.id, "size_bytes": one.size_bytes, "freed_bytes": one.freed_bytes}
        for one in plan.goes
    ]
    stays = [
        {"id": one.line.id, "reason": one.reason.name.lower(), "why": one.why} for one in plan.stays
    ]
    freed = {"freed_bytes": plan.freed_bytes}
    found = {"version": VERSION, "is_dry": is_dry, "goes": goes, "stays": stays, **freed}
    if level:
        found["is_pressed"] = level.is_pressed
        found["lacks_bytes"] = level.lacks_bytes(plan.freed_bytes if is_dry else 0)
    return found


def crashes(number: int) -> str:
    """So many crashes, in words."""
    return f"{number:,} {'crash' if number == 1 else 'crashes'}"


@dataclass(slots=True)
class Note:
    """Where a purge says which crashes it empties: the next one ends that if it is stopped."""

    descriptor: int | None
    """``None``: there is nothing to purge."""
    begun: list[str] = field(default_factory=list)
    """Ids of crashes that were not emptied to the end."""

    def read(self) -> list[str]:
        """The crashes that somebody was emptying who was stopped."""
        if self.descriptor is not None:
            found = os.pread(self.descriptor, _NOTE_LIMIT, 0).decode("ascii", "replace").split()
            self.begun = [*filter(is_crash_id, found)]
        return list(self.begun)

    @contextmanager
    def naming(self, crash_id: str) -> Iterator[None]:
        """Say that a crash is emptied, until it is, or has to stay; on a full disk nobody does."""
        self.begun.append(crash_id)
        self._write()
        try:
            yield
        except (StillNeeded, NotArchived):
            self.forget(crash_id)
            raise
        self.forget(crash_id)

    def forget(self, crash_id: str) -> None:
        """Say that nothing is left of it to be done."""
        self.begun = [each for each in self.begun if each != crash_id]
        self._write()

    def _write(self) -> None:
        content = "".join(f"{each}\n" for each in self.begun).encode()
        with suppress(OSError):
            if self.descriptor is not None:
                os.pwrite(self.descriptor, content, 0)
                os.ftruncate(self.descriptor, len(content))


@contextmanager
def alone_in(archive: Archive) -> Iterator[Note]:
    """Have purges by rules one after another; the kernel lets go of the lock if we die.

    :raises TryAgain: another one is at work, or nothing can be written there
    """
    path = archive.path / LOCK
    if not archive.path.is_dir():  # of nothing nothing goes
        yield Note(None)
        return
    with writing_below(archive.path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TryAgain("another purge of the archive is at work") from error
        yield Note(descriptor)
    finally:
        os.close(descriptor)


@dataclass(slots=True)
class Removed:
    """What came of a plan that was carried out."""

    goes: list[Going] = field(default_factory=list)
    """What is gone, with what that has freed."""
    stays: list[Staying] = field(default_factory=list)

    @property
    def plan(self) -> Plan:
        """The same in the form of a plan."""
        return Plan(tuple(self.goes), tuple(self.stays))


@dataclass(frozen=True, slots=True)
class Retaining:
    """A purge of the archive by rules."""

    archive: Archive
    work: WorkDirectory
    rules: Rules
    world: World
    level: Level | None = None
    """How full the file system is, where that decides how much goes."""

    @property
    def _retention(self) -> Retention:
        return Retention(self.archive, self.work, int(self.world.now.timestamp()))

    def plan(self) -> Plan:
        """What goes by the rules; nothing of which a clock that is wrong may have made the age."""
        plan = self._retention.plan(self.rules)
        if not self.rules.asks_the_clock or not plan.goes:
            return plan
        belief = self._belief()
        since_s = belief.since.timestamp()
        doubted = [(one, str(belief.doubt)) for one in plan.goes if one.youngest_s < since_s]
        return plan.keeping(Stays.DOUBTED, doubted) if belief.doubt else plan

    def plan_if_pressed(self) -> Plan:
        """The same; nothing goes, and nothing is said to stay, where there is room enough."""
        return Plan((), ()) if self.level and not self.level.is_pressed else self.plan()

    def as_far_as_needed(self) -> Plan:
        """The same, without what need not go once the low water mark is reached."""
        plan = self.plan_if_pressed()
        if self.level is None:
            return plan
        enough, freed_bytes = [], 0
        for one in plan.goes:
            if not self.level.lacks_bytes(freed_bytes):
                enough.append((one, ENOUGH))
            freed_bytes += one.freed_bytes
        return plan.keeping(Stays.ENOUGH, enough)

    def believing(self, plan: Plan) -> Plan:
        """The same where somebody has looked at the clock: what was in doubt goes, too."""
        return self._retention.plan(self.rules) if plan.reasons[Stays.DOUBTED] else plan

    def leave_trace(self, *, is_answered: bool) -> None:
        """Leave a trace of this purge, as `Purging.leave_trace` does."""
        with suppress(CasError):
            if is_answered:
                self.archive.store.builds.forget_after(self.world.now + SLACK)
            self.archive.store.builds.note_purge(is_answered=is_answered)

    def finish(self, note: Note) -> None:
        """End what somebody began who was stopped: files go that are recorded as purged."""
        for crash_id in note.read():
            try:
                for path, _ in remove_leftovers(self.archive, crash_id, self.world.now.timestamp()):
                    self.world.progress.say(f"removed {path}, {LEFTOVER}")
            except NotArchived:
                pass
            except (OSError, CasError) as error:
                self.world.progress.warn(f"what was left of the crash {crash_id}: {error}")
                continue
            note.forget(crash_id)

    def remove(self, plan: Plan, removed: Removed, note: Note) -> Iterator[str]:
        """Carry a plan out; what cannot go does not keep the others.

        :return: a line for each crash whose files are gone
        """
        for one in plan.goes:
            if self.level and not self.level.lacks_bytes():
                removed.stays.append(Staying(one.line, Stays.ENOUGH, ENOUGH))
                continue
            try:
                self._require_exemplar(one)
                with note.naming(one.line.id):
                    freed = self._empty(one)
            except NotArchived:  # another purge was faster
                continue
            except StillNeeded as error:
                removed.stays.append(Staying(one.line, Stays.NEEDED, str(error)))
            except (OSError, CasError) as error:
                why = (isinstance(error, OSError) and error.strerror) or str(error)
                removed.stays.append(Staying(one.line, Stays.FAILED, why))
                self.world.progress.warn(f"files of the crash {one.line.id}: {why}")
            else:
                removed.goes.append(replace(one, freed_bytes=freed))
                yield f"removed files of the crash {one.line.id}  {human_size(freed)}"

    def _require_exemplar(self, one: Going) -> None:
        """Make sure that the best file of the signature is still there.

        :raises StillNeeded: it is not
        """
        if one.exemplar is None:
            return
        with suppress(CasError):
            files = self.archive.read(one.exemplar).files
            here = [each for each in files if each.purged_s is None and not is_elsewhere(each)]
            if self._retention.has_best_file(one.exemplar, here):
                return
        raise StillNeeded(f"the crash {one.exemplar}, the best of its signature, is gone")

    def _empty(self, one: Going) -> int:
        by = person(self.world.environment, self.world.config)
        note = Change(at_s=int(self.world.now.timestamp()), by=by, what="purge")
        freed = empty_crash(self.archive, self.work, one.line.id, one.youngest_s, note)
        if freed.behind:
            self.world.progress.warn(f"{freed.behind}; {freed.behind.hint}")
        return freed.size_bytes

    def _belief(self) -> Belief:
        """How far back the clock is believed, by what the database knows to have been done here."""
        store, now = self.archive.store, self.world.now
        traces = list(row_traces(Records.of(store, self.world.progress)))
        for crash_id, added_s in store.crashes.came(_HOUR_S):
            when = datetime.fromtimestamp(added_s, UTC)
            if when <= now + SLACK or self._can_go(crash_id):
                traces.append(Trace(when, f"the crash {crash_id}"))
        return clock.believed(traces, now, self.world.config.purge_limit_days)

    def _can_go(self, crash_id: str) -> bool:
        """Whether a crash of later than now may be purged: one that stays is no doubt for ever."""
        with suppress(CasError):
            info = self.archive.read(crash_id)
            is_kept = info.holds or info.set_tickets
            return not is_kept and any(each.purged_s is None for each in info.files)
        return False


def _rules_of(options: argparse.Namespace, world: World, archive: Archive) -> Rules:
    """What the command line asks for.

    :raises UsageError: nothing, or what cannot be meant
    """
    words = options.words or []
    limits = [each for each in (options.older, options.larger) if each is not None]
    if options.pressure:
        if limits or options.keep_exemplar or words:
            raise UsageError(
                "the rules of --pressure stand in cas.conf",
                hint="see purgeOlder and purgeLarger in cas.conf(5), or leave --pressure out",
            )
        return Rules.of(world.config)
    if not (limits or options.keep_exemplar or words):
        raise UsageError(
            "--delete, --json and -v belong to a purge of the archive, and no rule says what goes",
            hint="for example: cas-admin purge --older 1y --keep-exemplar",
        )
    try:
        larger = bytes_of(options.larger) if options.larger is not None else None
    except ValueError as error:
        raise Garbage(
            f"--larger {options.larger}: {error}", hint="for example: --larger 1G"
        ) from error
    selection = chosen_crashes(words, world, archive) if words else EVERY
    tell_unknown(selection, (), archive, world)
    return Rules(
        selection,
        older_s=_older_s(options.older) if options.older is not None else None,
        larger_bytes=larger,
        keeps_exemplars=bool(options.keep_exemplar),
    )

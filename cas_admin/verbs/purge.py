"""``cas-admin -p``: remove the program's own job directories once they are old enough.

With rules, ``--older`` and the like, ``cas-admin purge`` is about the dumps of the archive.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING

from cas.commands import Done, Output, World
from cas.errors import CasError, Refused, UsageError
from cas.text import count
from cas.units import human_size
from cas_admin.flags import BY_RULES, CLASSIC, purge_options, retention_options

if TYPE_CHECKING:
    from cas_admin.purging import Old, Purging, Remains

PLACE = 2
HELP = "the same as -p; by rules: free the archive of dumps"
EXAMPLE = "cas-admin purge -d DAYS removes by age"
QUESTION = "You are about to purge data, is this what you really want to do? [Y/y/N/n]: "


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    purge_options(parser)
    retention_options(parser)


def run(options: argparse.Namespace, world: World) -> Output:
    """Remove old jobs, or dumps of the archive.

    :raises UsageError: options of both
    """
    from cas.archive.archive import with_spare_room

    if all(getattr(options, name) in (None, False, []) for name in BY_RULES):
        with with_spare_room(world.config):
            return (yield from _purge_jobs(options, world))
    from cas_admin.retaining import purge_archive

    if any(getattr(options, name) not in (None, False) for name in CLASSIC):
        raise UsageError(
            "-d, -y, -n and --unfinished purge jobs, --older and the like dumps of the archive: "
            "one at a time",
            hint="cas-admin purge --older 1y lists what would go, and --delete removes it",
        )
    with with_spare_room(world.config):
        return (yield from purge_archive(options, world))


def _purge_jobs(options: argparse.Namespace, world: World) -> Output:
    """Ask, then remove what is older than the limit.

    With ``--yes`` nobody is asked, and only that goes whose age is beyond doubt.

    :raises Refused: nobody is there to answer, and ``--yes`` was not given
    :raises CasError: something could not be removed
    """
    from cas_admin.purging import ASK, Purging

    purging = Purging.of(world)
    for line in purging.work.skipped():
        world.progress.warn(line)
    days = world.config.purge_limit_days if options.days is None else options.days
    old = purging.old(days, with_unfinished=options.unfinished)
    sure, remains = purging.beyond_doubt(old), purging.remains()
    listed = _list_old(old, remains, purging)
    for line in purging.needed(days):
        world.progress.say(line)
    every = () if options.unfinished else purging.old(days, with_unfinished=True).jobs
    if held := [one for one in every if one.held_for]:
        world.progress.say(
            f"{count(len(held), 'job')} older than {count(days, 'day')} kept, because "
            "they wait, were stopped, or have an unsent mail: --unfinished is for these"
        )
    if len(sure) < len(old):
        doubtful = old.without(sure).counted()
        world.progress.warn(f"{purging.belief.doubt}: {doubtful} may be young")
    if options.yes and not options.dry_run:
        purging.leave_trace(is_answered=False)
    if options.dry_run or not listed:
        world.progress.say(f"{old.counted()} older than {count(days, 'day')}")
        yield from listed
        return 0
    if options.yes:
        old = sure
        if not len(old) and not remains.entries and not remains.crashes:
            raise Refused(f"nothing was purged: {purging.belief.doubt}", hint=ASK)
    else:
        _confirm_purge(world, listed)
        purging.leave_trace(is_answered=True)
    gone, kept = 0, list[str]()
    for line in purging.remove(old, remains, kept):
        gone += line.startswith("removed ")
        yield Done(line)
    if kept:
        raise CasError(f"{len(kept)} of {len(kept) + gone} could not be removed")
    return 0


def _list_old(old: Old, remains: Remains, purging: Purging) -> list[str]:
    """What may go, a line each."""
    from cas_admin.ageing import HELD, disk_bytes
    from cas_admin.archive_purging import LEFTOVER

    listed = []
    for one in old.jobs:
        held = f"  {HELD[one.held_for]}" if one.held_for else ""
        listed.append(f"{one.job.directory}  {human_size(disk_bytes(one.job.directory))}{held}")
    listed += [f"{one}  {human_size(one.size_bytes)}" for one in old.crashes]
    for entry in remains.entries:
        size = human_size(disk_bytes(entry.path))
        listed.append(f"{entry.path}  {size}  {entry.kind.value}")
    listed += [f"{path}  {LEFTOVER}" for path in purging.leftovers()]
    return listed


def _confirm_purge(world: World, listed: Iterable[str]) -> None:
    if not world.is_interactive:
        raise Refused(
            "nothing was purged: there is no terminal to ask on", hint="add --yes if you are sure"
        )
    for line in listed:
        world.progress.say(line)
    if world.ask(QUESTION).strip().lower() != "y":
        raise Refused("nothing was purged: the answer was not y", hint="")

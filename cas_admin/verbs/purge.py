"""``cas-admin -p``: remove the program's own job directories once they are old enough."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING

from cas.commands import Done, Output, World
from cas.errors import CasError, Refused
from cas.text import count
from cas.units import human_size
from cas_admin.flags import purge_options

if TYPE_CHECKING:
    from cas.jobs.work_directory import Entry
    from cas_admin.ageing import Aged

PLACE = 2
HELP = "the same as -p"
EXAMPLE = "cas-admin purge -d DAYS removes by age"
QUESTION = "You are about to purge data, is this what you really want to do? [Y/y/N/n]: "


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    purge_options(parser)


def run(options: argparse.Namespace, world: World) -> Output:
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
    old = list(purging.old(days, with_unfinished=options.unfinished))
    doubtful = purging.doubtful(old)
    remains = list(purging.remains())
    listed = _list_old(old, remains)
    every = () if options.unfinished else purging.old(days, with_unfinished=True)
    if held := [one for one in every if one.held_for]:
        world.progress.say(
            f"{count(len(held), 'job')} older than {count(days, 'day')} kept, because "
            "they wait, were stopped, or have an unsent mail: --unfinished is for these"
        )
    if doubtful:
        world.progress.warn(f"{purging.belief.doubt}: {count(len(doubtful), 'job')} may be young")
    if options.yes and not options.dry_run:
        purging.leave_trace(is_answered=False)
    if options.dry_run or not listed:
        world.progress.say(f"{count(len(old), 'job')} older than {count(days, 'day')}")
        yield from listed
        return 0
    if options.yes:
        old = [one for one in old if one not in doubtful]
        if not old and not remains:
            raise Refused(f"nothing was purged: {purging.belief.doubt}", hint=ASK)
    else:
        _confirm_purge(world, listed)
        purging.leave_trace(is_answered=True)
    gone, kept = 0, list[str]()
    for line in purging.remove_jobs(old, remains, kept):
        gone += 1
        yield Done(line)
    if kept:
        raise CasError(f"{len(kept)} of {len(kept) + gone} could not be removed")
    return 0


def _list_old(old: Iterable[Aged], remains: Iterable[Entry]) -> list[str]:
    """What may go, a line each."""
    from cas_admin.ageing import HELD, disk_bytes

    listed = []
    for one in old:
        held = f"  {HELD[one.held_for]}" if one.held_for else ""
        listed.append(f"{one.job.directory}  {human_size(disk_bytes(one.job.directory))}{held}")
    for entry in remains:
        size = human_size(disk_bytes(entry.path))
        listed.append(f"{entry.path}  {size}  {entry.kind.value}")
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

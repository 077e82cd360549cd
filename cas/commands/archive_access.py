"""The archive for a verb: up to date, and changed by whoever gives the command."""

from __future__ import annotations

from collections.abc import Callable

from cas.archive.archive import Archive
from cas.archive.record import Info
from cas.commands.invocation import Done, Output, World
from cas.errors import AGAIN, TryAgain
from cas.model.archived import Selection
from cas.settings.person import person


def opened_archive(world: World) -> Archive:
    """The archive, whose index has all that is recorded; where the database was lost that is told.

    :raises CasError: the database is of no use now
    """
    archive = Archive.of(world.config)
    archive.index.catch_up()
    if archive.index.is_lost():
        world.progress.warn(
            "the database is a new one, which does not know every crash of the archive; run: "
            "cas-admin index, then: cas-admin -b"
        )
    return archive


def change_all(
    selection: Selection,
    archive: Archive,
    change: Callable[[Info], Info],
    what: str,
    world: World,
) -> Output:
    """Change what is said of every crash that is meant; the exit status is 2 if there is none.

    :param what: for the record of changes
    """
    by, at_s = person(world.environment, world.config), int(world.now.timestamp())
    ids = [line.id for line in archive.store.crashes.lines(selection)]
    number = 0
    for crash_id in ids:
        try:
            with archive.changing(crash_id) as draft:
                changed = change(draft.info)
                if changed != draft.info:
                    draft.info = changed.noting(what, by, at_s)
                    number += 1
        except TryAgain as error:
            if crash_id == ids[-1]:
                raise
            said = f"{what}: {number:,} of {len(ids):,} crashes changed, then: {error}"
            raise TryAgain(said, hint=AGAIN) from error
    if not ids:
        world.progress.warn("no crash of the archive is meant")
        return 2
    crashes = f"{len(ids):,} {'crash' if len(ids) == 1 else 'crashes'}"
    yield Done(f"{what}: {crashes}" + f", of which {number:,} changed" * (number < len(ids)))
    return 0

"""What would make room for a dump: said where a disk is full that the archive lies on."""

from __future__ import annotations

from cas.commands.invocation import World
from cas.errors import CasError, DiskFull
from cas.units import human_size

_CLASSIC = "cas-admin -p removes old jobs"


def advise_room(error: CasError, world: World) -> None:
    """Have the advice of a full disk name the rule of cas.conf that would make room, and how much.

    What cannot be found out leaves the advice as it is.
    """
    if not isinstance(error, DiskFull) or error.place is None or _CLASSIC not in error.hint:
        return
    from cas.archive.archive import Archive
    from cas.archive.retention import Retention, Rules
    from cas.files.whole import nearest
    from cas.jobs.work_directory import WorkDirectory

    rules = Rules.of(world.config)
    try:
        archive, work = Archive.of(world.config), WorkDirectory.of(world.config)
        if archive.path.stat().st_dev != nearest(error.place).stat().st_dev:
            return
        plan = Retention(archive, work, int(world.now.timestamp())).plan(rules)
    except (CasError, OSError):
        return
    told = f"{human_size(plan.freed_bytes)} of old dumps" if plan.goes else "nothing now"
    error.hint = error.hint.replace(_CLASSIC, f"{rules.command} removes {told}, {_CLASSIC}")

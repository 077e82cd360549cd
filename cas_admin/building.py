"""One run over the packages, then over the jobs that wait for what may have come."""

from __future__ import annotations

from cas.catalogue.building.build import build as build_catalogue
from cas.catalogue.cache import limits
from cas.commands import World
from cas.database.records import BuildSummary
from cas.database.store import Store
from cas.errors import NotPermitted
from cas.frozen import dataclass
from cas.settings import users
from cas.text import count
from cas_admin import ageing, unusable
from cas_admin.purging import Purging
from cas_admin.trimming import keep_limits
from cas_admin.unfinished import go_on_with_jobs


@dataclass(frozen=True, slots=True)
class Built:
    """What came of one run."""

    summary: BuildSummary
    chores: tuple[str, ...]
    """A line for each job and cached kernel that came to its end, and what waits still."""
    held: tuple[str, ...] = ()
    """What the jobs take that are not purged by themselves."""

    @property
    def headline(self) -> str:
        """The catalogue after the run, and what changed, in a line."""
        found = self.summary
        renamed = f"{found.renamed} renamed, " if found.renamed else ""
        return (
            f"{count(found.kernels, 'kernel')} in the catalogue; packages: {found.added} read, "
            f"{found.unchanged} unchanged, {renamed}{found.removed} gone, "
            f"{len(found.bad)} unusable"
        )


def build_once(world: World) -> Built:
    """One run; `cas_admin.watch` makes many.

    :raises CasError: the directory or the database cannot be used
    """
    config = world.config  # before this run leaves a trace itself:
    purging = Purging.of(world, looks_at_archive=config.auto_purge)
    if config.file is None:  # nobody has said where packages are: make the place for them
        config.kernels.mkdir(parents=True, exist_ok=True)
    summary = build_catalogue(Store.of(config), config.kernels, config.packages, world.progress)
    for line in unusable.unusable_lines(summary.bad):
        world.progress.warn(line)
    for contest in summary.conflicts:
        world.progress.warn(f"{contest}: none of them is used")
        try:
            limits.discard(config.debugs, contest.build_id)  # nobody knows whose it is
        except NotPermitted as error:
            world.progress.warn(users.advised(error, config))
    if not summary.kernels:
        world.progress.say(f"put kernel-debuginfo packages below {config.kernels}")
    chores = list[str](go_on_with_jobs(world, is_asked=False))
    if config.auto_purge:
        chores += purging.by_itself()
    chores += keep_limits(world, purging.traces)
    return Built(summary, tuple(chores), tuple(ageing.held_line(ageing.held_jobs(purging.work))))

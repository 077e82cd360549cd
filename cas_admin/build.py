"""``cas-admin -b``: catalogue the kernel-debuginfo packages, then go on with waiting jobs."""

from __future__ import annotations

from dataclasses import dataclass

from cas.catalogue.building.build import build as build_catalogue
from cas.catalogue.cache import limits
from cas.commands import Answer, World
from cas.database.records import BuildSummary
from cas.database.store import Store
from cas.errors import NotPermitted
from cas.settings import users
from cas.text import count
from cas_admin import ageing, unusable
from cas_admin.cache import keep_limits
from cas_admin.purge import Purging
from cas_admin.resume import resume

BAD_PACKAGES = 3


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


def build(world: World) -> Answer:
    """Bring the catalogue up to date with the packages below ``kernels``.

    :return: what changed; status 3 when some packages cannot be used
    :raises CasError: the directory or the database cannot be used
    """
    built = build_once(world)
    is_flawed = built.summary.bad or built.summary.conflicts
    status = BAD_PACKAGES if is_flawed else 0
    return Answer((built.headline, *built.chores, *built.held), status, stands=True)


def build_once(world: World) -> Built:
    """One run over the packages, then over the jobs; `cas_admin.watch` makes many."""
    config, purging = world.config, Purging.of(world)  # before this run leaves a trace itself
    if config.file is None:  # nobody has said where packages are: make the place for them
        config.kernels.mkdir(parents=True, exist_ok=True)
    summary = build_catalogue(Store.of(config), config.kernels, config.packages, world.progress)
    for line in unusable.told(summary.bad):
        world.progress.warn(line)
    for contest in summary.conflicts:
        world.progress.warn(f"{contest}: none of them is used")
        try:
            limits.discard(config.debugs, contest.build_id)  # nobody knows whose it is
        except NotPermitted as error:
            world.progress.warn(users.advised(error, config))
    if not summary.kernels:
        world.progress.say(f"put kernel-debuginfo packages below {config.kernels}")
    chores = [*resume(world, is_asked=False).lines]
    if config.auto_purge:
        chores += purging.by_itself().gone
    chores += keep_limits(world, purging.traces)
    return Built(summary, tuple(chores), tuple(ageing.told(ageing.held(purging.work))))

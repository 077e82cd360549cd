"""``cas-admin -b``: catalogue the kernel-debuginfo packages, then go on with waiting jobs."""

from __future__ import annotations

from cas.catalogue import Catalogue
from cas.commands import Answer, World
from cas.text import count
from cas_admin.purge import old_jobs, remove
from cas_admin.resume import resume

BAD_PACKAGES = 3


def build(world: World) -> Answer:
    """Bring the catalogue up to date with the packages below ``kernels``.

    :return: what changed; status 3 when some packages could not be read
    :raises CasError: the directory or the database cannot be used
    """
    config = world.config
    if config.file is None:  # nobody has said where packages are: make the place for them
        config.kernels.mkdir(parents=True, exist_ok=True)
    catalogue = Catalogue.of(config)
    summary = catalogue.build(config.kernels, config.packages, world.progress)
    for path, reason in summary.bad:
        world.progress.warn(reason if str(path) in reason else f"{path}: {reason}")
    if not summary.kernels:
        world.progress.say(f"put kernel-debuginfo packages below {config.kernels}")
    lines = [
        f"{count(summary.kernels, 'kernel')} in the catalogue; packages: {summary.added} read, "
        f"{summary.unchanged} unchanged, {summary.removed} gone, {len(summary.bad)} unusable"
    ]
    lines += resume(world).lines
    if config.auto_purge:
        lines += remove(old_jobs(config.work_directory, config.purge_limit_days, world.now), world)
    return Answer(tuple(lines), BAD_PACKAGES if summary.bad else 0)

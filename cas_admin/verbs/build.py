"""``cas-admin -b``: catalogue the kernel-debuginfo packages, then go on with waiting jobs."""

from __future__ import annotations

import argparse

from cas.commands import Done, Output, World
from cas_admin.flags import build_options

PLACE = 1
HELP = "the same as -b"
EXAMPLE = "cas-admin build catalogues what is below `kernels` of cas.conf"
BAD_PACKAGES = 3


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    build_options(parser)


def run(options: argparse.Namespace, world: World) -> Output:
    """Bring the catalogue up to date with the packages below ``kernels``, once or again and again.

    :return: status 3 when some packages cannot be used
    :raises CasError: the directory or the database cannot be used
    """
    if options.watch is not None:
        from cas_admin.watch import watch

        watch(options.watch, world, tells_all=options.debug)
        return 0
    from cas_admin.building import build_once

    built = build_once(world)
    yield from map(Done, (built.headline, *built.chores, *built.held))
    return BAD_PACKAGES if built.summary.bad or built.summary.conflicts else 0

"""``--version``: what a report of a defect should name."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Iterator
from functools import partial

from cas import __version__
from cas.commands.invocation import Answer, Asked, World


def asked_versions(arguments: argparse.Namespace, program: str) -> Asked:
    """What ``--version`` of a program asks for."""
    command = partial(versions, program)
    return Asked(command, arguments.config, arguments.debug, stays_root=True, needs_config=False)


def versions(program: str, world: World) -> Answer:
    """The program's version, and those of what it works with; nothing of it has to be there."""
    return Answer((f"{program} {__version__}", *_beside(world)))


def _beside(world: World) -> Iterator[str]:
    from cas.engines.versions import configured_engines  # which few command lines need

    for engine in configured_engines(world.config):
        where = f": {engine.path}" if engine.path else ""
        yield f"{engine.version}{where}" if engine.version else f"{engine.name}: {engine.problem}"
    yield f"Python {platform.python_version()}, Linux {platform.release()} {platform.machine()}"

"""``--version``: what a report of a defect should name."""

from __future__ import annotations

import argparse
from functools import partial

from cas import __version__
from cas.commands.invocation import Asked, Output, World


def asked_versions(arguments: argparse.Namespace, program: str) -> Asked:
    """What ``--version`` of a program asks for."""
    command = partial(versions, program)
    return Asked(command, arguments.config, arguments.debug, stays_root=True, needs_config=False)


def versions(program: str, world: World) -> Output:
    """The program's version, and those of what it works with; nothing of it has to be there."""
    yield f"{program} {__version__}"
    import platform  # which few command lines need

    from cas.engines.versions import configured_engines

    for engine in configured_engines(world.config):
        where = f": {engine.path}" if engine.path else ""
        yield f"{engine.version}{where}" if engine.version else f"{engine.name}: {engine.problem}"
    yield f"Python {platform.python_version()}, Linux {platform.release()} {platform.machine()}"
    return 0

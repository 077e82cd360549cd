"""``--version``: what a report of a defect should name."""

from __future__ import annotations

import platform
from collections.abc import Iterator

from cas import __version__
from cas.commands.asked import Answer, World
from cas.engines.versions import engines


def versions(program: str, world: World) -> Answer:
    """The program's version, and those of what it works with; nothing of it has to be there."""
    return Answer((f"{program} {__version__}", *_beside(world)))


def _beside(world: World) -> Iterator[str]:
    for engine in engines(world.config):
        where = f": {engine.path}" if engine.path else ""
        yield f"{engine.version}{where}" if engine.version else f"{engine.name}: {engine.problem}"
    yield f"Python {platform.python_version()}, Linux {platform.release()} {platform.machine()}"

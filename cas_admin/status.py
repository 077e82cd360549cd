"""``cas-admin status``: one screen that says what is there, what waits, and what is wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Thread

from cas.commands import Answer, World
from cas.database.store import Store
from cas.errors import CasError, shortage
from cas.settings import users
from cas.text import json_text, short_line
from cas.units import plain
from cas_admin import status_parts
from cas_admin.status_parts import Found, Part

PARTIAL = 3
VERSION = 1
PATIENCE_S = 10.0
"""For all parts together: a file system or a server that is hung hides only its own."""
PARTS: dict[str, Part] = {
    "packages": status_parts.packages,
    "builds": status_parts.builds,
    "cache": status_parts.extracted,
    "jobs": status_parts.jobs_and_mails,
    "known": status_parts.known_issues,
    "hosts": status_parts.hosts,
    "engines": status_parts.debuggers,
    "sandbox": status_parts.sandbox,
    "space": status_parts.space,
}


@dataclass(slots=True)
class Asked:
    """A part that is being found out, in a thread that nobody has to wait for."""

    name: str
    found: Found | None = None
    problem: str = f"no answer in {PATIENCE_S:.0f} s"

    def ask(self, world: World, store: Store) -> None:
        """Find it out, or why that cannot be done."""
        try:
            self.found = PARTS[self.name](world.config, store)
        except CasError as error:
            self.problem = users.advised(error, world.config)
        except Exception as error:  # whatever it is, the other parts are shown
            short = shortage(error)
            said = users.advised(short, world.config) if short else str(error)
            self.problem = said or type(error).__name__


def status(world: World, *, as_json: bool) -> Answer:
    """Everything that an administrator asks first.

    :return: status 3 when a part could not be found out
    """
    parts = _asked(world)
    lines = (_json(parts),) if as_json else tuple(_screen(parts))
    return Answer(lines, PARTIAL if any(part.found is None for part in parts) else 0)


def _asked(world: World) -> list[Asked]:
    store = Store.of(world.config)
    parts = [Asked(name) for name in PARTS]
    threads = [Thread(target=part.ask, args=(world, store), daemon=True) for part in parts]
    for thread in threads:
        thread.start()
    end = time.monotonic() + PATIENCE_S
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return parts


def _screen(parts: list[Asked]) -> Iterator[str]:
    """One line each; what several parts lack for the same reason is said in full once."""
    first: dict[str, str] = {}
    for part in parts:
        yield part.name.upper()
        for line in part.found.lines if part.found else (_told(part, first),):
            yield f"  {short_line(line)}"


def _told(part: Asked, first: dict[str, str]) -> str:
    where = first.setdefault(part.problem, part.name)
    return f"! {part.problem}" if where == part.name else f"! the same as of {where.upper()}"


def _json(parts: list[Asked]) -> str:
    facts = {
        part.name: part.found.facts if part.found else {"problem": part.problem} for part in parts
    }
    return json_text({"version": VERSION, **facts}, indent=1, default=plain)

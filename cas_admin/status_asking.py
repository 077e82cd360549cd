"""The parts of `cas-admin status` are asked side by side: one that hangs hides no other."""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Thread

from cas.commands import World
from cas.database.store import Store
from cas.errors import CasError, shortage
from cas.files.permission import denial
from cas.settings import users
from cas_admin import status_parts
from cas_admin.status_parts import Part, StatusPart

PATIENCE_S = 10.0
"""Seconds for all parts together: a file system or a server that is hung hides only its own."""
PARTS: dict[str, Part] = {
    "packages": status_parts.package_part,
    "builds": status_parts.build_part,
    "cache": status_parts.cache_part,
    "jobs": status_parts.job_part,
    "archive": status_parts.archive_part,
    "known": status_parts.known_issue_part,
    "hosts": status_parts.host_part,
    "engines": status_parts.debugger_part,
    "sandbox": status_parts.sandbox_part,
    "space": status_parts.space_part,
}


@dataclass(slots=True)
class AskedPart:
    """A part that is being found out, in a thread that nobody has to wait for."""

    name: str
    found: StatusPart | None = None
    problem: str = f"no answer in {PATIENCE_S:.0f} s"

    def find_out(self, world: World, store: Store) -> None:
        """Find it out, or why that cannot be done."""
        try:
            self.found = PARTS[self.name](world.config, store)
        except CasError as error:
            self.problem = users.advised(error, world.config)
        except Exception as error:  # whatever it is, the other parts are shown
            known = shortage(error) or (denial(error) if isinstance(error, OSError) else None)
            said = users.advised(known, world.config) if known else str(error)
            self.problem = said or type(error).__name__


def ask_all_parts(world: World) -> list[AskedPart]:
    """Find out all parts, as far as they answer in time."""
    store = Store.of(world.config)
    parts = [AskedPart(name) for name in PARTS]
    threads = [Thread(target=part.find_out, args=(world, store), daemon=True) for part in parts]
    for thread in threads:
        thread.start()
    end = time.monotonic() + PATIENCE_S
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return parts

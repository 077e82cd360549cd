"""``cas-admin check``: whether directories, database, packages and cache agree with one another."""

from __future__ import annotations

import argparse
from contextlib import suppress
from dataclasses import asdict
from itertools import chain
from pathlib import Path

from cas.choices import Verdict
from cas.commands import Output, World
from cas.errors import ConfigError, DatabaseDamaged, NotPermitted
from cas.text import count, json_text, one_line

PLACE = 5
HELP = "verify jobs, database, packages and extracted kernels"
EXAMPLE = "cas-admin check looks at everything"
BROKEN = 4
VERSION = 1


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--quick", action="store_true", help="compare sizes, not contents")
    parser.add_argument("--json", action="store_true", help="print the flaws as JSON")


def run(options: argparse.Namespace, world: World) -> Output:
    """Look at everything; nothing is changed.

    :return: a line for each flaw; status 4 when something that must hold does not
    :raises TryAgain: the database cannot be used
    """
    from cas.database.store import Store
    from cas.jobs.sharing import ResultGroup
    from cas.jobs.work_directory import WorkDirectory
    from cas_admin.archive_invariants import of_archive
    from cas_admin.invariants import Scope, of_cache, of_jobs, of_known, of_rows, of_sandbox

    config, flaws = world.config, []
    store, work = Store.of(config), WorkDirectory.of(config)
    group = ResultGroup.of(config)
    rows: dict[Path, Verdict] | None = None
    total = 0
    with suppress(ConfigError, DatabaseDamaged):  # which is said with what else is wrong with it
        rows = store.jobs.verdicts()
    scope = Scope(config, work, store, rows, not options.quick, group)
    with suppress(NotPermitted):  # which is told as a flaw
        total = sum(1 for _ in work.jobs())
    with world.progress.bar(f"Checking {count(total, 'job')}", None):
        looks = (of_jobs, of_archive, of_rows, of_cache, of_sandbox, of_known)
        for flaw in chain.from_iterable(look(scope) for look in looks):
            flaws.append(flaw)
            if not options.json:
                kind, where = "broken" if flaw.is_broken else "open", one_line(flaw.where)
                yield f"{kind:7}{where}: {one_line(flaw.what)}; {one_line(flaw.next_step)}"
    broken = sum(flaw.is_broken for flaw in flaws)
    if options.json:
        found = [asdict(flaw) for flaw in flaws]
        yield json_text({"version": VERSION, "jobs": total, "flaws": found}, indent=1)
    else:
        said = f"{broken} broken" if broken else "all is well"
        yield f"{count(total, 'job')} checked: {said}"
    return BROKEN if broken else 0

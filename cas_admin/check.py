"""``cas-admin check``: whether directories, database, packages and cache agree with one another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain
from pathlib import Path

from cas.commands import Answer, World
from cas.database.store import Store
from cas.errors import ConfigError, DatabaseDamaged, NotPermitted
from cas.jobs.sharing import ResultGroup
from cas.jobs.work_directory import WorkDirectory
from cas.text import count, json_text, one_line
from cas_admin.invariants import Flaw, Scope, of_cache, of_jobs, of_known, of_rows, of_sandbox

BROKEN = 4
VERSION = 1


def check(world: World, *, quick: bool, as_json: bool) -> Answer:
    """Look at everything; nothing is changed.

    :param quick: compare sizes only, no digests
    :return: a line for each flaw; status 4 when something that must hold does not
    :raises TryAgain: the database cannot be used
    """
    config = world.config
    store = Store.of(config)
    work = WorkDirectory.of(config)
    scope = Scope(config, work, store, _rows(store), not quick, ResultGroup.of(config))
    total = _count(work)
    with world.progress.bar(f"Checking {count(total, 'job')}", None):
        looks = (of_jobs, of_rows, of_cache, of_sandbox, of_known)
        flaws = list(chain.from_iterable(look(scope) for look in looks))
    broken = sum(flaw.is_broken for flaw in flaws)
    status = BROKEN if broken else 0
    if as_json:
        return Answer((_json(flaws, total),), status)
    said = f"{broken} broken" if broken else "all is well"
    return Answer((*_lines(flaws), f"{count(total, 'job')} checked: {said}"), status)


def _count(work: WorkDirectory) -> int:
    try:
        return sum(1 for _ in work.jobs())
    except NotPermitted:  # which is told as a flaw
        return 0


def _rows(store: Store) -> dict[Path, str] | None:
    try:
        return store.jobs.verdicts()
    except (ConfigError, DatabaseDamaged):  # which is said with what else is wrong with it
        return None


def _lines(flaws: list[Flaw]) -> Iterator[str]:
    for flaw in flaws:
        kind = "broken" if flaw.is_broken else "open"
        yield f"{kind:7}{one_line(flaw.where)}: {one_line(flaw.what)}; {one_line(flaw.next_step)}"


def _json(flaws: list[Flaw], total: int) -> str:
    found = [asdict(flaw) for flaw in flaws]
    return json_text({"version": VERSION, "jobs": total, "flaws": found}, indent=1)

"""Known crashes of which a whole dump is kept: a crash kernel need not dump them once more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from cas.archive.archive import Archive
from cas.archive.record import Info, file_rank
from cas.choices import Presence
from cas.errors import CasError
from cas.frozen import dataclass
from cas.model.archived import EVERY
from cas.model.finding import SAME

_PROPERTY = f"signatures.{SAME.replace(' ', '_')}"
LOG_FORMAT = "kernel log"


@dataclass(frozen=True, slots=True)
class KnownCrash:
    """A signature that is known, with the dump that explains it."""

    signature: str
    """At the granularity at which two crashes are called the same."""
    crashes: int
    """How often it was seen, notes among them."""
    exemplar: str
    """The id of the crash with the best file."""
    title: str | None


def known_crashes(archive: Archive, at_least: int = 1) -> Iterator[KnownCrash]:
    """Signatures of which a whole dump is in the archive, in their order.

    :param at_least: crashes that have it
    :raises TryAgain: the database is of no use now
    """
    holders = archive.store.crash_groups.holders(EVERY, [_PROPERTY])
    for _, signature, ids in sorted(holders, key=lambda one: one.value):
        if len(ids) < at_least:
            continue
        kept = [info for info in _infos(archive, ids) if _is_exemplar(archive, info)]
        if kept:
            best = max(kept, key=lambda info: file_rank(info.files[_best(info)]))
            title = best.facts.get("title")
            yield KnownCrash(
                signature, len(ids), best.id, title if isinstance(title, str) else None
            )


def _infos(archive: Archive, ids: list[str]) -> Iterator[Info]:
    for crash_id in ids:
        with suppress(CasError):  # one that cannot be read explains nothing
            yield archive.read(crash_id)


def _best(info: Info) -> int:
    best = info.best_file
    assert best  # noqa: S101  who asks has looked
    return info.files.index(best)


def _is_exemplar(archive: Archive, info: Info) -> bool:
    best = info.best_file
    if best is None or best.digest is None or not best.is_whole or best.format == LOG_FORMAT:
        return False
    return info.facts_of == best.digest and archive.presence_of(info) is Presence.HERE

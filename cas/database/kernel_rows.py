"""The catalogued kernels, as rows."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from fnmatch import translate
from itertools import groupby
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    func,
    or_,
    select,
    update,
)

from cas.database.codec import candidate_of
from cas.database.connection import Database
from cas.database.records import Candidate, CataloguedKernel, Contest
from cas.database.storable import storable
from cas.database.tables import kernels, packages

KERNEL_COLUMNS = (
    *kernels.c["release", "arch", "member", "build_id", "banner", "size_bytes", "digest"],
    packages.c.path.label("source"),
)
"""By the names of `Kernel`'s fields."""
_STAMP_COLUMNS = tuple(
    packages.c[name].label(f"file_{name}") for name in ("size_bytes", "mtime_ns", "inode")
)
_CANDIDATE_COLUMNS = (*KERNEL_COLUMNS, *kernels.c["id", "examined"], *_STAMP_COLUMNS)
_LISTED_COLUMNS: tuple[Any, ...] = (
    *kernels.c["release", "arch", "flavour", "build_id", "banner"],
    *packages.c["path", "name", "kind"],
    func.coalesce(packages.c.version, ""),
    *kernels.c["size_bytes", "digest"],
    packages.c.state,
)
"""In the order of `CataloguedKernel`'s fields."""
_ASKED_AT_ONCE = 500
"""Values in one query; databases bound their number."""
_PREFIX_DIGITS = 6
"""Of a build-id, at least, to mean those that begin with it."""
_ALGORITHM_LETTERS = 4
"""Of a stored digest, that tell algorithms apart: ``md5:``, ``sha1``, ``sha2``, ``sha3``, …"""
_COMPARED = ("release", "arch", "size_bytes", "banner")


class Shelf:
    """Kernels that were taken out of the database together, to be looked up one by one."""

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self._by_build_id: dict[str | None, list[Candidate]] = {}
        self._by_release: dict[str, list[Candidate]] = {}
        for one in sorted(candidates, key=lambda one: str(one.kernel.source)):
            self._by_build_id.setdefault(one.kernel.build_id, []).append(one)
            self._by_release.setdefault(one.kernel.release, []).append(one)

    def with_build_id(self, build_id: str) -> list[Candidate]:
        """The kernels that have this build-id."""
        return self._by_build_id.get(storable(build_id), [])

    def with_release(self, release: str) -> list[Candidate]:
        """The kernels of this release, of any architecture."""
        return self._by_release.get(storable(release), [])


class KernelRows:
    """Which kernels there are, and in which packages."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def kernel_count(self) -> int:
        """How many kernels are catalogued."""
        with self._database.reading() as connection:
            return connection.execute(select(func.count()).select_from(kernels)).scalar_one()

    def with_build_id(self, build_id: str) -> list[Candidate]:
        """The kernels that have this build-id."""
        return self._select_candidates(kernels.c.build_id == build_id)

    def with_release(self, release: str) -> list[Candidate]:
        """The kernels of this release, of any architecture."""
        return self._select_candidates(kernels.c.release == release)

    def shelf(self, words: Collection[str]) -> Shelf:
        """All kernels of many build-ids and releases, for who looks up many."""
        found: dict[int, Candidate] = {}
        wanted = list(words)
        for begin in range(0, len(wanted), _ASKED_AT_ONCE):
            some = wanted[begin : begin + _ASKED_AT_ONCE]
            for column in (kernels.c.build_id, kernels.c.release):
                found |= {one.id: one for one in self._select_candidates(column.in_(some))}
        return Shelf(found.values())

    def set_identity(self, kernel_id: int, banner: str | None, build_id: str | None) -> None:
        """Remember what a vmlinux says about itself."""
        values = {"banner": banner, "build_id": build_id, "examined": True}
        with self._database.writing() as connection:
            connection.execute(update(kernels).where(kernels.c.id == kernel_id).values(values))

    def listed(self, pattern: str | None = None) -> list[CataloguedKernel]:
        """The kernels that a pattern means, by release; all without one.

        :param pattern: as a shell has them, for the release or the package's name; without
            wildcards, a part of either, or the beginning of a build-id, of six digits or more
        """
        query = select(*_LISTED_COLUMNS).join(packages)
        query = query.order_by(kernels.c.release, kernels.c.arch, packages.c.path)
        if pattern is None:
            return self._select_listed(query)
        if not re.search(r"[*?\[]", pattern):
            columns = (kernels.c.release, packages.c.name)
            meant: list[ColumnElement[bool]]
            meant = [column.contains(pattern, autoescape=True) for column in columns]
            if len(pattern) >= _PREFIX_DIGITS and re.fullmatch("[0-9A-Fa-f]+", pattern):
                # a range, which the index serves: LIKE it does not in every database
                low = pattern.lower()
                meant.append((kernels.c.build_id >= low) & (kernels.c.build_id < low + "g"))
            return self._select_listed(query.where(or_(*meant)))
        matches = re.compile(translate(pattern)).match
        found = self._select_listed(query)
        return [each for each in found if matches(each.release) or matches(each.name)]

    def contested(self) -> tuple[Contest, ...]:
        """The build-ids of which different packages say different things."""
        with self._database.reading() as connection:
            suspects = sorted(_disputed_build_ids(connection))
            query = (
                select(*_LISTED_COLUMNS)
                .join(packages)
                .where(kernels.c.build_id.in_(suspects))
                .order_by(kernels.c.build_id, packages.c.path)
            )
            rows = connection.execute(query) if suspects else ()
            found = [CataloguedKernel(*row) for row in rows]
        contests = []
        for build_id, alike in groupby(found, key=lambda kernel: kernel.build_id or ""):
            group = tuple(alike)
            differ = [
                name
                for name in _COMPARED
                if len({each for kernel in group if (each := getattr(kernel, name)) is not None})
                > 1
            ]
            digests = {digest for kernel in group if (digest := kernel.digest) is not None}
            algorithms = {digest.partition(":")[0] for digest in digests}
            if len(digests) > len(algorithms):
                differ.append("digest")
            contests.append(Contest(build_id, group, tuple(differ)))
        return tuple(contests)

    def _select_listed(self, query: Select[Any]) -> list[CataloguedKernel]:
        """Not by the codec: a site may have two hundred thousand."""
        with self._database.reading() as connection:
            return [CataloguedKernel(*row) for row in connection.execute(query)]

    def _select_candidates(self, condition: ColumnElement[bool]) -> list[Candidate]:
        query = (
            select(*_CANDIDATE_COLUMNS).join(packages).where(condition).order_by(packages.c.path)
        )
        with self._database.reading() as connection:
            return [candidate_of(row) for row in connection.execute(query).mappings()]


def _disputed_build_ids(connection: Connection) -> set[str]:
    """Build-ids whose kernels differ in something that both tell."""
    several = (
        select(kernels.c.build_id)
        .group_by(kernels.c.build_id)
        .having(kernels.c.build_id.is_not(None) & (func.count() > 1))
    )
    if connection.execute(several.limit(1)).first() is None:  # the index alone tells that
        return set()
    of_several = kernels.c.build_id.in_(several)
    differ = [func.min(kernels.c[name]) != func.max(kernels.c[name]) for name in _COMPARED]
    facts = select(kernels.c.build_id).where(of_several).group_by(kernels.c.build_id)
    digests = (
        select(kernels.c.build_id)
        .where(of_several, kernels.c.digest.is_not(None))
        .group_by(kernels.c.build_id, func.substr(kernels.c.digest, 1, _ALGORITHM_LETTERS))
        .having(func.min(kernels.c.digest) != func.max(kernels.c.digest))
    )
    return {
        build_id
        for query in (facts.having(or_(*differ)), digests)
        for build_id in connection.execute(query).scalars()
        if build_id is not None
    }

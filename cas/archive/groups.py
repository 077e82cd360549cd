"""Crashes in groups, and what is unusual in each: a property far more frequent than elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from itertools import chain
from math import sqrt

from cas.archive.record import NOTE
from cas.database.crash_groups import CrashGroups
from cas.frozen import dataclass
from cas.model.archived import Selection

HERE_AT_LEAST = 8
"""Crashes of a group that have a value which may be called unusual."""
ELSEWHERE_AT_LEAST = 30
"""Crashes of all other groups together that tell the property."""
MACHINES_AT_LEAST = 3
"""Machines that crashed so: one that crashes again and again says nothing of its model."""
TIMES = 2.0
"""How many times as frequent it must be here, as far as the numbers tell for sure."""
SIGMAS = 3.0
"""Standard deviations within which a share is, as far as the numbers tell for sure."""
MOST_UNUSUAL = 5
"""Of a group that are told."""


class By(StrEnum):
    """By what crashes are grouped."""

    SIGNATURE = "signature"
    HOST = "host"
    MODEL = "model"
    REASON = "reason"


PROPERTY: Mapping[By, str] = {
    By.SIGNATURE: "signatures.top_3",
    By.HOST: "node",
    By.MODEL: "model",
    By.REASON: "kind",
}
"""Which property a group has in common."""
_MACHINE = "node"
_NAMING = ("title", "kind")
"""What says how they crashed: unusual only where a group does not have that in common."""
_COMPARED = ("vendor", "model", "bios", "arch", "release", "cpus", "memory", "task")


@dataclass(frozen=True, slots=True)
class Unusual:
    """A value of a property that is far more frequent in a group than elsewhere."""

    name: str
    value: str
    here: int
    here_of: int
    """Crashes of the group that tell the property."""
    elsewhere: int
    elsewhere_of: int

    def __str__(self) -> str:
        return (
            f"{self.name} {self.value}: {self.here:,} of {self.here_of:,} here, "
            f"{self.elsewhere:,} of {self.elsewhere_of:,} elsewhere"
        )


@dataclass(slots=True)
class Group:
    """Crashes that have something in common."""

    key: str | None
    """The value that all have; ``None``: those that have none."""
    first_s: int
    """When the first crashed, in seconds since 1970."""
    last_s: int
    count: int = 0
    notes: int = 0
    """Of which there are only notes, and no dumps."""
    values: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    """How many have which value of a property, the most frequent first."""
    told: Counter[str] = field(default_factory=Counter)
    """How many tell a property."""
    unusual: Sequence[Unusual] = ()

    @property
    def title(self) -> str | None:
        """What most of them are called."""
        return next((value for value, _ in self.values.get("title", ())), None)


@dataclass(slots=True)
class _Members:
    """Which crash is in which group, and on which machine it was."""

    groups: list[Group] = field(default_factory=list)
    number: dict[str, int] = field(default_factory=dict)
    """Of the group, by the crash's id."""
    machine: dict[str, str] = field(default_factory=dict)


def groups_of(selection: Selection, by: By, rows: CrashGroups) -> list[Group]:
    """The groups of the crashes that are meant, largest first; those that lack it come last."""
    members = _members(selection, by, rows)
    totals = _count_values(selection, members, rows)
    told = Counter[str]()
    for (name, _), number in totals.items():
        told[name] += number
    compared = {name for name, _ in totals} - {PROPERTY[by]}
    if by in (By.SIGNATURE, By.REASON):
        compared -= {*_NAMING}
    holders = dict[tuple[str, str], frozenset[str]]()
    for number, group in enumerate(members.groups):
        found = list[Unusual]()
        for each in _frequent(group, totals, told, compared):
            what = each.name, each.value
            if each.name != _MACHINE:
                who = holders[what] = holders.get(what) or rows.holders_of(*what)
                here = {members.machine[one] for one in who if members.number.get(one) == number}
                if len(here) < MACHINES_AT_LEAST:
                    continue
            found.append(each)
        group.unusual = sorted(found, key=_contrast, reverse=True)[:MOST_UNUSUAL]
    return sorted(members.groups, key=lambda one: (one.key is None, -one.count, one.key or ""))


def is_unusual(here: int, here_of: int, elsewhere: int, elsewhere_of: int) -> bool:
    """Whether a share is far larger here than elsewhere, beyond what chance makes of it.

    >>> is_unusual(9, 10, 12, 400), is_unusual(5, 5, 0, 400), is_unusual(9, 10, 160, 400)
    (True, False, False)
    """
    if here < HERE_AT_LEAST or elsewhere_of < ELSEWHERE_AT_LEAST:
        return False
    return _share(here, here_of)[0] > TIMES * _share(elsewhere, elsewhere_of)[1]


def _share(number: int, of: int) -> tuple[float, float]:
    """Between what a share is, by Wilson's interval.

    Source: E. B. Wilson, Probable Inference, J. Am. Stat. Assoc. 22 (1927), 209.
    """
    share, square = number / of, SIGMAS * SIGMAS
    middle = share + square / (2 * of)
    half = SIGMAS * sqrt(share * (1 - share) / of + square / (4 * of * of))
    return (middle - half) / (1 + square / of), (middle + half) / (1 + square / of)


def _members(selection: Selection, by: By, rows: CrashGroups) -> _Members:
    members, numbers = _Members(), dict[str | None, int]()
    groups = members.groups
    key_of = dict[str, str]()
    if by is not By.HOST:
        for holders in rows.holders(selection, [PROPERTY[by]]):
            key_of.update(dict.fromkeys(holders.ids, holders.value))
    machines, tickets = list[Counter[str]](), list[Counter[str]]()
    for crash in rows.crashed(selection):
        key = crash.node if by is By.HOST else key_of.get(crash.id)
        number = numbers.setdefault(key, len(groups))
        if number == len(groups):
            groups.append(Group(key, crash.time_s, crash.time_s))
            machines.append(Counter())
            tickets.append(Counter())
        group = groups[number]
        group.count += 1
        group.notes += crash.type == NOTE
        group.first_s = min(group.first_s, crash.time_s)
        group.last_s = max(group.last_s, crash.time_s)
        if crash.node is not None:
            machines[number][crash.node] += 1
        if crash.ticket is not None:
            tickets[number].update(crash.ticket.split(","))
        members.number[crash.id], members.machine[crash.id] = number, crash.node or crash.id
    for group, on, of in zip(groups, machines, tickets, strict=True):
        group.values |= {_MACHINE: _ranked(on.items()), "tickets": _ranked(of.items())}
        group.told[_MACHINE] = on.total()
    return members


def _ranked(values: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    return sorted(values, key=lambda one: (-one[1], one[0]))


def _count_values(
    selection: Selection, members: _Members, rows: CrashGroups
) -> Counter[tuple[str, str]]:
    """Count in each group who has which value of a property; how many of all have it."""
    totals, groups = Counter[tuple[str, str]](), members.groups
    for group in groups:
        totals.update({(_MACHINE, value): often for value, often in group.values[_MACHINE]})
    own = rows.holders(selection, {*_COMPARED, *_NAMING})
    for name, value, ids in chain(own, rows.holders_of_users(selection)):
        here = Counter(map(members.number.get, ids))
        del here[None]  # of a crash that came meanwhile
        totals[name, value] = here.total()
        for number, often in here.items():
            group = groups[number or 0]
            group.values.setdefault(name, []).append((value, often))
            group.told[name] += often
    for group in groups:
        group.values = {name: _ranked(values) for name, values in group.values.items()}
    return totals


def _frequent(
    group: Group, totals: Counter[tuple[str, str]], told: Counter[str], compared: set[str]
) -> Iterator[Unusual]:
    """What is far more frequent in a group, whoever crashed so."""
    for name in sorted(compared):
        here_of = group.told[name]
        elsewhere_of = told[name] - here_of
        for value, here in group.values.get(name, ()):
            if here < HERE_AT_LEAST:  # the others are rarer
                break
            elsewhere = totals[name, value] - here
            if is_unusual(here, here_of, elsewhere, elsewhere_of):
                yield Unusual(name, value, here, here_of, elsewhere, elsewhere_of)


def _contrast(one: Unusual) -> float:
    return one.here / one.here_of - one.elsewhere / one.elsewhere_of

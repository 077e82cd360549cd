"""Crashes in groups: what is counted, and what is called unusual."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from postgresql import on_both

from cas.archive.groups import By, Group, groups_of, is_unusual
from cas.archive.record import Info
from cas.archive.shown import indexed
from cas.choices import Presence
from cas.database.store import Store
from cas.model.archived import EVERY, Comparison, Constraint, Selection


def crash(number: int, name: str | None, **facts: Any) -> Info:
    signatures = {"signatures": {"title": name, "top_3": name}} if name else {}
    told = {"title": f"BUG in {name}", "kind": "bug", **signatures, **facts}
    jobs = (f"T-{number}/2026.01.01.00.00.00",)
    return Info(id=f"{number:032x}", time_s=number, added_s=number, facts=told, jobs=jobs)


def put(store: Store, crashes: Iterable[Info]) -> None:
    store.crashes.put(indexed(each, None, Presence.HERE) for each in crashes)


def groups(store: Store, by: By = By.SIGNATURE, selection: Selection = EVERY) -> list[Group]:
    return groups_of(selection, by, store.crash_groups)


def site(models: Mapping[str, tuple[int, int]], hosts: int = 5) -> list[Info]:
    """Ten crashes ``a`` and 400 ``b``, so many of which are of each model."""
    found = list[Info]()
    for at, name in enumerate("ab"):
        for model, numbers in models.items():
            for _ in range(numbers[at]):
                number = len(found)
                found.append(crash(number, name, model=model, node=f"h{number % hosts}{name}"))
    return found


@on_both
def test_a_group_is_counted_with_all_that_it_is_asked_for(store: Store) -> None:
    put(
        store,
        (
            crash(1, "a", node="h1", release="6.1", model="M"),
            crash(2, "a", node="h1", release="6.2"),
            crash(3, "a", node="h2", release="6.2", title="BUG in b"),
            crash(4, "b", node="h1"),
            crash(5, None),
            crash(6, None),
            crash(7, None),
            crash(8, None),
        ),
    )
    first, second, rest = groups(store)
    assert (first.key, first.count, first.first_s, first.last_s) == ("a", 3, 1, 3)
    assert first.title == "BUG in a"
    assert first.values["node"] == [("h1", 2), ("h2", 1)]
    assert first.values["release"] == [("6.2", 2), ("6.1", 1)]
    assert first.values["model"] == [("M", 1)]
    assert first.values["tickets"] == [("T-1", 1), ("T-2", 1), ("T-3", 1)]
    assert (second.key, second.count) == ("b", 1)
    assert (rest.key, rest.count) == (None, 4)
    by_host = [(group.key, group.count) for group in groups(store, By.HOST)]
    assert by_host == [("h1", 3), ("h2", 1), (None, 4)]
    assert [(group.key, group.count) for group in groups(store, By.MODEL)] == [("M", 1), (None, 7)]
    assert [(group.key, group.count) for group in groups(store, By.REASON)] == [("bug", 8)]
    chosen = Selection((Constraint("release", Comparison.EQUAL, "6.2"),), limit=1)
    assert [(group.key, group.count) for group in groups(store, selection=chosen)] == [("a", 1)]


@on_both
def test_what_is_far_more_frequent_is_told_with_numbers(store: Store) -> None:
    put(store, site({"Dell R640": (9, 12), "HPE DL380": (1, 388)}))
    of_a = next(group for group in groups(store) if group.key == "a")
    assert [str(each) for each in of_a.unusual] == [
        "model Dell R640: 9 of 10 here, 12 of 400 elsewhere"
    ]
    of_b = next(group for group in groups(store) if group.key == "b")
    assert not of_b.unusual
    of_model = next(group for group in groups(store, By.MODEL) if group.key == "Dell R640")
    assert str(of_model.unusual[0]) == "title BUG in a: 9 of 21 here, 1 of 389 elsewhere"


def test_one_machine_and_a_handful_say_nothing_of_a_model(store: Store) -> None:
    put(store, site({"Dell R640": (9, 12), "HPE DL380": (1, 388)}, hosts=2))
    told = [each.name for group in groups(store) for each in group.unusual]
    assert "model" not in told


@pytest.mark.parametrize(
    ("counts", "is_told"),
    [
        ((9, 10, 12, 400), True),
        ((8, 8, 12, 400), True),
        ((7, 7, 0, 400), False),
        ((9, 10, 1, 29), False),
        ((9, 10, 160, 400), False),
        ((10, 100, 12, 400), False),
        ((400, 1000, 40, 1000), True),
    ],
)
def test_a_share_is_unusual_by_a_rule(counts: tuple[int, int, int, int], *, is_told: bool) -> None:
    assert is_unusual(*counts) is is_told


def test_users_properties_are_compared_too(store: Store) -> None:
    crashes = site({"M": (10, 400)})
    racks = [
        Info(
            id=each.id,
            time_s=1,
            added_s=1,
            facts=each.facts,
            properties={"rack": ["r7", "x"] if at < 9 else "r1"},
        )
        for at, each in enumerate(crashes)
    ]
    put(store, racks)
    of_a = next(group for group in groups(store) if group.key == "a")
    assert str(of_a.unusual[0]) == "properties.rack r7: 9 of 10 here, 0 of 400 elsewhere"


def test_where_nothing_has_to_do_with_anything_nothing_is_told(store: Store) -> None:
    chance = random.Random(3)  # noqa: S311  rows, not secrets
    put(
        store,
        (
            crash(
                number,
                f"s{chance.randrange(20)}",
                model=f"m{chance.randrange(8)}",
                bios=f"b{chance.randrange(30)}",
                release=f"6.1.{chance.randrange(60)}",
                node=f"h{chance.randrange(200)}",
                task=f"t{chance.randrange(5)}",
            )
            for number in range(3000)
        ),
    )
    for by in By:
        assert [group.unusual for group in groups(store, by) if group.unusual] == []

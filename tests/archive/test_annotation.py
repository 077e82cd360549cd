"""What people say of a crash, as values."""

from __future__ import annotations

import pytest

from cas.archive.annotation import (
    checked_name,
    checked_ticket,
    value_of,
    with_hold,
    with_property,
    with_ticket,
    without_holds,
    without_property,
    without_ticket,
)
from cas.archive.constraints import Garbage
from cas.archive.record import CHANGES_KEPT, File, Info

CRASH = Info(id="ab" * 16, time_s=5, added_s=6, jobs=("T-1/2026.01.01.00.00.00",))


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("bmc", "bmc"),
        ('{"a": [1, true]}', {"a": [1, True]}),
        ("17", 17),
        ("007", "007"),
        ("1e5", "1e5"),
        ("NaN", "NaN"),
        ("null", "null"),
        ('"17"', "17"),
        ("{", "{"),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_a_value_is_json_where_that_loses_nothing_and_else_a_text(
    typed: str, value: object
) -> None:
    assert value_of(typed) == value


def test_a_dotted_name_makes_objects_and_takes_them_away_when_they_are_empty() -> None:
    crash = with_property(CRASH, "triage.engineer", "bmc")
    assert crash.properties == {"triage": {"engineer": "bmc"}}
    both = with_property(crash, "triage.category", "mm")
    assert without_property(both, "triage.engineer").properties == {"triage": {"category": "mm"}}
    assert without_property(crash, "triage.engineer").properties == {}
    assert without_property(crash, "other.name") == crash


@pytest.mark.parametrize("name", ["a=b", "", ".", "a..b", "a b", "x);drop", "é", "a" * 101])
def test_a_property_has_a_plain_name(name: str) -> None:
    with pytest.raises(Garbage):
        checked_name(name)
    assert checked_name("properties.triage.engineer") == "triage.engineer"


def test_the_ticket_of_a_job_is_none_that_was_set() -> None:
    crash = with_ticket(with_ticket(CRASH, "T-2"), "T-2")
    assert crash.tickets == ("T-1", "T-2")
    assert without_ticket(crash, None).tickets == ("T-1",)
    assert without_ticket(crash, "T-1").tickets == ("T-1", "T-2")


def test_who_holds_a_crash_already_has_a_new_reason() -> None:
    crash = with_hold(with_hold(CRASH, "audit", "bmc", 7), "for the vendor", "kj", 8)
    crash = with_hold(crash, "lawsuit", "bmc", 9)
    assert [(each.by, each.why, each.at_s) for each in crash.holds] == [
        ("kj", "for the vendor", 8),
        ("bmc", "lawsuit", 9),
    ]
    assert without_holds(crash) == CRASH


@pytest.mark.parametrize("ticket", ["type=crash", "", "a/b", "-x"])
def test_a_ticket_with_other_characters_is_refused(ticket: str) -> None:
    with pytest.raises(Garbage):
        checked_ticket(ticket)


def test_the_newest_changes_are_remembered() -> None:
    crash = CRASH
    for number in range(CHANGES_KEPT + 2):
        crash = crash.noting(f"set a{number}", "bmc", number)
    assert [each.at_s for each in crash.changes] == list(range(2, CHANGES_KEPT + 2))


def file(name: str, **facts: object) -> File:
    return File(
        **{  # type: ignore[arg-type]
            **{"name": name, "digest": f"sha256-4MiB:{name * 64}", "size_bytes": 9},
            **{"format": "ELF", "is_whole": True, "added_s": 1},
            **facts,
        }
    )


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({}, {"is_whole": False, "size_bytes": 99}),
        ({}, {"dump_level": 31, "size_bytes": 99}),
        ({"dump_level": 1}, {"dump_level": 31}),
        ({"dump_level": 31}, {"is_whole": False}),
        ({"is_whole": False}, {"format": "kernel log", "size_bytes": 99}),
        ({"is_whole": False}, {"purged_s": 3}),
        ({}, {"format": "flattened ELF", "size_bytes": 99}),
        ({"size_bytes": 10}, {}),
        ({"added_s": 2}, {}),
    ],
)
def test_the_best_file_is_whole_then_least_filtered(
    better: dict[str, object], worse: dict[str, object]
) -> None:
    one, other = file("a", **better), file("b", **worse)
    for files in ((one, other), (other, one)):
        crash = Info(id="ab" * 16, time_s=5, added_s=6, files=files)
        assert crash.best_file == one

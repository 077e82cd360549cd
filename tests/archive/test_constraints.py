"""Specifications: what is typed becomes data, or one sentence that says why not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cas.archive.constraints import (
    Garbage,
    age_s,
    ids_of_lines,
    property_name,
    selection_of,
)
from cas.model.archived import Comparison, Constraint, Selection

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
NOW_S = int(NOW.timestamp())
DAY_S = 86400


@pytest.mark.parametrize(
    ("age", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("5min", 300),
        ("6h", 6 * 3600),
        ("h", 3600),
        ("3d", 3 * DAY_S),
        ("1w", 7 * DAY_S),
        ("2fortnight", 28 * DAY_S),
        ("1m", 31 * DAY_S),
        ("1month", 31 * DAY_S),
        ("1y", 365 * DAY_S),
        ("9" * 300 + "y", 365000 * DAY_S),
    ],
)
def test_an_age_is_read_as_thoth_reads_it(age: str, seconds: int) -> None:
    assert age_s(age) == seconds


@pytest.mark.parametrize("age", ["10x", "", "6 h", "h6", "1.5h", "-1h", "6H"])
def test_an_age_without_a_unit_that_there_is_is_refused(age: str) -> None:
    with pytest.raises(Garbage, match="invalid time suffix") as caught:
        age_s(age)
    assert caught.value.exit_code == 1


def test_constraints_hold_together_and_are_split_at_the_first_sign() -> None:
    words = ["mtime=6h", "otime=1h", "time=1d", "limit=5", "node=web*", "panic=a=b", "x=undefined"]
    assert selection_of(words, NOW) == Selection(
        (
            Constraint("node", Comparison.GLOB, "web*"),
            Constraint("panic", Comparison.EQUAL, "a=b"),
            Constraint("properties.x", Comparison.UNDEFINED),
        ),
        added_after_s=NOW_S - 6 * 3600,
        added_before_s=NOW_S - 3600,
        crashed_after_s=NOW_S - DAY_S,
        limit=5,
    )


@pytest.mark.parametrize("word", ["=x", "limit=many", "limit=-1", "limit=", "mtime=10x"])
def test_what_cannot_be_meant_is_refused(word: str) -> None:
    with pytest.raises(Garbage):
        selection_of([word], NOW)


@pytest.mark.parametrize(
    ("typed", "whole"),
    [
        ("node", "node"),
        ("ticket", "tickets"),
        ("signatures.top_3", "signatures.top_3"),
        ("properties.triage", "properties.triage"),
        ("triage.engineer", "properties.triage.engineer"),
        ('__import__("os")', 'properties.__import__("os")'),
    ],
)
def test_what_no_crash_has_by_itself_is_a_users_property(typed: str, whole: str) -> None:
    assert property_name(typed) == whole


def test_ids_are_the_first_words_of_lines() -> None:
    lines = ["NAME TYPE", "0757B6bc5ea886b2 crash x", "", "  abcd", "abcd"]
    assert ids_of_lines(lines) == ["name", "0757b6bc5ea886b2", "abcd"]

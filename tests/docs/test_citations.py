"""What the code cites of the kernel and of other programs: one form, and each seen in a source."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import cas

CODE = Path(cas.__file__).parent
TABLE = Path(__file__).with_name("citations.toml")
FORM = re.compile(r"\b(Linux|crash|makedumpfile|drgn) (\d+(?:\.\d+)+) \(([0-9a-f]{12})\)")
HASH = re.compile(r"\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{12}\b")
SHORTENED = re.compile(r"\bcommit [0-9a-f]{7,}\b")
BREAK = re.compile(r"\n\s*(?:# ?)?")


def texts() -> Iterator[tuple[str, str]]:
    """Each module's name and text, its lines joined as a reader joins them."""
    for path in sorted(CODE.rglob("*.py")):
        yield str(path.relative_to(CODE)), BREAK.sub(" ", path.read_text())


def cited() -> dict[str, set[tuple[str, str]]]:
    """Program and release that each commit is cited with."""
    found: dict[str, set[tuple[str, str]]] = {}
    for _, text in texts():
        for program, version, commit in FORM.findall(text):
            found.setdefault(commit, set()).add((program, version))
    return found


@pytest.fixture(name="table")
def read_table() -> dict[str, dict[str, str]]:
    """What is known of each commit."""
    return tomllib.loads(TABLE.read_text())


def test_every_commit_is_cited_in_one_form() -> None:
    astray = [
        (name, commit)
        for name, text in texts()
        for commit in [*HASH.findall(FORM.sub("", text)), *SHORTENED.findall(text)]
    ]
    assert not astray, "write: Linux 5.14 (2f064a59a11f)"


def test_the_table_has_what_is_cited_and_nothing_else(table: dict[str, dict[str, str]]) -> None:
    assert set(cited()) == set(table)


def test_a_commit_is_cited_with_the_release_that_the_table_has(
    table: dict[str, dict[str, str]],
) -> None:
    wrong = {
        commit: releases
        for commit, releases in cited().items()
        if releases != {(table[commit]["program"], table[commit]["version"])}
    }
    assert not wrong


def test_the_table_says_of_each_commit_where_it_was_seen(table: dict[str, dict[str, str]]) -> None:
    fields = {"program", "version", "subject", "seen", "version_seen"}
    assert all(set(entry) == fields and all(entry.values()) for entry in table.values())


def test_there_are_at_least_sixty() -> None:
    assert len(cited()) >= 60

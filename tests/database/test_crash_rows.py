"""A selection of crashes as SQL, on both databases."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from postgresql import on_both
from sqlalchemy import text

from cas.choices import Presence
from cas.database import crash_rows
from cas.database.crash_rows import LINE, selected
from cas.database.store import Store
from cas.model.archived import (
    EVERY,
    Comparison,
    Constraint,
    CrashLine,
    CrashWord,
    IndexedCrash,
    Selection,
)

ALL = (1, 2, 3)
NODES = {1: "web1.x[y]", 2: "webX.", 3: "a%b_c\\"}
WORDS = {
    1: {"release": ["6.1.0"], "tickets": ["T-1", "T-2"], "panic": ["it's; DROP TABLE x --"]},
    2: {"release": ["6.10"], "properties.triage.engineer": ["bmc"]},
    3: {"tickets": ["T-2"], "modules": ["nvme", "ext4"], "panic": ["Ä" * 500]},
}


def crash(number: int) -> IndexedCrash:
    line = CrashLine(f"{number:032x}", "crash", 100 - number, NODES[number], None, None)
    words = [
        CrashWord(name, position, value)
        for name, values in WORDS[number].items()
        for position, value in enumerate(values)
    ]
    info = json.dumps({"id": line.id})
    return IndexedCrash(line, 1000 * number, Presence.HERE, info, tuple(words))


@pytest.fixture
def filled(store: Store) -> Store:
    store.crashes.put(map(crash, ALL))
    store.crashes.put(map(crash, ALL))  # takes the place of what was there
    return store


def found(store: Store, *constraints: Constraint, **rest: object) -> list[int]:
    selection = Selection(constraints, **rest)  # type: ignore[arg-type]
    return [int(line.id, 16) for line in store.crashes.lines(selection)]


def equal(name: str, value: str) -> Constraint:
    return Constraint(name, Comparison.EQUAL, value)


def glob(name: str, value: str) -> Constraint:
    return Constraint(name, Comparison.GLOB, value)


@on_both
def test_constraints_find_what_they_say(filled: Store) -> None:
    expected = {
        equal("node", "webX."): [2],
        equal("node", "webx."): [],
        glob("node", "web*"): [2, 1],
        glob("node", "WEB*"): [],
        glob("node", "web1.*"): [1],
        glob("node", "*[y]"): [1],
        glob("node", "web?."): [2],
        glob("node", "*.?*"): [1],
        glob("node", "a%b_c*"): [3],
        glob("node", "a?b?c\\"): [3],
        glob("node", "a%?_c\\"): [3],
        glob("node", "%*"): [],
        glob("node", "*"): [3, 2, 1],
        equal("type", "crash"): [3, 2, 1],
        equal("presence", "here"): [3, 2, 1],
        equal("presence", "nowhere"): [],
        equal("id", f"{2:032x}"): [2],
        equal("release", "6.1.0"): [1],
        glob("release", "6.1*"): [2, 1],
        equal("tickets", "T-2"): [3, 1],
        equal("modules", "ext4"): [3],
        equal("panic", "it's; DROP TABLE x --"): [1],
        glob("panic", "Ä*"): [3],
        Constraint("release", Comparison.UNDEFINED): [3],
        Constraint("tickets", Comparison.UNDEFINED): [2],
        Constraint("properties.triage", Comparison.UNDEFINED): [3, 1],
        Constraint("node", Comparison.UNDEFINED): [],
        Constraint("cmd", Comparison.UNDEFINED): [3, 2, 1],
    }
    assert {one: found(filled, one) for one in expected} == expected


@on_both
def test_all_of_a_selection_holds_and_its_order_is_that_of_the_crashes(filled: Store) -> None:
    assert found(filled, glob("node", "web*"), equal("tickets", "T-1")) == [1]
    assert found(filled, added_after_s=1000) == [3, 2]
    assert found(filled, added_after_s=1000, added_before_s=3000) == [2]
    assert found(filled, crashed_after_s=97) == [2, 1]
    assert found(filled, limit=2) == [3, 2]
    assert found(filled, limit=0) == []
    assert found(filled, ids=(f"{1:032x}", "no id")) == [1]
    assert found(filled, ids=()) == []
    assert filled.crashes.count(Selection(limit=2)) == 2
    same_time = [replace(crash(1), line=replace(crash(1).line, id=f"{id_:032x}")) for id_ in (9, 8)]
    filled.crashes.put(same_time)
    assert found(filled) == [3, 2, 1, 8, 9]
    assert found(filled, limit=4) == [3, 2, 1, 8]


@on_both
def test_values_are_counted_by_crash(filled: Store) -> None:
    assert filled.crashes.tally(EVERY, "tickets") == [("T-2", 2), ("T-1", 1)]
    assert filled.crashes.tally(EVERY, "presence") == [("here", 3)]
    assert filled.crashes.tally(Selection((equal("node", "webX."),)), "tickets") == []
    twice = tuple(CrashWord("files.format", position, "ELF") for position in (0, 1))
    filled.crashes.put([replace(crash(1), words=twice)])
    assert filled.crashes.tally(EVERY, "files.format") == [("ELF", 1)]


@on_both
def test_ids_are_found_by_their_beginnings(filled: Store) -> None:
    assert filled.crashes.ids_by_prefix("0000", 2) == (f"{1:032x}", f"{2:032x}")
    assert filled.crashes.ids_by_prefix("%", 2) == ()
    assert filled.crashes.ids_by_prefixes([f"{2:032x}", "%", "0" * 31]) == {
        f"{2:032x}": [f"{2:032x}"],
        "0" * 31: [f"{number:032x}" for number in (1, 2, 3)],
    }


@on_both
def test_a_presence_is_noted_and_a_crash_taken_out(filled: Store) -> None:
    filled.crashes.note_presence([(f"{1:032x}", Presence.MISSING)])
    assert found(filled, equal("presence", "missing")) == [1]
    assert filled.crashes.presences(EVERY)[f"{1:032x}"] is Presence.MISSING
    filled.crashes.remove_crash(f"{1:032x}")
    assert found(filled) == [3, 2]
    assert not filled.crashes.has_property("release.x")
    assert filled.crashes.has_property("properties.triage")


@on_both
def test_crashes_are_written_and_read_some_at_a_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crash_rows, "_AT_ONCE", 2)
    older = replace(crash(3), added_s=1)
    store.crashes.put([older, crash(3), crash(1), crash(2), crash(2)])
    assert list(store.crashes.all_ids()) == [f"{number:032x}" for number in ALL]
    assert found(store) == [3, 2, 1]
    assert found(store, added_before_s=1000) == []


@on_both
def test_each_job_of_a_crash_has_its_title(filled: Store) -> None:
    named = {"jobs": ["T-1/a", "T-2/b"], "title": ["use after free"], "node": ["web1"]}
    words = [
        CrashWord(name, position, value)
        for name, values in named.items()
        for position, value in enumerate(values)
    ]
    untitled = (CrashWord("jobs", 0, "T-3/c"),)
    filled.crashes.put([replace(crash(1), words=tuple(words)), replace(crash(2), words=untitled)])
    assert filled.crashes.titles_of_jobs() == dict.fromkeys(named["jobs"], "use after free")


PLANS = {
    equal("node", "webX."): "ix_crashes_node",
    glob("node", "web*"): "ix_crashes_node",
    glob("node", "web*.x"): "ix_crashes_node",
    glob("id", "0000*"): "crashes_",
    equal("release", "6.1.0"): "crash_words_by_value",
    glob("release", "6.1*"): "crash_words_by_value",
    equal("tickets", "T-1"): "crash_words_by_value",
}


@on_both
def test_an_index_finds_what_is_equal_and_what_begins_so(filled: Store) -> None:
    database = filled.open().database
    for constraint, index in PLANS.items():
        query = selected(Selection((constraint,)), LINE)
        with database.reading() as connection:
            is_server = connection.dialect.name == "postgresql"
            if is_server:  # of three rows it would read all
                connection.execute(text("SET LOCAL enable_seqscan = off"))
            sql = str(query.compile(connection, compile_kwargs={"literal_binds": True}))
            how = "EXPLAIN" if is_server else "EXPLAIN QUERY PLAN"
            rows = connection.exec_driver_sql(f"{how} {sql}")
            plan = "\n".join(str(row[-1]) for row in rows)
        assert index in plan, (constraint, plan)
        for whole in ("Seq Scan", "SCAN crash_words", "SCAN crashes\n"):
            assert whole not in plan, (constraint, plan)


@on_both
def test_it_is_told_when_crashes_and_files_came(filled: Store) -> None:
    crashes = filled.crashes
    assert crashes.first_added() == 1000
    assert sorted(crashes.came(2000)) == [(f"{1:032x}", 1000), (f"{2:032x}", 3000)]
    assert [(line.id, added) for line, added, _ in crashes.records(EVERY)] == [
        (f"{number:032x}", 1000 * number) for number in reversed(ALL)
    ]
    late = replace(
        crash(2),
        words=tuple(CrashWord("files.added_s", at, f"{1_790_000_000 + at}") for at in range(2)),
    )
    crashes.put([late])
    assert crashes.with_files_since(1_790_000_000) == [f"{2:032x}"]
    assert crashes.with_files_since(1_790_000_001) == []

"""The records of a job, and the JSON schemas that are shipped for them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from write_schemas import KINDS, path_of, text_of

from cas.files.record import Unreadable, decode

STARTED = "2026-11-21T17:04:59+00:00"
DIGEST = "sha256-4MiB:" + "ab" * 32
LACK = {"what": "is cut", "offset": 5, "cause": "cut"}
JOB: dict[str, Any] = {
    "version": 1,
    "started": STARTED,
    "order": {
        "ticket": "T-1",
        "upload": "/srv/vm\udcffcore",
        "email": "a@example.com",
        "wants_kmods": True,
        "engine": "drgn",
        "member": "a/vmcore",
        "more": ["/srv/b"],
        "url": "https://example.com/x",
    },
    "stages": ["received", "stored"],
    "stored": {
        "vmcore": "vmcore/vmcore.elf",
        "parts": ["vmcore/vmcore.1"],
        "sidecars": ["sidecars/0000-dmesg.txt"],
        "missing": [LACK],
        "remarks": ["5 bytes behind the end"],
    },
    "verdict": "waiting",
    "files": {"vmcore/vmcore.elf": {"size_bytes": 7, "digest": DIGEST}},
}
THERE = {"path": "/srv/vmcore", "size_bytes": 7, "digest": DIGEST}
THERE |= {"inode": 5, "modified_ns": 1, "changed_ns": 2}
REFERRING_JOB: dict[str, Any] = {**JOB, "stored": {"vmcore": THERE}}
OLD_JOB: dict[str, Any] = {
    "version": 1,
    "order": {
        "ticket": "T-1",
        "upload": "/srv/vmcore",
        "email": None,
        "wants_kmods": False,
        "engine": None,
        "member": None,
        "more": [],
        "url": None,
    },
    "started": "2026-11-21T17:04:59.123456+02:00",
    "stages": ["received"],
    "stored": {
        "vmcore": "log",
        "parts": ["vmcore.1"],
        "sidecars": [],
        "missing": [{"what": "is cut", "offset": None}],
        "remarks": [],
    },
    "verdict": None,
    "files": {},
}
"""Without causes, the dump beside the results."""
RESULT: dict[str, Any] = {
    "version": 1,
    "ticket": "T-1",
    "directory": "/cores/T-1/2026.11.21.17.04.59",
    "upload": "/srv/vmcore",
    "server": "triage-01",
    "started": STARTED,
    "seconds": {"store": 0.1},
    "verdict": "partial",
    "stage": "analysed",
    "offset": 7,
    "limits_hit": ["log: timeout"],
    "ladder": ["drgn"],
    "kernel": {"release": "6.1.0", "arch": "x86_64", "build_id": "ab", "vmlinux": "/v/vmlinux"},
    "dump": {
        "path": "/cores/vmcore",
        "format": "ELF",
        "size_bytes": 7,
        "arch": "x86_64",
        "crash_time": STARTED,
        "missing": [LACK],
        "is_whole": False,
    },
    "registers": [{"cpu": 0, "pid": 1, "values": {"rip": "0x1"}}],
    "answer": {
        "panic_task": {"pid": 1, "comm": "sh"},
        "backtrace": [{"function": "f", "offset": 3, "line": 4, "inlined": True}],
        "kmods": [{"name": "ext4", "build_id": "cd"}],
        "uptime_s": 5.0,
    },
    "finding": {"what": "BUG", "next_steps": ["look"]},
    "sections": [
        {"name": "sys", "title": "System", "status": "ok", "engine": "drgn", "path": "sys"}
    ],
    "mail": None,
}
RECORDS = {"job.json": JOB, "result.json": RESULT}
WRONG = [None, True, 1, -1, 0.5, "x", "../x", "a\0b", "1\n", "\ud800", [], [None], {}, {"a": {}}]


def is_taken(name: str, facts: object) -> bool:
    try:
        decode(json.dumps(facts).encode(), KINDS[name])
    except Unreadable as error:
        assert str(error)
        return False
    return True


def places(facts: Any) -> Iterator[tuple[Any, ...]]:
    """The ways to every value, that of the whole too."""
    yield ()
    inside = facts.items() if isinstance(facts, dict) else ()
    for key, value in enumerate(facts) if isinstance(facts, list) else inside:
        for rest in places(value):
            yield (key, *rest)


def replaced(facts: Any, place: tuple[Any, ...], value: object) -> Any:
    if not place:
        return value
    changed = copy.copy(facts)
    changed[place[0]] = replaced(facts[place[0]], place[1:], value)
    return changed


@pytest.mark.parametrize("name", RECORDS)
def test_the_shipped_schema_is_that_of_the_program(name: str) -> None:
    assert path_of(name).read_text() == text_of(name), "run: python tests/write_schemas.py"


@pytest.mark.parametrize(("name", "facts"), [*RECORDS.items(), ("job.json", OLD_JOB)])
def test_a_record_is_read(name: str, facts: dict[str, Any]) -> None:
    schema = json.loads(path_of(name).read_text())
    jsonschema.Draft202012Validator(schema).validate(facts)
    assert is_taken(name, facts)
    assert is_taken(name, {**facts, "of a later release": [1]})


@pytest.mark.parametrize(("name", "whole"), [*RECORDS.items(), ("job.json", REFERRING_JOB)])
def test_what_has_another_type_is_refused_exactly_where_the_schema_refuses_it(
    name: str, whole: dict[str, Any]
) -> None:
    schema = jsonschema.Draft202012Validator(json.loads(path_of(name).read_text()))
    # which texts are times the schema leaves to its reader, and a time may be absent in `dump`
    times = {("started",), ("dump", "crash_time")}
    tried = 0
    for place in places(whole):
        for value in WRONG:
            if place in times and isinstance(value, str):
                continue
            facts = replaced(whole, place, value)
            assert is_taken(name, facts) == schema.is_valid(facts), (place, value)
            tried += 1
    assert tried > 400


@pytest.mark.parametrize("name", RECORDS)
def test_what_is_missing_has_a_default_or_is_missed(name: str) -> None:
    schema = json.loads(path_of(name).read_text())
    for key in RECORDS[name]:
        facts = {other: value for other, value in RECORDS[name].items() if other != key}
        assert is_taken(name, facts) == (key not in schema["required"]), key


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"version": 2}, "it is of version 2, this program knows 1"),
        ({"version": "1"}, r"Expected `int`, got `str` - at `\$.version`"),
        ({"started": "yesterday"}, r"at `\$.started`"),
        ({"started": "2026-11-21T17:04:59"}, "timezone"),
        ({"started": "0001-01-01T00:00:00+00:00"}, "in the year 1"),
        ({"started": "9999-12-31T23:59:59+00:00"}, "in the year 9999"),
        ({"stages": []}, r"at `\$.stages`"),
        ({"verdict": "lost"}, r"Invalid enum value 'lost' - at `\$.verdict`"),
        ({"order": {"ticket": "../../etc", "upload": ""}}, r"at `\$.order.ticket`"),
        ({"order": {"ticket": "T-1\n", "upload": ""}}, r"at `\$.order.ticket`"),
        ({"stored": {"vmcore": "/etc/shadow"}}, r"at `\$.stored.vmcore`"),
        ({"stored": {"vmcore": "a\n/../../x"}}, r"at `\$.stored.vmcore`"),
        ({"stored": {"vmcore": "."}}, r"at `\$.stored.vmcore`"),
        ({"stored": {"vmcore": ""}}, r"at `\$.stored.vmcore`"),
    ],
)
def test_what_is_wrong_with_a_record_is_said(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Unreadable, match=sentence):
        decode(json.dumps({**JOB, **change}).encode(), KINDS["job.json"])


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b"1" * 5000, b"[]", b"1"])
def test_what_is_no_record_is_refused(content: bytes) -> None:
    with pytest.raises(Unreadable):
        decode(content, KINDS["job.json"])

"""Records that somebody has spoilt, and places that others could change: told, and no traceback."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cas.archive.archive import Archive
from cas.archive.record import File, Info
from cas.database.store import Store
from cas.files.digest import Fingerprint

from installed import Site, answer

GOOD = "0" * 32
Record = dict[str, Any]


def put(site: Site, crash_id: str, content: bytes = b"dump") -> Path:
    """A crash with a file; the path of its record."""
    config = site.world().config
    archive = Archive.of(config, Store(config.database))
    blank = Info(id=crash_id, time_s=1700000000, added_s=1700000000)
    with archive.changing(crash_id, lambda: blank) as draft:
        path = archive.directory_of(crash_id) / "files" / "new"
        path.write_bytes(content)
        kept = Fingerprint.of(path)
        path.rename(path.with_name(kept.digest.partition(":")[2]))
        file = File(
            name="vmcore",
            digest=kept.digest,
            size_bytes=kept.size_bytes,
            format="ELF",
            is_whole=True,
            added_s=1700000000,
        )
        draft.info = Info(
            id=crash_id, time_s=1700000000, added_s=1700000000, files=(file,), facts={"node": "n"}
        )
    return archive.directory_of(crash_id) / "info.json"


@pytest.fixture
def site(site: Site) -> Site:
    site.settings["database"] = str(site.directory / "cas.db")
    site.jobs.mkdir(exist_ok=True)
    return site


def deep(record: Record) -> bytes:
    return json.dumps(record).replace('"node": "n"', f'"node": {"[" * 900}{"]" * 900}').encode()


def with_facts(**facts: Any) -> Callable[[Record], bytes]:
    return lambda record: json.dumps(record | {"facts": facts}).encode()


def changed(**values: Any) -> Callable[[Record], bytes]:
    return lambda record: json.dumps(record | values).encode()


REFUSED: dict[str, Callable[[Record], bytes]] = {
    "no JSON": lambda _: b"{",
    "not text": lambda _: b"\xff\xfe",
    "an array": lambda _: b"[]",
    "17 MiB": lambda record: json.dumps(record).encode() + b" " * (17 << 20),
    "very deep": lambda _: b"[" * 100_000,
    "deep": deep,
    "of another": changed(id="f" * 32),
    "NUL in the id": changed(id="\0" * 32),
    "of the far future": changed(time_s=10**30),
    "a huge number": lambda record: json.dumps(record).encode().replace(b"1700000000", b"9" * 5000),
    "a fraction": changed(added_s=0.5),
    "files as a word": changed(files="x"),
    "a job above": changed(jobs=["../../etc"]),
    "of a later version": changed(version=99),
    "a file of a size below 0": changed(files=[{"name": "x", "size_bytes": -1}]),
}
TAKEN: dict[str, Callable[[Record], bytes]] = {
    "facts in the place of our own": with_facts(
        ticket={}, id=1, jobs="x", files=None, node={"a": 1}
    ),
    "nameless facts": with_facts(**{"": 1, "a" * 5000: {"": {"": "\0"}}}),
    "NUL and halves of characters": with_facts(node="\0\ud800", title="\x1b[31m"),
    "numbers that no database has": with_facts(
        cpus=10**300, memory=float("inf"), uptime=float("nan")
    ),
    "a million values": with_facts(stack=["x"] * 100_000),
}


def test_spoilt_records_are_told_and_the_others_listed(site: Site) -> None:
    put(site, GOOD)
    ids = {}
    for number, (what, spoil) in enumerate({**REFUSED, **TAKEN}.items(), 1):
        crash_id = ids[what] = f"{number:08x}" + "a" * 24
        path = put(site, crash_id, what.encode())
        path.write_bytes(spoil(json.loads(path.read_text())))
    index = site.admin("index")
    said = index.stdout + index.stderr
    assert index.returncode == 4, said
    for word in ("Traceback", "internal error"):
        assert word not in said
    for what in REFUSED:
        assert ids[what] in said, what
    for what in TAKEN:
        assert ids[what] not in said, what
    listed = site.cas("ls", "--json")
    assert listed.returncode == 0, listed.stderr
    assert {GOOD, *(ids[what] for what in TAKEN)} <= {
        one["id"] for one in json.loads(listed.stdout)
    }
    for words in (("ls",), ("report", "node"), ("info", f"id={GOOD}")):
        assert site.cas(*words).returncode == 0
    check = site.admin("check")
    assert check.returncode == 4
    told = [line for line in check.stdout.splitlines() if "/objects/" in line]
    assert {what for what in ids if any(ids[what] in line for line in told)} == {*REFUSED}
    for words in (("set", f"id={ids['deep']}", "a", "b"), ("info", f"id={ids['an array']}")):
        done = site.cas(*words)
        assert done.returncode in (0, 2, 4)
        assert "internal error" not in done.stderr


def test_a_value_that_is_nested_too_deeply_is_refused_before_it_is_recorded(site: Site) -> None:
    record = put(site, GOOD)
    before = record.read_bytes()
    done = site.cas("set", f"id={GOOD}", "deep", "[" * 900 + "]" * 900)
    assert (done.returncode, record.read_bytes()) == (1, before)
    assert "nested too deeply" in done.stderr
    assert site.cas("ls").returncode == 0
    assert site.cas("set", f"id={GOOD}", "fine", "x").returncode == 0


def test_a_damaged_record_that_waits_for_the_index_keeps_nobody_from_the_others(site: Site) -> None:
    put(site, GOOD)
    put(site, "a" * 32).write_bytes(b"{")
    (site.jobs / ".archive" / "unindexed").mkdir(exist_ok=True)
    (site.jobs / ".archive" / "unindexed" / ("a" * 32)).touch()
    assert GOOD[:16] in site.cas("ls").stdout


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda path, _: path.chmod(0o777), id="others may write"),
        pytest.param(lambda path, _: path.parent.chmod(0o777), id="others may replace it"),
        pytest.param(
            lambda path, _: os.chown(path, 65534, 65534),
            id="of another",
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root can give it away"),
        ),
        pytest.param(
            lambda path, aside: path.rename(aside) and path.symlink_to(aside), id="a link"
        ),
    ],
)
def test_an_archive_that_others_may_change_is_used_for_nothing(
    site: Site, spoil: Callable[[Path, Path], object]
) -> None:
    store = site.directory / "place" / "store"
    store.parent.mkdir()
    site.settings["store"] = str(store)
    put(site, GOOD)
    spoil(store, site.directory / "aside")
    for words in (("ls",), ("set", f"id={GOOD}", "a", "b")):
        done = answer_of(site, *words)
        assert done == 5
    purge = site.admin("-p", "--yes")
    assert f"nothing of the archive is purged: the archive {store} " in purge.stderr
    check = site.admin("check")
    assert f"the archive {store} " in check.stdout
    # where users share a work directory, one of them has the archive: that is no fault
    is_another_users = store.lstat().st_uid != os.geteuid()
    assert (check.returncode == 0) is is_another_users
    assert (site.admin("index").returncode == 0) is is_another_users
    assert (site.admin("status").returncode == 0) is is_another_users


def answer_of(site: Site, *words: str) -> int:
    done = site.cas(*words)
    assert "internal error" not in done.stderr
    assert "the archive" in done.stderr
    return done.returncode


def test_check_tells_what_of_the_archive_is_not_as_it_was_stored(site: Site) -> None:
    record = put(site, GOOD)
    assert site.admin("check").returncode == 0
    (file,) = (record.parent / "files").iterdir()
    told = json.loads(site.admin("status", "--json").stdout)["archive"]
    assert (told["crashes"], told["files"], told["missing"]) == (1, 1, 0)
    assert told["size_bytes"] == file.stat().st_blocks * 512

    def flaws(*words: str) -> list[str]:
        lines = site.admin("check", *words).stdout.splitlines()
        return [line for line in lines if line.startswith(("broken", "open"))]

    file.chmod(0o600)
    file.write_bytes(b"dumb")
    (flaw,) = flaws()
    assert f"its file {file} has another content than was stored" in flaw
    assert flaws("--quick") == []
    file.write_bytes(b"du")
    (flaw,) = flaws("--quick")
    assert f"its file {file} has 2 bytes, 4 were stored" in flaw
    file.unlink()
    (flaw,) = flaws("--quick")
    assert f"its file {file} is missing" in flaw
    assert site.cas("ls", "presence").returncode == 0
    assert "! 1 crash, 0 files of 0 bytes, 1 missing" in site.admin("status").stdout
    said = json.loads(record.read_text())
    record.write_text(json.dumps(said | {"files": [], "jobs": ["T-9/2026.01.01.00.00.00"]}))
    lines = flaws()
    assert any("names the job T-9/2026.01.01.00.00.00, which is gone" in line for line in lines)
    assert any(
        "is not what the database says of it; run: cas-admin index" in line for line in lines
    )
    assert site.admin("index").returncode == 0
    assert flaws() == []
    record.unlink()
    (flaw,) = flaws()
    assert "is in the database, but there is no such crash; run: cas-admin index" in flaw
    assert answer(site.world(), "cas-admin", "index").status == 0
    assert flaws() == []

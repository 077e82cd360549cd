import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from postgresql import now_and_then_on_both, on_both
from sqlalchemy import Engine, event, insert, inspect, text

from cas.choices import Presence
from cas.database import HEAD
from cas.database.build_rows import BuildRows
from cas.database.connection import MIGRATIONS, Database
from cas.database.quick_queries import quick_candidates, quick_hosts
from cas.database.records import Crashed, JobRecord
from cas.database.store import Store
from cas.database.tables import builds, metadata
from cas.errors import ConfigError, DatabaseDamaged, TryAgain
from cas.model.archived import CrashLine, CrashWord, IndexedCrash
from cas.model.finding import Machine, Signature
from cas.model.occurrence import Newest, Occurrences, Seen, Tally

from installed import Site

NOW = datetime(2026, 11, 21, 8, 41, 20, tzinfo=UTC)


def job(ticket: str, number: int = 0, *values: str, **facts: Any) -> JobRecord:
    """A job of so many hours later.

    :param values: of its signatures, from coarse to fine
    """
    directory = Path("/cores") / ticket / str(number)
    started = NOW + timedelta(hours=number)
    verdict = facts.pop("verdict", "complete")
    return JobRecord(ticket, directory, started, verdict, signatures=named(*values), **facts)


def named(*values: str) -> tuple[Signature, ...]:
    return tuple(map(partial(Signature, 2), ("title", "top 3"), values))


def tickets(store: Store, *values: str) -> tuple[str, ...]:
    """Where crashes with these signatures were seen."""
    return store.jobs.seen(Crashed("T-0", Path("/other"), named(*values))).tickets


def test_the_head_is_alembics() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


@now_and_then_on_both
def test_a_new_database_and_a_migrated_one_have_the_tables_that_the_code_uses(
    database: str,
) -> None:
    def flaws() -> object:
        with Database(database, 1).reading() as connection:
            return compare_metadata(MigrationContext.configure(connection), metadata)

    assert flaws() == []
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with Database(database, 1).migrating() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        assert "jobs" not in inspect(connection).get_table_names()
    assert flaws() == []


def test_the_directory_of_a_new_database_is_made(tmp_path: Path) -> None:
    Store(tmp_path / "a" / "b" / "cas.db").open()
    assert (tmp_path / "a" / "b" / "cas.db").exists()


def test_sqlite_is_named_by_url_too(tmp_path: Path) -> None:
    Store(f"sqlite:///{tmp_path}/cas.db").jobs.put(job("T-1", 0, "s"))
    assert tickets(Store(tmp_path / "cas.db"), "s") == ("T-1",)


def test_a_new_database_is_made_without_alembic_and_without_an_orm(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from cas.catalogue import Catalogue\n"
        "from cas.database.store import Store\n"
        "import cas.catalogue.extraction.extract\n"
        "assert 'sqlalchemy' not in sys.modules\n"
        "from cas.database.records import Crashed\n"
        "Store(sys.argv[1]).jobs.seen(Crashed('T-1', Path('/'), former='s'))\n"
        "print(sorted({'alembic', 'sqlalchemy.orm', 'rpmfile'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "cas.db"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


def test_a_catalogued_kernel_is_found_by_its_build_id_without_an_orm(site_a: Site) -> None:
    script = (
        "import sys; from pathlib import Path; from cas.catalogue import Catalogue\n"
        "from cas.database.store import Store; from cas.model.kernel import KernelIdentity\n"
        "identity = KernelIdentity('x86_64', None, sys.argv[2], None)\n"
        "print(Catalogue(Store(sys.argv[1])).find(identity).kernel.source.suffix)\n"
        "print('sqlalchemy' in sys.modules)"
    )
    argv = [
        sys.executable,
        "-c",
        script,
        site_a.settings["database"],
        "81561b88fc316209f6d1adc62e3e31a14f1760c3",
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout == ".rpm\nFalse\n"


@on_both
def test_what_was_seen_before_is_counted_by_dumps_and_named_newest_first(
    store: Store,
) -> None:
    for record in (
        job("T-1", 1, "title", "path", nodename="db1", osrelease="6.1", digest="d1"),
        job("T-2", 2, "title", "path", nodename="db2", osrelease="6.1", verdict="waiting"),
        job("T-3", 3, "title", "path", nodename="db1", osrelease="6.2"),
        job("T-1", 4, "title", "path", nodename="db1", osrelease="6.1", digest="d1"),
        job("T-4", 5, "title", "elsewhere", nodename="db3", crashed=NOW - timedelta(days=90)),
        job("T-5", 6, "other", "path of another"),
        job("T-6", 7, "title", "path", digest="own"),
        job("T-9", 8, "title", "path", digest="own"),
    ):
        store.jobs.put(record)
    asked = Crashed("T-9", Path("/cores/T-9/8"), named("title", "path"), digest="own")
    assert store.jobs.seen(asked) == Seen(
        same=Occurrences(
            3,
            NOW + timedelta(hours=1),
            tickets=Newest(3, ("T-1", "T-3", "T-2")),
            hosts=Newest(2, ("db1", "db2")),
            kernels=Newest(2, ("6.1", "6.2")),
        ),
        similar=Occurrences(
            1, NOW - timedelta(days=90), Newest(1, ("T-4",)), Newest(1, ("db3",)), Newest()
        ),
        same_dump=("T-6",),
    )
    assert store.jobs.seen(replace(asked, until=NOW + timedelta(hours=2))).tickets == ("T-1",)


def noted(number: int, node: str, **signatures: str) -> IndexedCrash:
    """A crash without a dump, so many days ago."""
    time_s = int((NOW - timedelta(days=number)).timestamp())
    line = CrashLine(f"{number:032x}", "note", time_s, node, None, None)
    words = [CrashWord(f"signatures.{name}", 0, value) for name, value in signatures.items()]
    words.append(CrashWord("release", 0, "6.1"))
    return IndexedCrash(line, time_s, Presence.NOTED, "{}", tuple(words))


@on_both
def test_notes_without_dumps_count_as_occurrences(store: Store) -> None:
    store.jobs.put(job("T-1", 1, "title", "path", nodename="db1", osrelease="6.2"))
    store.crashes.put(
        [
            noted(3, "db2", title="title", top_3="path"),
            noted(5, "db3", title="title", top_3="path"),
            noted(7, "db2", title="title", top_3="elsewhere"),
            noted(9, "db4", title="other", top_3="of another"),
        ]
    )
    asked = Crashed("T-9", Path("/cores/T-9/8"), named("title", "path"))
    assert store.jobs.seen(asked) == Seen(
        same=Occurrences(
            3,
            NOW - timedelta(days=5),
            tickets=Newest(1, ("T-1",)),
            hosts=Newest(3, ("db1", "db2", "db3")),
            kernels=Newest(2, ("6.2", "6.1")),
            notes=2,
        ),
        similar=Occurrences(
            1,
            NOW - timedelta(days=7),
            Newest(),
            Newest(1, ("db2",)),
            Newest(1, ("6.1",)),
            notes=1,
        ),
    )
    before = store.jobs.seen(replace(asked, until=NOW - timedelta(days=4)))
    assert before.same and before.same.count == 1


@on_both
def test_the_same_ticket_counts_and_its_same_dump_is_told_by_job(store: Store) -> None:
    store.jobs.put(job("T-1", 1, "title", "path", digest="one"))
    store.jobs.put(job("T-1", 2, "title", "path", digest="two"))
    asked = Crashed("T-1", Path("/cores/T-1/3"), named("title", "path"), digest="two")
    seen = store.jobs.seen(asked)
    assert seen.same is not None
    assert (seen.same.count, seen.tickets, seen.same_dump) == (1, ("T-1",), ("T-1/2",))


@on_both
def test_a_dump_that_is_the_same_crash_is_no_similar_one_too(store: Store) -> None:
    store.jobs.put(job("T-1", 1, "title", digest="one"))
    store.jobs.put(job("T-1", 2, "title", "path", digest="one"))
    for number in range(12):
        store.jobs.put(job("T-2", 3 + number, "title", "path", digest="own"))
    store.jobs.put(job("T-3", 2, "title", "path", digest="own"))
    seen = store.jobs.seen(Crashed("T-9", Path("/9"), named("title", "path"), digest="own"))
    assert seen.same is not None
    assert (seen.same.count, seen.similar, seen.same_dump) == (1, None, ("T-2", "T-3"))


@on_both
def test_without_the_frames_to_compare_a_crash_is_similar_at_most(store: Store) -> None:
    store.jobs.put(job("T-1", 1, "title"))
    store.jobs.put(job("T-2", 2, "title", "path"))
    for values in (("title",), ("title", "another path")):
        seen = store.jobs.seen(Crashed("T-3", Path("/3"), named(*values)))
        assert (seen.same, seen.tickets) == (None, ("T-2", "T-1"))


@on_both
def test_a_job_that_is_not_reprocessed_is_compared_by_the_first_rules(store: Store) -> None:
    old = replace(job("T-1"), signatures=(Signature(1, "full", "old"),))
    store.jobs.put(old)
    asked = Crashed("T-2", Path("/2"), named("title", "path"), former="old")
    seen = store.jobs.seen(asked)
    assert (seen.same is not None, seen.similar, seen.tickets) == (True, None, ("T-1",))
    # judged anew it has a name of its own
    store.jobs.put(job("T-1", 0, "title", "another path"))
    seen = store.jobs.seen(asked)
    assert (seen.same, seen.similar is not None) == (None, True)


@now_and_then_on_both
def test_the_one_signature_of_before_becomes_a_row(database: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with Database(database, 1).migrating() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0003")
        columns = "ticket, directory, started, verdict, signature"
        values = "'T-1', '/cores/T-1/0', '2026-11-21 08:41:20', 'complete', 'old'"
        connection.execute(text(f"INSERT INTO jobs ({columns}) VALUES ({values})"))  # noqa: S608
    seen = Store(database).jobs.seen(Crashed("T-2", Path("/2"), former="old")).same
    assert seen is not None
    assert (seen.since, seen.tickets.names) == (NOW, ("T-1",))
    with Database(database, 1).migrating() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0003")
        told = connection.execute(text("SELECT signature FROM jobs")).scalars().all()
        command.upgrade(config, "head")  # the server is everybody's
    assert told == ["old"]


@pytest.mark.parametrize("hours", [-24 * 365 * 40, 1])
def test_a_clock_that_cannot_be_right_gives_way_to_the_time_of_arrival(
    store: Store, hours: int
) -> None:
    store.jobs.put(job("T-1", 0, "s", crashed=NOW + timedelta(hours=hours)))
    seen = store.jobs.seen(Crashed("T-2", Path("/2"), named("s"))).similar
    assert seen is not None
    assert seen.since == NOW


def test_earlier_occurrences_are_looked_up_by_index(tmp_path: Path, store: Store) -> None:
    store.jobs.put(job("T-1", 0, "title", "path", nodename="db1", model="R740"))
    asked = Crashed("T-2", Path("/2"), named("title", "path"), former="old", digest="d")
    asked = replace(asked, host="db1", machine=Machine("R740", "2.10"))
    queries = list[tuple[str, Any]]()

    def note(_: object, __: object, statement: str, values: Any, *___: object) -> None:
        queries.append((statement, values))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        assert store.jobs.seen(asked).same is not None
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    plans = []
    with sqlite3.connect(tmp_path / "cas.db") as connection:
        for statement, values in queries:
            if "FROM jobs" in statement:
                rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)
                plans.append([row[3] for row in rows])
    assert len(plans) == 4
    assert [step for plan in plans for step in plan if step.startswith("SCAN")] == []


@on_both
def test_times_of_other_zones_are_compared_as_instants(store: Store) -> None:
    eastern = NOW.astimezone(datetime.strptime("+0900", "%z").tzinfo)
    store.jobs.put(replace(job("T-1", 0, "s"), started=eastern))
    store.jobs.put(job("T-2", 1, "s"))
    assert tickets(store, "s") == ("T-2", "T-1")


@on_both
def test_of_long_ago_one_build_a_day_is_remembered(store: Store, database: str) -> None:
    days = [NOW - timedelta(days=number) for number in range(40, 0, -1)]
    rows = [{"kind": "build", "started": day, "counts": {}} for day in days]
    twice = [row for row in rows for _ in range(2)]
    with Database(database, 1).writing() as connection:
        connection.execute(insert(builds), twice)
    BuildRows(Database(database, 1)).begin_run()
    found = store.builds.all_runs()
    assert len(store.builds.last()) == 20
    assert {build.started for build in found[1:]} == {*days}
    assert len(found) == 20 + 30  # one for each day before the last 20
    store.builds.forget_after(days[3])
    assert {build.started for build in store.builds.all_runs()} == {*days[:4]}


@on_both
def test_a_job_is_recorded_again_in_place_of_the_old_record(store: Store) -> None:
    store.jobs.put(job("T-1", verdict="waiting"))
    store.jobs.put(job("T-2", verdict="waiting"))
    store.jobs.put(job("T-1", verdict="complete"))
    verdicts = {Path("/cores/T-1/0"): "complete", Path("/cores/T-2/0"): "waiting"}
    assert store.jobs.verdicts() == verdicts


@on_both
def test_a_forgotten_job_is_no_longer_similar(store: Store) -> None:
    store.jobs.put(job("T-1", 0, "s"))
    store.jobs.remove_job(Path("/cores/T-1/0"))
    store.jobs.put(job("T-2"))
    assert tickets(store, "s") == ()


@on_both
def test_what_a_hostile_dump_says_can_be_recorded(store: Store) -> None:
    words = "\udcff\0\x1b" + "x" * 10_000
    store.jobs.put(
        job(
            "T-1",
            0,
            "s",
            words,
            osrelease=words,
            build_id=words,
            nodename=words,
            model=words,
            bios=words,
            panic_message=words,
        )
    )
    assert tickets(store, "s") == ("T-1",)
    asked = Crashed("T-2", Path("/2"), host=words, machine=Machine(words, words))
    seen = store.jobs.seen(asked)
    assert seen.host
    assert seen.model
    assert (seen.host.count, seen.model.same_bios) == (1, 1)


@on_both
def test_crashes_are_counted_by_machine_and_by_model(store: Store) -> None:
    dell = {"model": "Dell R740", "bios": "2.10"}
    for record in (
        job("T-1", 0, "a", "one", nodename="db1", digest="1", **dell),
        job("T-1", 1, "a", "one", nodename="db1", digest="1", **dell),  # the same dump
        job("T-2", 2, "a", "two", nodename="db1", digest="2", **dell),
        job("T-3", 3, nodename="db1", **dell),  # a deliberate crash has no signature
        job("T-4", 4, "b", nodename="db2", model="Dell R740", bios="2.11"),
        job("T-5", 5, "c", nodename="db1", model="HP G10"),  # of the same name elsewhere
        job("T-6", 6, "c", nodename="db1"),  # of before
        job("T-7", 7, "d", "three", nodename="db1", digest="own", **dell),
        job("T-8", 8, "d", "three", nodename="localhost", model="Dell R740", bios="2.10"),
    ):
        store.jobs.put(record)
    asked = Crashed(
        "T-9",
        Path("/9"),
        named("x", "y"),
        digest="own",
        until=NOW + timedelta(hours=8),
        host="db1",
        machine=Machine("Dell R740", "2.10", "11/12/2020"),
    )
    seen = store.jobs.seen(asked)
    assert (seen.same, seen.similar, seen.same_dump) == (None, None, ("T-7",))
    assert seen.host == Tally("db1", 4, NOW, signatures=3, hosts=1, same_bios=3)
    assert seen.model == Tally("Dell R740", 4, NOW, signatures=3, hosts=2, same_bios=3)
    alone = store.jobs.seen(replace(asked, host="localhost", machine=None))
    assert (alone.host, alone.model) == (None, None)


@pytest.mark.long
def test_many_processes_record_jobs_in_a_new_database(database: str) -> None:
    script = (
        "import sys; from datetime import UTC, datetime; from pathlib import Path\n"
        "from cas.database.records import JobRecord\n"
        "from cas.database.store import Store\n"
        "store = Store(sys.argv[1])\n"
        "for number in range(20):\n"
        "    directory = Path(sys.argv[2], str(number))\n"
        "    store.jobs.put(\n"
        "        JobRecord('T-1', directory, datetime.now(UTC), 'waiting')\n"
        "    )\n"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", script, database, str(number)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(8)
    ]
    assert [process.communicate()[1] for process in running] == [""] * 8
    assert len(Store(database).jobs.verdicts()) == 160


def test_a_reader_is_not_blocked_by_a_writer(tmp_path: Path, store: Store) -> None:
    store.jobs.put(job("T-1", 0, "s"))
    writer = sqlite3.connect(tmp_path / "cas.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("DELETE FROM jobs")
    assert tickets(store, "s") == ("T-1",)
    writer.close()


def test_a_locked_database_is_tried_again_later(tmp_path: Path, store: Store) -> None:
    store.open()
    writer = sqlite3.connect(tmp_path / "cas.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    with pytest.raises(TryAgain, match=rf"database {tmp_path}/cas\.db: database is locked"):
        store.jobs.put(job("T-1"))
    writer.close()


def test_a_database_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=f"database {tmp_path}/file/cas.db"):
        Store(tmp_path / "file" / "cas.db").open()


def test_a_directory_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"database: {tmp_path} is a directory"):
        Store(tmp_path).open()


def test_a_pipe_is_no_database(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "cas.db")
    with pytest.raises(ConfigError, match=r"database: .*/cas\.db is no regular file"):
        Store(tmp_path / "cas.db").open()
    assert quick_hosts(str(tmp_path / "cas.db")) is None
    assert quick_candidates(str(tmp_path / "cas.db"), "ab" * 20) is None


def test_a_file_of_another_kind_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "cas.db").write_bytes(b"This is the text of a letter. " * 100)
    with pytest.raises(DatabaseDamaged, match=r"cas\.db: file is not a database"):
        Store(tmp_path / "cas.db").open()


def test_a_damaged_database_is_told_apart_from_a_busy_one(tmp_path: Path, store: Store) -> None:
    for number in range(60):
        store.jobs.put(job("T-1", number, "s" * 64))
    path = tmp_path / "cas.db"
    sqlite3.connect(path).execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xa5" * (len(content) - 4096))
    with pytest.raises(DatabaseDamaged, match="malformed"):
        tickets(Store(path), "s" * 64)


def test_a_newer_schema_is_refused(tmp_path: Path, store: Store) -> None:
    store.open()
    with sqlite3.connect(tmp_path / "cas.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigError, match="has tables of version 9999, newer than") as caught:
        Store(tmp_path / "cas.db").open()
    assert "install the version" in caught.value.hint


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "cas.db") as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    with pytest.raises(ConfigError, match="belongs to another program"):
        Store(tmp_path / "cas.db").open()


@pytest.mark.parametrize("url", ["nosuch://host/db", "sqlite+nosuch:///x", "://", "http://[bad"])
def test_a_url_that_cannot_be_used_names_the_directive(url: str) -> None:
    with pytest.raises(ConfigError, match="database: "):
        Store(url).open()


def test_opening_in_the_background_is_no_harm(store: Store) -> None:
    store.preload()
    store.jobs.put(job("T-1", 0, "s"))
    assert tickets(store, "s") == ("T-1",)


@on_both
def test_another_file_of_one_dump_is_no_occurrence(store: Store) -> None:
    one = {"nodename": "db1", "osrelease": "6.1", "crashed": NOW - timedelta(days=1)}
    for record in (
        job("T-1", 1, "title", "path", digest="elf", log_digest="log", **one),
        job("T-2", 2, "title", "path", digest="kdump", log_digest="log", **one),
        # another crash in the same second, as virtual machines have it whose clock is set
        job("T-3", 3, "title", "path", digest="next", log_digest="other", **one),
    ):
        store.jobs.put(record)
    asked = Crashed("T-4", Path("/4"), named("title", "path"), digest="flat", host="db1")
    apart = store.jobs.seen(asked)
    assert apart.same is not None
    assert apart.host is not None
    assert (apart.same.count, apart.host.count, apart.same_dump) == (2, 2, ())
    seen = store.jobs.seen(replace(asked, log_digest="log"))
    assert seen.same is not None
    assert seen.host is not None
    assert (seen.same.count, seen.tickets, seen.host.count) == (1, ("T-3",), 1)
    assert (seen.same_dump, seen.same_log) == ((), ("T-2", "T-1"))
    store.jobs.put(job("T-2", 3, "title", "path", digest="flat", log_digest="log", **one))
    seen = store.jobs.seen(replace(asked, log_digest="log"))
    assert (seen.same_dump, seen.same_log) == (("T-2",), ("T-1",))


@on_both
def test_crashes_that_arrived_without_a_time_are_each_its_own(store: Store) -> None:
    for number in (1, 2):
        record = job(f"T-{number}", 1, "title", "path", nodename="db1", digest=str(number))
        store.jobs.put(record)
    asked = Crashed("T-4", Path("/4"), named("title", "path"), host="db1")
    for log in (None, "log"):  # theirs are not known
        seen = store.jobs.seen(replace(asked, log_digest=log))
        assert seen.same is not None
        assert seen.same.count == 2


@on_both
def test_how_many_jobs_say_nothing_is_counted_where_nothing_was_seen(store: Store) -> None:
    for number, version in ((1, 1), (2, 2), (3, 2), (4, 3)):
        names = tuple(Signature(version, name, f"x{number}") for name in ("title", "top 3"))
        store.jobs.put(replace(job(f"T-{number}", number), signatures=names))
    mine = tuple(replace(each, version=3) for each in named("title", "path"))
    asked = Crashed("T-5", Path("/5"), mine, digest="own")
    assert store.jobs.seen(asked) == Seen(uncompared=3)
    assert store.jobs.seen(replace(asked, former="old")).uncompared == 2
    assert store.jobs.seen(replace(asked, former="x1")).uncompared == 0  # which was seen
    assert store.jobs.seen(replace(asked, signatures=())).uncompared == 0

import os
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from postgresql import on_both
from sqlalchemy import insert, inspect

from cas.catalogue import Catalogue, JobRecord
from cas.catalogue.database.build_rows import BuildRows
from cas.catalogue.database.claims import read_claims
from cas.catalogue.database.connection import MIGRATIONS, Database
from cas.catalogue.database.host_list import read_hosts
from cas.catalogue.database.tables import HEAD, builds, metadata
from cas.errors import ConfigError, DatabaseDamaged, TryAgain

NOW = datetime(2026, 11, 21, 8, 41, 20, tzinfo=UTC)


def job(ticket: str, number: int = 0, **facts: str) -> JobRecord:
    directory = Path("/cores") / ticket / str(number)
    started = NOW + timedelta(hours=number)
    return JobRecord(ticket, directory, started, facts.pop("verdict", "complete"), **facts)


def test_the_head_is_alembics() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


@on_both
def test_a_new_database_and_a_migrated_one_have_the_tables_that_the_code_uses(
    database: str,
) -> None:
    def flaws() -> object:
        with Database(database, 1).reading() as connection:
            return compare_metadata(MigrationContext.configure(connection), metadata)

    assert flaws() == []
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with Database(database, 1).writing() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        assert "jobs" not in inspect(connection).get_table_names()
    assert flaws() == []


def test_the_directory_of_a_new_database_is_made(tmp_path: Path) -> None:
    Catalogue(tmp_path / "a" / "b" / "cas.db").open()
    assert (tmp_path / "a" / "b" / "cas.db").exists()


def test_sqlite_is_named_by_url_too(tmp_path: Path) -> None:
    Catalogue(f"sqlite:///{tmp_path}/cas.db").record_job(job("T-1", signature="s"))
    assert Catalogue(tmp_path / "cas.db").similar("s", Path("/other")) == ("T-1",)


def test_a_new_database_is_made_without_alembic_and_without_an_orm(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from cas.catalogue import Catalogue\n"
        "import cas.catalogue.extract\n"
        "assert 'sqlalchemy' not in sys.modules\n"
        "Catalogue(sys.argv[1]).similar('s', Path('/'))\n"
        "print(sorted({'alembic', 'sqlalchemy.orm', 'rpmfile'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "cas.db"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


@on_both
def test_similar_tickets_come_newest_first_and_once(catalogue: Catalogue) -> None:
    for record in (
        job("T-1", 1, signature="s"),
        job("T-2", 2, signature="s"),
        job("T-1", 3, signature="s"),
        job("T-3", 4, signature="other"),
        job("T-4", 5, signature="s"),
    ):
        catalogue.record_job(record)
    assert catalogue.similar("s", Path("/cores/T-4/5")) == ("T-1", "T-2")


@on_both
def test_times_of_other_zones_are_compared_as_instants(catalogue: Catalogue) -> None:
    eastern = NOW.astimezone(datetime.strptime("+0900", "%z").tzinfo)
    catalogue.record_job(JobRecord("T-1", Path("/1"), eastern, "complete", signature="s"))
    later = NOW + timedelta(hours=1)
    catalogue.record_job(JobRecord("T-2", Path("/2"), later, "complete", signature="s"))
    assert catalogue.similar("s", Path("/")) == ("T-2", "T-1")


@on_both
def test_of_long_ago_one_build_a_day_is_remembered(catalogue: Catalogue, database: str) -> None:
    days = [NOW - timedelta(days=number) for number in range(40, 0, -1)]
    rows = [{"started": day.replace(tzinfo=None), "summary": "{}"} for day in days]
    twice = [row for row in rows for _ in range(2)]
    with Database(database, 1).writing() as connection:
        connection.execute(insert(builds), twice)
    BuildRows(Database(database, 1)).begin()
    found = catalogue.all_builds()
    assert len(catalogue.last_builds()) == 20
    assert {build.started for build in found[1:]} == {*days}
    assert len(found) == 20 + 30  # one for each day before the last 20
    catalogue.forget_builds_after(days[3])
    assert {build.started for build in catalogue.all_builds()} == {*days[:4]}


@on_both
def test_a_job_is_recorded_again_in_place_of_the_old_record(catalogue: Catalogue) -> None:
    catalogue.record_job(job("T-1", verdict="waiting"))
    catalogue.record_job(job("T-2", verdict="waiting"))
    catalogue.record_job(job("T-1", verdict="complete"))
    verdicts = {Path("/cores/T-1/0"): "complete", Path("/cores/T-2/0"): "waiting"}
    assert catalogue.indexed() == verdicts


@on_both
def test_a_forgotten_job_is_no_longer_similar(catalogue: Catalogue) -> None:
    catalogue.record_job(job("T-1", signature="s"))
    catalogue.forget_job(Path("/cores/T-1/0"))
    assert catalogue.similar("s", Path("/")) == ()


@on_both
def test_what_a_hostile_dump_says_can_be_recorded(catalogue: Catalogue) -> None:
    words = "\udcff\0\x1b" + "x" * 10_000
    catalogue.record_job(
        job("T-1", signature="s", osrelease=words, build_id=words, panic_message=words)
    )
    assert catalogue.similar("s", Path("/")) == ("T-1",)


@pytest.mark.long
def test_many_processes_record_jobs_in_a_new_database(database: str) -> None:
    script = (
        "import sys; from datetime import UTC, datetime; from pathlib import Path\n"
        "from cas.catalogue import Catalogue, JobRecord\n"
        "catalogue = Catalogue(sys.argv[1])\n"
        "for number in range(20):\n"
        "    directory = Path(sys.argv[2], str(number))\n"
        "    catalogue.record_job(\n"
        "        JobRecord('T-1', directory, datetime.now(UTC), 'waiting', signature='s')\n"
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
    assert len(Catalogue(database).indexed()) == 160


def test_a_reader_is_not_blocked_by_a_writer(tmp_path: Path, catalogue: Catalogue) -> None:
    catalogue.record_job(job("T-1", signature="s"))
    writer = sqlite3.connect(tmp_path / "cas.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("DELETE FROM jobs")
    assert catalogue.similar("s", Path("/")) == ("T-1",)
    writer.close()


def test_a_locked_database_is_tried_again_later(tmp_path: Path, catalogue: Catalogue) -> None:
    catalogue.open()
    writer = sqlite3.connect(tmp_path / "cas.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    with pytest.raises(TryAgain, match=rf"database {tmp_path}/cas\.db: database is locked"):
        catalogue.record_job(job("T-1"))
    writer.close()


def test_a_database_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=f"database {tmp_path}/file/cas.db"):
        Catalogue(tmp_path / "file" / "cas.db").open()


def test_a_directory_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"database: {tmp_path} is a directory"):
        Catalogue(tmp_path).open()


def test_a_pipe_is_no_database(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "cas.db")
    with pytest.raises(ConfigError, match=r"database: .*/cas\.db is no regular file"):
        Catalogue(tmp_path / "cas.db").open()
    assert read_hosts(str(tmp_path / "cas.db")) is None
    assert read_claims(str(tmp_path / "cas.db"), "ab" * 20) is None


def test_a_file_of_another_kind_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "cas.db").write_bytes(b"This is the text of a letter. " * 100)
    with pytest.raises(DatabaseDamaged, match=r"cas\.db: file is not a database"):
        Catalogue(tmp_path / "cas.db").open()


def test_a_damaged_database_is_told_apart_from_a_busy_one(
    tmp_path: Path, catalogue: Catalogue
) -> None:
    for number in range(60):
        catalogue.record_job(job("T-1", number, signature="s" * 64))
    path = tmp_path / "cas.db"
    sqlite3.connect(path).execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xa5" * (len(content) - 4096))
    with pytest.raises(DatabaseDamaged, match="malformed"):
        Catalogue(path).similar("s" * 64, Path("/"))


def test_a_newer_schema_is_refused(tmp_path: Path, catalogue: Catalogue) -> None:
    catalogue.open()
    with sqlite3.connect(tmp_path / "cas.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigError, match="has tables of version 9999, newer than") as caught:
        Catalogue(tmp_path / "cas.db").open()
    assert "install the version" in caught.value.hint


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "cas.db") as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    with pytest.raises(ConfigError, match="belongs to another program"):
        Catalogue(tmp_path / "cas.db").open()


@pytest.mark.parametrize("url", ["nosuch://host/db", "sqlite+nosuch:///x", "://", "http://[bad"])
def test_a_url_that_cannot_be_used_names_the_directive(url: str) -> None:
    with pytest.raises(ConfigError, match="database: "):
        Catalogue(url).open()


def test_opening_in_the_background_is_no_harm(catalogue: Catalogue) -> None:
    catalogue.preload()
    catalogue.record_job(job("T-1", signature="s"))
    assert catalogue.similar("s", Path("/")) == ("T-1",)

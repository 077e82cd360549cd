"""What only a PostgreSQL server does; the rest of the tests run on both where they say so."""

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from cas.database.build_rows import BuildRows
from cas.database.connection import Database
from cas.database.store import Store
from cas.errors import ConfigError, TryAgain

from installed import FIXTURES, Site

postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


@postgresql
def test_a_job_and_a_build_need_nothing_but_the_url(
    site: Site, database: str, vmcore: Path
) -> None:
    """What is built is not the dump's kernel, for which the job waits on: no debugger is needed."""
    debugs = str(site.directory / "debugs")  # without the kernel that other tests have extracted
    site.settings |= {"database": database, "debugs": debugs}
    assert site.cas("-i", "T-1", "-f", vmcore).returncode == 6
    site.settings["kernels"] = str(FIXTURES / "arm64")
    done = site.admin("-b")
    assert done.stdout.startswith("1 kernel in the catalogue"), done.stderr
    assert "1 job still waiting for a kernel" in done.stdout
    assert site.result("T-1")["verdict"] == "waiting"
    assert not (site.directory / "cas.db").exists()


@postgresql
def test_times_are_utc_whatever_the_servers_zone(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("ALTER ROLE cas SET timezone = 'Asia/Tokyo'")
        try:
            rows = BuildRows(Database(database, 5))
            rows.begin_run()
            (run,) = rows.last()
        finally:
            connection.execute("ALTER ROLE cas RESET timezone")
    assert abs(datetime.now(UTC) - run.started) < timedelta(hours=1)


@postgresql
def test_a_writer_that_does_not_end_is_not_waited_for_too_long(database: str) -> None:
    store = Store(database, timeout_s=0.2)
    store.open()
    with (
        Database(database, 5).writing(),
        pytest.raises(TryAgain, match="canceling statement due to lock timeout"),
    ):
        store.jobs.remove_job(Path("/job"))


@postgresql
def test_a_role_without_rights_is_told_apart_from_a_busy_server(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE ROLE stranger LOGIN")
        try:
            with pytest.raises(ConfigError, match="permission denied"):
                Store(database.replace("cas@", "stranger@")).packages.counts()
        finally:
            connection.execute("DROP ROLE stranger")


@postgresql
def test_who_is_refused_need_not_try_again(database: str) -> None:
    with pytest.raises(ConfigError, match=r'is refused: .*role "nosuch" does not exist'):
        Store(database.replace("cas@", "nosuch@")).open()
    with pytest.raises(ConfigError, match=r'is refused: .*database "nosuch" does not exist'):
        Store(database.replace("/postgres?", "/nosuch?")).open()


@postgresql
def test_a_wrong_password_is_no_busy_server(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        rules = Path(connection.execute("SHOW hba_file").fetchone()[0])  # type: ignore[index]
        before = rules.read_text()
        connection.execute("CREATE ROLE locked LOGIN PASSWORD 'right'")
        try:
            rules.write_text(f"local all locked scram-sha-256\n{before}")
            connection.execute("SELECT pg_reload_conf()")
            until = time.monotonic() + 30
            while time.monotonic() < until:  # until the server has read its rules again
                try:
                    psycopg.connect(database.replace("cas@", "locked:wrong@")).close()
                except psycopg.OperationalError:
                    break
            with pytest.raises(ConfigError, match=r"is refused: .*password") as caught:
                Store(database.replace("cas@", "locked:wrong@")).open()
            assert "wrong" not in str(caught.value)
            assert "cas.conf" in caught.value.hint
        finally:
            rules.write_text(before)
            connection.execute("SELECT pg_reload_conf()")
            connection.execute("DROP ROLE locked")


def test_a_server_that_is_not_there_is_tried_again_later(tmp_path: Path) -> None:
    with pytest.raises(TryAgain, match="connection to server"):
        Store(f"postgresql://cas@/cas?host={tmp_path}").open()


def test_a_password_is_never_shown(tmp_path: Path) -> None:
    with pytest.raises(TryAgain) as caught:
        Store(f"postgresql://cas:secret@/cas?host={tmp_path}").open()
    assert "secret" not in str(caught.value)


@postgresql
def test_a_builds_lock_ends_with_its_process(database: str) -> None:
    script = (
        "import sys; from cas.database.connection import Database\n"
        "with Database(sys.argv[1], 5).alone(lambda: None):\n"
        "    print('has it', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, database],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "has it\n"
    waited: list[bool] = []

    def wait() -> None:
        waited.append(True)
        holder.kill()

    with Database(database, 5).alone(wait):
        assert waited == [True]
    holder.communicate()

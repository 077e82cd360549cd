"""A damaged database is set aside, never overwritten; the hosts in it are taken over."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from postgresql import on_both
from sqlalchemy import text

from cas.database.connection import Database
from cas.database.records import Crashed, JobRecord
from cas.database.repair import Repair, repair
from cas.database.store import Store
from cas.errors import ConfigError, DatabaseDamaged
from cas.model.finding import Signature
from cas.model.host import Host
from cas.model.occurrence import Seen

NOW = datetime(2026, 11, 21, 8, 41, 20, tzinfo=UTC)
PAGE = 4096


def mended(database: str | Path) -> Repair | None:
    return repair(str(database), 60, NOW, lambda: None)


def with_hosts(path: Path, number: int) -> list[Host]:
    store = Store(path)
    hosts = [Host(f"host-{each:04}", 22, arch="s390x") for each in range(number)]
    store.open()
    with sqlite3.connect(path) as connection:
        connection.executemany(
            "INSERT INTO hosts (name, port, is_enabled, crashes, is_shared, remarks, arch) "
            "VALUES (?, ?, 0, '[]', 0, '[]', ?)",
            [(host.name, host.port, host.arch) for host in hosts],
        )
    connection.close()
    return [Host(host.name, host.port, arch=host.arch, is_enabled=False) for host in hosts]


def page_with(path: Path, words: bytes) -> int:
    """Where a leaf page of a table begins that holds these words."""
    data = path.read_bytes()
    pages = range(PAGE, len(data), PAGE)
    return next(at for at in pages if data[at] == 13 and words in data[at : at + PAGE])


def overwrite(path: Path, at: int, data: bytes) -> bytes:
    """Damage a file; what it is now."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)
    return path.read_bytes()


def test_a_sound_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "cas.db"
    hosts = with_hosts(path, 2)
    assert mended(path) is None
    assert list(Store(path).registered_hosts()) == hosts
    assert [file.name for file in tmp_path.glob("*damaged*")] == []


def test_hosts_on_both_sides_of_the_damage_are_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "cas.db"
    hosts = with_hosts(path, 260)
    damaged = overwrite(path, page_with(path, b"host-0130"), b"\xff" * PAGE)
    done = mended(path)
    assert done is not None
    assert done.has_lost_hosts
    assert done.aside is not None
    assert done.aside.read_bytes() == damaged
    found = Store(path).registered_hosts()
    assert set(found) < set(hosts)
    assert 100 < len(found) < 260
    assert {hosts[0], hosts[-1]} <= set(found)
    assert mended(path) is None


def test_damage_elsewhere_costs_no_host(tmp_path: Path) -> None:
    path = tmp_path / "cas.db"
    hosts = with_hosts(path, 3)
    with sqlite3.connect(path) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'jobs'")
    connection.close()
    overwrite(path, (root[0] - 1) * PAGE, b"\xff" * PAGE)
    with pytest.raises(DatabaseDamaged, match="malformed"):
        Store(path).jobs.verdicts()
    done = mended(path)
    assert done is not None
    assert not done.has_lost_hosts
    assert list(Store(path).registered_hosts()) == hosts
    assert Store(path).jobs.verdicts() == {}


def test_a_link_to_the_file_stays_and_so_does_its_mode(tmp_path: Path) -> None:
    real, link = tmp_path / "data" / "real.db", tmp_path / "cas.db"
    real.parent.mkdir()
    link.symlink_to(real)
    hosts = with_hosts(link, 1)
    real.chmod(0o660)
    with closing(sqlite3.connect(real)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'jobs'")
    damaged = overwrite(real, (root[0] - 1) * PAGE, b"\xff" * PAGE)
    done = mended(link)
    assert done is not None
    assert done.aside is not None
    assert done.aside.parent == real.parent
    assert done.aside.read_bytes() == damaged
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o660
    assert list(Store(link).registered_hosts()) == hosts


def test_a_row_that_holds_nonsense_costs_itself(tmp_path: Path) -> None:
    path = tmp_path / "cas.db"
    hosts = with_hosts(path, 3)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE hosts SET crashes = '{' WHERE name = 'host-0001'")
        connection.commit()
    with pytest.raises(DatabaseDamaged):
        Store(path).registered_hosts()
    done = mended(path)
    assert done is not None
    assert done.has_lost_hosts
    assert list(Store(path).registered_hosts()) == [hosts[0], hosts[2]]


def test_a_log_goes_with_its_file_and_an_older_damaged_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "cas.db"
    with_hosts(path, 1)
    older = tmp_path / f"cas.db.damaged-{NOW.astimezone():%Y.%m.%d.%H.%M.%S}"
    older.touch()
    with closing(sqlite3.connect(path)) as other:  # a job that runs meanwhile
        (root,) = other.execute("SELECT rootpage FROM sqlite_master WHERE name = 'jobs'")
        overwrite(path, (root[0] - 1) * PAGE, b"\xff" * PAGE)
        other.execute("UPDATE hosts SET name = 'renamed'")
        other.commit()
        log = Path(f"{path}-wal").read_bytes()
        done = mended(path)
        assert done is not None
        assert done.aside not in (None, older)
        assert older.read_bytes() == b""
        assert Path(f"{done.aside}-wal").read_bytes() == log != b""
        assert [host.name for host in Store(path).registered_hosts()] == ["renamed"]


@pytest.mark.parametrize(
    "content", [b"Dear support,\n" * 500, b"\x7fELF" + b"\xa5" * 9000, b"SQLite format 3\0 damaged"]
)
def test_a_file_that_nothing_shows_to_be_ours_is_not_moved(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "letter"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="nothing in it shows that it is one of cas"):
        mended(path)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


@on_both
def test_tables_that_are_gone_are_made_anew(database: str) -> None:
    store = Store(database)
    store.hosts.put_host(Host("arm", 22))
    signature = Signature(2, "title", "s")
    store.jobs.put(JobRecord("T-1", Path("/1"), NOW, "complete", signatures=(signature,)))
    with Database(database, 1).writing() as connection:
        cascade = "CASCADE" if database.startswith("postgresql") else ""
        connection.execute(text(f"DROP TABLE jobs {cascade}"))
    assert Store(database).lacking() == {"jobs"}
    with pytest.raises(DatabaseDamaged, match="jobs"):
        Store(database).jobs.verdicts()
    done = mended(database)
    assert done is not None
    assert (done.aside, done.has_lost_hosts, done.has_lost_packages) == (None, False, False)
    assert Store(database).jobs.verdicts() == {}
    assert [host.name for host in Store(database).registered_hosts()] == ["arm"]
    # which gets the number of the job that is gone, and not its signatures
    store.jobs.put(JobRecord("T-2", Path("/2"), NOW, "complete"))
    assert store.jobs.seen(Crashed("T-3", Path("/3"), (signature,))) == Seen()


def test_kernels_of_packages_that_are_gone_go_too(tmp_path: Path) -> None:
    """The next package would get the number of one that is gone, and its kernels with it."""
    database = str(tmp_path / "cas.db")
    Store(database).open()
    with sqlite3.connect(database) as connection:
        connection.execute("DROP TABLE packages")
        connection.execute(
            "INSERT INTO kernels (package_id, release, arch, flavour, member, examined) "
            "VALUES (1, '6.1', 'x86_64', '', 'vmlinux', 0)"
        )
        connection.execute("DROP TABLE hosts")
    connection.close()
    done = mended(database)
    assert done is not None
    assert (done.has_lost_hosts, done.has_lost_packages) == (True, True)
    assert Store(database).kernels.listed() == []
    assert Store(database).packages.counts().kernels == 0

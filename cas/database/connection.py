"""How a database is opened: SQLite by path, anything else by URL, always with the newest tables."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, create_engine, event, inspect, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import NullPool

from cas.database import HEAD, refusal
from cas.database.tables import (
    crash_words,
    crashes,
    jobs,
    kernels,
    kmods,
    metadata,
    packages,
    readings,
    signatures,
)
from cas.errors import ConfigError, DatabaseDamaged, DiskFull, TryAgain
from cas.files.permission import DENIED, not_permitted
from cas.files.whole import is_directory, is_used_up

MIGRATIONS = Path(__file__).parent / "migrations"
_WRITE_KEY = 0x636173
"""The key of PostgreSQL's advisory lock that a writer has: one at a time, as with SQLite."""
_BUILD_KEY = 0x636175
"""The key of the advisory lock that a build has."""
_NO_CATALOGUE = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR}
"""SQLite's codes for a file that is none of ours; the last one for tables that are not there."""
_TIED = (
    {packages.name, kernels.name, kmods.name, readings.name},
    {jobs.name, signatures.name},
    {crashes.name, crash_words.name},
)
"""Tables whose rows name rows of one another."""
_NO_TABLE = {"42P01", "42703"}
"""PostgreSQL's states, see its Appendix A: undefined_table, undefined_column."""
_FULL_THERE, _FORBIDDEN_THERE = "53100", "42501"
"""disk_full, insufficient_privilege."""
_CONNECT_S = 10
"""For a server to take a connection: one that is silent costs a job no more, see libpq's
``connect_timeout``, which counts for each address."""
BUILD_LOCK = ".build.lock"
"""How the name of the file ends whose lock a build has, beside a SQLite file."""
_REFUSED_HINT = (
    "check user, password and name of `database` in cas.conf, and the server's pg_hba.conf"
)


class Database:
    """Connections, each for one transaction; opening brings the tables up to date."""

    def __init__(self, database: str, timeout_s: float) -> None:
        """Open it.

        :param database: a path of a SQLite file, or a SQLAlchemy URL
        :param timeout_s: how long to wait for a lock
        :raises ConfigError: not a database, one of a newer version of this program, or one that
            refuses this user
        :raises DatabaseDamaged: its file is damaged
        :raises TryAgain: locked or unreachable
        """
        self._url = url_of(database)
        self._is_sqlite = self._url.get_backend_name() == "sqlite"
        self.name = shown_url(self._url)
        self._timeout_s = timeout_s
        if self._is_sqlite:
            _prepare_place(Path(self.name))
        arguments = {}
        is_psycopg = self._url.get_driver_name() in ("psycopg", "psycopg2")
        if is_psycopg and "connect_timeout" not in self._url.query:
            arguments["connect_timeout"] = _CONNECT_S
        try:
            self._engine = create_engine(self._url, poolclass=NullPool, connect_args=arguments)
        except ImportError as error:
            raise ConfigError(
                f"database: {self.name} needs a Python package that is not installed: {error.name}"
            ) from error
        if self._is_sqlite:
            event.listen(self._engine, "connect", self._configure_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
        else:
            event.listen(self._engine, "connect", self._configure_postgresql)
            event.listen(self._engine, "begin", _begin_postgresql)
        self._migrate()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state and changes nothing.

        :raises DatabaseDamaged: rows cannot be read, or hold what none of ours does
        """
        try:
            with self._database_errors(), self._engine.begin() as connection:
                yield connection
        except (ValueError, TypeError, LookupError) as error:
            raise DatabaseDamaged(f"database {self.name}: {error}") from error

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that owns the right to write from its first moment."""
        with (
            self._database_errors(),
            self._engine.connect() as connection,
            connection.execution_options(cas_writes=True).begin(),
        ):
            yield connection

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """The same, in which tables may be replaced by others of their name.

        SQLite would take a table that is dropped for one whose rows are deleted, with all rows that
        name them: https://www.sqlite.org/lang_altertable.html, section 7.
        """
        with (
            self._database_errors(),
            self._engine.connect() as connection,
            connection.execution_options(cas_writes=True, cas_migrates=True).begin(),
        ):
            yield connection

    @contextmanager
    def alone(self, wait: Callable[[], None]) -> Iterator[None]:
        """The right to bring the catalogue up to date, which one process has at a time.

        :param wait: called when another has it, before this one waits
        :raises TryAgain: there is no way to get it
        """
        lock = build_lock(self.name, wait) if self._is_sqlite else self._advisory_lock(wait)
        with lock:
            yield

    @contextmanager
    def _advisory_lock(self, wait: Callable[[], None]) -> Iterator[None]:
        """PostgreSQL's, which ends with the connection."""
        engine = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        with self._database_errors(), engine.connect() as connection:
            key = {"key": _BUILD_KEY}
            if not connection.execute(text("SELECT pg_try_advisory_lock(:key)"), key).scalar_one():
                wait()
                connection.execute(text("SET lock_timeout = 0"))
                connection.execute(text("SELECT pg_advisory_lock(:key)"), key)
            yield

    def file_damage(self, *, thorough: bool = False) -> tuple[str, ...]:
        """What SQLite finds wrong with its file; a server looks after its own.

        :param thorough: compare the indexes with their tables, too
        """
        if not self._is_sqlite:
            return ()
        check = "integrity_check" if thorough else "quick_check"
        with self.reading() as connection:
            said = connection.execute(text(f"PRAGMA {check}(5)")).scalars().all()
        return tuple(str(line) for line in said if line != "ok")

    def lacking_tables(self) -> frozenset[str]:
        """The names of our tables that are not there.

        :raises DatabaseDamaged: one lacks a column
        """
        with self.reading() as connection:
            there = inspect(connection)
            lacking = metadata.tables.keys() - set(there.get_table_names())
            for table in metadata.tables.values():
                if table.name in lacking:
                    continue
                columns = {column["name"] for column in there.get_columns(table.name)}
                if absent := {column.name for column in table.columns} - columns:
                    raise DatabaseDamaged(
                        f"database {self.name}: the table {table.name} lacks {', '.join(absent)}"
                    )
        return frozenset(lacking)

    def make(self, lacking: Set[str]) -> None:
        """Make tables anew, empty.

        What the packages say is in four of them, which are made together, and so are jobs and their
        signatures, and crashes and their words: rows of one that is left would be taken for those
        of the next package, or job, that gets the same number.
        """
        wanted = set(lacking)
        for tied in _TIED:
            if lacking & tied:
                wanted |= tied
        tables = [table for table in metadata.sorted_tables if table.name in wanted]
        with self.writing() as connection:
            metadata.drop_all(connection, tables=tables)
            metadata.create_all(connection, tables=tables)

    def _migrate(self) -> None:
        if self._schema_version() == HEAD:
            return
        with self.migrating() as connection:
            if not self._is_new(connection):
                from alembic import command  # takes a second to import, is needed once per version
                from alembic.config import Config

                alembic = Config()
                alembic.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
                alembic.attributes["connection"] = connection
                command.upgrade(alembic, "head")
                return
            # all tables at once, as if no migration was left to do: so nobody waits for Alembic
            metadata.create_all(connection, checkfirst=False)
            key = "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)"
            connection.execute(
                text(f"CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, {key})")
            )
            connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})

    def _schema_version(self) -> str | None:
        """The schema's version in one query; ``None`` when there is none yet."""
        with self._database_errors(), self._engine.begin() as connection:
            try:
                row = connection.execute(text("SELECT version_num FROM alembic_version")).first()
            except DBAPIError as error:
                if (
                    _sqlite_code(error.orig) == sqlite3.SQLITE_ERROR
                    or _sqlstate(error.orig) in _NO_TABLE
                ):
                    return None
                raise
            return row[0] if row else None

    def _is_new(self, connection: Connection) -> bool:
        """Whether none of our tables is there yet.

        :raises ConfigError: another program, or a later version of this one, has made it
        """
        tables = inspect(connection).get_table_names()
        if "alembic_version" not in tables:
            if tables and set(tables) <= metadata.tables.keys():
                raise DatabaseDamaged(f"database {self.name}: the table alembic_version is gone")
            if tables and self._is_sqlite:
                raise ConfigError(f"database: {self.name} belongs to another program")
            return True
        row = connection.execute(text("SELECT version_num FROM alembic_version")).first()
        version = str(row[0]) if row else "0"
        if version > HEAD:
            raise ConfigError(
                f"database: {self.name} has tables of version {version}, newer than {HEAD}",
                hint="install the version of cas that made it, or configure another database",
            )
        return False

    def _configure_sqlite(self, connection: sqlite3.Connection, _: object) -> None:
        # Transactions begin where `_begin_sqlite` says so, not where the driver guesses.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {int(self._timeout_s * 1000)}")
        connection.execute("PRAGMA foreign_keys = ON")
        # With a write-ahead log readers are never blocked: https://www.sqlite.org/wal.html, 2.2.
        connection.execute("PRAGMA journal_mode = WAL")
        # Then a power cut costs the last transactions at most, never the file:
        # https://www.sqlite.org/pragma.html#pragma_synchronous.
        connection.execute("PRAGMA synchronous = NORMAL")

    def _configure_postgresql(self, connection: DBAPIConnection, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute("SET TIME ZONE 'UTC'")
        cursor.execute(f"SET lock_timeout = {int(self._timeout_s * 1000)}")
        cursor.close()
        connection.commit()

    @contextmanager
    def _database_errors(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise self._translation(error, error.orig) from error
        except sqlite3.Error as error:
            raise self._translation(error, error) from error

    def _lasting_obstacle(self, cause: BaseException | None, message: str) -> ConfigError | None:
        """What will not be otherwise later; ``None`` where it may be."""
        if self._is_sqlite:
            path = Path(self.name)
            if is_directory(path):
                hint = f"name a file in it, such as {path / 'cas.db'}"
                return ConfigError(f"database: {path} is a directory", hint=hint)
            return refusal.denied(path)
        if _sqlstate(cause) is None and refusal.is_refused(cause, self._url):
            said = f"database: {self.name} is refused: {message}"
            return ConfigError(said, hint=_REFUSED_HINT)
        return None

    def _translation(self, error: Exception, cause: BaseException | None) -> Exception:
        message = " ".join(str(cause).split())
        code, state = _sqlite_code(cause), _sqlstate(cause)
        if code in _NO_CATALOGUE or state in _NO_TABLE:
            return DatabaseDamaged(f"database {self.name}: {message}")
        is_full = code == sqlite3.SQLITE_FULL or state == _FULL_THERE
        # without room for what lies beside its file SQLite calls it an error of the disk
        if is_full or (code == sqlite3.SQLITE_IOERR and is_used_up(Path(self.name).parent)):
            return DiskFull(f"no room for the database {self.name}")
        if state == _FORBIDDEN_THERE:
            return ConfigError(f"database: {self.name} cannot be used: {message}")
        if isinstance(error, OperationalError | sqlite3.OperationalError):
            return self._lasting_obstacle(cause, message) or TryAgain(
                f"database {self.name}: {message}"
            )
        return DatabaseDamaged(f"database {self.name}: {message}")


@contextmanager
def build_lock(path: str, wait: Callable[[], None]) -> Iterator[None]:
    """The lock that a build has, in a file beside a SQLite file.

    :param wait: called when another process has it, before this one waits
    :raises NotPermitted: this user may not use the file of the lock
    :raises TryAgain: there is no way to get it
    """
    from filelock import FileLock, Timeout

    lock = FileLock(f"{path}{BUILD_LOCK}")
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            wait()
            lock.acquire()
    except OSError as error:
        if error.errno in DENIED:
            raise not_permitted(Path(lock.lock_file), error) from error
        raise TryAgain(f"database {path}: no lock beside it: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


def url_of(database: str) -> URL:
    """What the directive ``database`` means.

    :raises ConfigError: neither a path nor a URL of a known kind
    """
    if "://" not in database:
        return URL.create("sqlite", database=str(Path(database).expanduser().absolute()))
    try:
        url = make_url(database)
        if url.get_backend_name() not in ("sqlite", "postgresql"):
            raise ConfigError(
                f"database: {url.get_backend_name()} is neither SQLite nor PostgreSQL"
            )
        if url.drivername == "postgresql":
            url = url.set(drivername="postgresql+psycopg")
        url.get_dialect()
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError):
        # no `from`: the library's message may quote the password
        raise ConfigError(
            "database: not a path and not a usable URL",
            hint="write it as postgresql+psycopg://USER:PASSWORD@HOST:PORT/NAME, with what is "
            "special in the password percent-encoded; see cas-admin(8)",
        ) from None
    return url


def shown_url(url: URL) -> str:
    """A database as it may be told: a path, or a URL without its secrets."""
    if url.get_backend_name() == "sqlite":
        return url.database or ""
    told = {key: value for key, value in url.query.items() if key in ("host", "port")}
    return str(url.set(query=told))


def _prepare_place(path: Path) -> None:
    """Make the directory of a SQLite file, and refuse what SQLite would wait for.

    :raises ConfigError: a pipe, a device or a socket is in the database's place
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in DENIED:
            raise not_permitted(path.parent, error) from error
        is_lasting = isinstance(error, FileExistsError | NotADirectoryError)
        raise (ConfigError if is_lasting else TryAgain)(
            f"database {path}: its directory cannot be made: {error.strerror}"
        ) from error
    try:
        kind = path.stat().st_mode
    except OSError:  # which is said when it is opened
        return
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        hint = "name a file, or one that is not there yet"
        raise ConfigError(f"database: {path} is no regular file", hint=hint)


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("cas_migrates", False):
        # within a transaction it does nothing: https://www.sqlite.org/pragma.html#pragma_foreign_keys
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("cas_writes", False) else "BEGIN")


def _begin_postgresql(connection: Connection) -> None:
    if connection.get_execution_options().get("cas_writes", False):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITE_KEY})")
    elif not connection.get_execution_options().get("isolation_level"):
        # one state for all queries of the transaction
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")


def _sqlite_code(cause: BaseException | None) -> int | None:
    """SQLite's primary result code."""
    code = getattr(cause, "sqlite_errorcode", None)  # an error of the driver itself has none
    return code & 0xFF if isinstance(code, int) else None


def _sqlstate(cause: BaseException | None) -> str | None:
    """PostgreSQL's SQLSTATE; a connection that could not be made has none."""
    state = getattr(cause, "sqlstate", None)
    return state if isinstance(state, str) else None

"""Types of columns, which bring values into the form that a database takes, and back."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import DateTime, String, Text, TypeDecorator
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

from cas.database.storable import storable


class Words(TypeDecorator[str]):
    """Text of dumps, packages and file systems, without the characters that a database refuses."""

    impl = Text
    cache_ok = True

    def __init__(self, limit: int | None = None) -> None:
        """Name its limit.

        :param limit: characters that are kept; the rest of a longer text is left out
        """
        super().__init__()
        self.limit = limit

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[str]:
        """``TEXT``, or ``VARCHAR`` with the limit."""
        return Text() if self.limit is None else String(self.limit)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """The text as it is stored, and looked up."""
        return storable(value, self.limit)


class OrderedWords(Words):
    """Text in the order of its code points on every server: a beginning is a range of its index."""

    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[str]:
        """As `Words`; SQLite orders so by itself, PostgreSQL by the collation ``C``."""
        collation = "C" if dialect.name == "postgresql" else None
        return Text(collation=collation) if self.limit is None else String(self.limit, collation)


class FilePath(TypeDecorator[Path]):
    """A file's name, whose bytes need not be UTF-8."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Path | str | None, dialect: Dialect) -> str | None:
        """The name as it is stored, and looked up."""
        return None if value is None else storable(str(value))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Path | None:
        """The stored name; of one that is not UTF-8, what stands for it."""
        return None if value is None else Path(value)


class Instant(TypeDecorator[datetime]):
    """A point in time: UTC without its name in the database, with it outside."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The time as it is stored, whatever zone it was in."""
        return value and value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The stored time, which now says that it is UTC."""
        return value and value.replace(tzinfo=UTC)

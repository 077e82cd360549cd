"""Every query about the analysis hosts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, insert, select, update

from cas.database.codec import columns_of, value_of
from cas.database.connection import Database
from cas.database.tables import hosts
from cas.model.host import Host


class HostRows:
    """The registered hosts, as values."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all_hosts(self) -> tuple[Host, ...]:
        """Every host, by name and port; of one name first that without a port."""
        query = select(hosts).order_by(hosts.c.name, hosts.c.port.nulls_first())
        with self._database.reading() as connection:
            return tuple(value_of(Host, row) for row in connection.execute(query).mappings())

    def put_host(self, host: Host) -> None:
        """Register a host, or replace all that is known of it."""
        with self._database.writing() as connection:
            connection.execute(delete(hosts).where(_is(host.name, host.port)))
            connection.execute(insert(hosts).values(columns_of(host, hosts.c.keys())))

    def renew_host(self, host: Host) -> bool:
        """Replace a host's facts, if it is registered still; whether it is enabled stays."""
        facts = columns_of(host, hosts.c.keys())
        del facts["is_enabled"]
        return self._update(host.name, host.port, facts)

    def enable_host(self, name: str, port: int | None, *, is_enabled: bool) -> bool:
        """Use a host, or not; ``False`` when it is not registered."""
        return self._update(name, port, {"is_enabled": is_enabled})

    def remove_host(self, name: str, port: int | None) -> bool:
        """Forget a host; ``False`` when it was not registered."""
        with self._database.writing() as connection:
            return connection.execute(delete(hosts).where(_is(name, port))).rowcount > 0

    def _update(self, name: str, port: int | None, values: Mapping[str, Any]) -> bool:
        statement = update(hosts).where(_is(name, port)).values(values)
        with self._database.writing() as connection:
            return connection.execute(statement).rowcount > 0


def _is(name: str, port: int | None) -> ColumnElement[bool]:
    return and_(hosts.c.name == name, hosts.c.port.is_not_distinct_from(port))

"""Every query about the analysis hosts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, insert, select, update

from cas.database.connection import Database
from cas.database.host_list import PLAIN, host_of
from cas.database.tables import hosts
from cas.model import Host


class HostRows:
    """The registered hosts, as values."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> tuple[Host, ...]:
        """Every host, by name and port."""
        query = select(hosts).order_by(hosts.c.name, hosts.c.port)
        with self._database.reading() as connection:
            return tuple(host_of(dict(row)) for row in connection.execute(query).mappings())

    def put(self, host: Host) -> None:
        """Register a host, or replace all that is known of it."""
        row = {"name": host.name, "port": host.port or 0, "is_enabled": host.is_enabled}
        with self._database.writing() as connection:
            connection.execute(delete(hosts).where(_is(host.name, host.port)))
            connection.execute(insert(hosts).values(row | _facts(host)))

    def renew(self, host: Host) -> bool:
        """Replace a host's facts, if it is registered still; whether it is enabled stays."""
        return self._update(host.name, host.port, _facts(host))

    def enable(self, name: str, port: int | None, *, is_enabled: bool) -> bool:
        """Use a host, or not; ``False`` when it is not registered."""
        return self._update(name, port, {"is_enabled": is_enabled})

    def remove(self, name: str, port: int | None) -> bool:
        """Forget a host; ``False`` when it was not registered."""
        with self._database.writing() as connection:
            return connection.execute(delete(hosts).where(_is(name, port))).rowcount > 0

    def _update(self, name: str, port: int | None, values: Mapping[str, Any]) -> bool:
        statement = update(hosts).where(_is(name, port)).values(values)
        with self._database.writing() as connection:
            return connection.execute(statement).rowcount > 0


def _is(name: str, port: int | None) -> ColumnElement[bool]:
    return and_(hosts.c.name == name, hosts.c.port == (port or 0))


def _facts(host: Host) -> dict[str, Any]:
    checked = host.checked and host.checked.astimezone(UTC).replace(tzinfo=None)
    return {
        **{name: getattr(host, name) for name in PLAIN},
        "is_shared": host.is_shared,
        "checked": checked,
        "crashes": json.dumps([asdict(program) for program in host.crashes]),
        "remarks": json.dumps(host.remarks),
    }

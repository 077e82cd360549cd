"""Every query about the analysis hosts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, and_, delete, insert, select, update

from cas.catalogue.connection import Database
from cas.catalogue.tables import hosts
from cas.model import CrashProgram, Host

_PLAIN = ("drgn", "cpus", "memory_bytes", "free_bytes", "is_shared", "arch", "host_key", "problem")
"""Facts that are stored as they are."""


class HostRows:
    """The registered hosts, as values."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> tuple[Host, ...]:
        """Every host, by name and port."""
        query = select(hosts).order_by(hosts.c.name, hosts.c.port)
        with self._database.reading() as connection:
            return tuple(_host(row) for row in connection.execute(query).mappings())

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
        **{name: getattr(host, name) for name in _PLAIN},
        "checked": checked,
        "crashes": json.dumps([asdict(program) for program in host.crashes]),
        "remarks": json.dumps(host.remarks),
    }


def _host(row: RowMapping) -> Host:
    return Host(
        name=row["name"],
        port=row["port"] or None,
        is_enabled=row["is_enabled"],
        checked=row["checked"] and row["checked"].replace(tzinfo=UTC),
        crashes=tuple(CrashProgram(**program) for program in json.loads(row["crashes"])),
        remarks=tuple(json.loads(row["remarks"])),
        **{name: row[name] for name in _PLAIN},
    )

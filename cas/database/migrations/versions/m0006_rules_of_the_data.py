"""Rules of the data that the database itself keeps; NULL instead of port 0 and empty text."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_VERDICTS = "'complete', 'partial', 'waiting', 'failed', 'refused', 'interrupted'"
_CHECKS = {
    "packages": {
        "packages_size": "size_bytes >= 0",
        "packages_state_known": "state IN ('ok', 'bad', 'unreadable')",
        "packages_kind_known": "kind IN ('rpm', 'deb', 'vmlinux')",
        "packages_reason": "(state = 'ok') = (reason IS NULL)",
        "packages_identity": "state <> 'ok' OR (name IS NOT NULL AND arch IS NOT NULL)",
    },
    "readings": {"readings_size": "size_bytes >= 0"},
    "builds": {"builds_kind_known": "kind IN ('build', 'purge', 'answered purge')"},
    "kernels": {
        "kernels_size": "size_bytes >= 0",
        "kernels_member": "member <> ''",
        "kernels_build_id": "build_id <> ''",
    },
    "kmods": {"kmods_count": "count > 0"},
    "jobs": {
        "jobs_ticket": "ticket <> ''",
        "jobs_verdict_known": f"verdict IN ({_VERDICTS})",
    },
    "signatures": {"signatures_version": "version > 0"},
    "hosts": {
        "hosts_name": "name <> ''",
        "hosts_port": "port BETWEEN 1 AND 65535",
        "hosts_cpus": "cpus > 0",
        "hosts_memory": "memory_bytes >= 0",
        "hosts_free": "free_bytes >= 0",
    },
}
_DEFAULTS: dict[str, tuple[str, sa.types.TypeEngine[Any]]] = {
    "inode": ("0", sa.BigInteger()),
    "kind": ("rpm", sa.String(16)),
}
"""Of columns of ``packages``, for rows that were there before them."""
_NAMES: dict[str, sa.types.TypeEngine[Any]] = {
    "name": sa.Text(),
    "arch": sa.String(32),
    "version": sa.Text(),
}
_CLEANED = (
    # what no release of ours has written, and would keep the rules from being made
    "UPDATE packages SET reason = NULL WHERE state = 'ok'",
    "UPDATE packages SET reason = 'not known' WHERE state <> 'ok' AND reason IS NULL",
    "UPDATE kernels SET build_id = NULL WHERE build_id = ''",
    "DELETE FROM kmods WHERE count <= 0",
    f"DELETE FROM jobs WHERE ticket = '' OR verdict NOT IN ({_VERDICTS})",  # noqa: S608
    "DELETE FROM signatures WHERE version <= 0 OR job_id NOT IN (SELECT id FROM jobs)",
    "UPDATE hosts SET cpus = NULL WHERE cpus <= 0",
    # text that stood for none
    "UPDATE packages SET name = NULL, arch = NULL WHERE state <> 'ok'",
    "UPDATE packages SET version = NULL WHERE version = ''",
    "UPDATE kernels SET member = NULL WHERE member = ''",
    "UPDATE hosts SET port = NULL WHERE port = 0",
)
_PURGES = {"purge": {"purge": 1}, "answered purge": {"purge": 1, "answered": 1}}
"""What the text ``summary`` said of them."""


def upgrade() -> None:
    """Let columns be NULL, then clean the rows, then make the rules."""
    with op.batch_alter_table("packages") as batch:
        for name, (default, kind) in _DEFAULTS.items():
            batch.alter_column(
                name, existing_type=kind, existing_server_default=default, server_default=None
            )
        for name, kind in _NAMES.items():
            batch.alter_column(name, existing_type=kind, nullable=True, server_default=None)
    with op.batch_alter_table("kernels") as batch:
        batch.alter_column("member", existing_type=sa.Text, nullable=True)
    with op.batch_alter_table("hosts") as batch:
        batch.alter_column("port", existing_type=sa.Integer, nullable=True)
        for name in ("crashes", "remarks"):
            batch.alter_column(
                name, existing_type=sa.Text, type_=sa.JSON, postgresql_using=f"{name}::json"
            )
    with op.batch_alter_table("jobs") as batch:
        batch.alter_column("nodename", existing_type=sa.Text(), type_=sa.String(200))
    for statement in _CLEANED:
        op.execute(statement)
    _split_summaries()
    for table, checks in _CHECKS.items():
        with op.batch_alter_table(table) as batch:
            for name, rule in checks.items():
                batch.create_check_constraint(name, sa.text(rule))
    op.create_index(
        "hosts_name_without_port",
        "hosts",
        ["name"],
        unique=True,
        sqlite_where=sa.text("port IS NULL"),
        postgresql_where=sa.text("port IS NULL"),
    )


def _split_summaries() -> None:
    """Say of each run of what kind it was, which its summary told beside its counts."""
    with op.batch_alter_table("builds") as batch:
        batch.add_column(sa.Column("kind", sa.String(16)))
        batch.add_column(sa.Column("counts", sa.JSON))
    connection = op.get_bind()
    builds = _builds("kind", "counts", "summary")
    for number, summary in connection.execute(sa.select(builds.c.id, builds.c.summary)).all():
        told = json.loads(summary)
        kind = next((kind for kind, said in _PURGES.items() if told == said), "build")
        values = {"kind": kind, "counts": told if kind == "build" else {}}
        connection.execute(sa.update(builds).where(builds.c.id == number).values(values))
    with op.batch_alter_table("builds") as batch:
        batch.drop_column("summary")
        batch.alter_column("kind", existing_type=sa.String(16), nullable=False)
        batch.alter_column("counts", existing_type=sa.JSON, nullable=False)


def downgrade() -> None:
    """Take the rules away, and put back what stood for none."""
    op.drop_index("hosts_name_without_port", "hosts")
    for table, checks in _CHECKS.items():
        with op.batch_alter_table(table) as batch:
            for name in checks:
                batch.drop_constraint(name, type_="check")
    _join_summaries()
    for table, column, value in (
        *(("packages", name, "''") for name in _NAMES),
        ("kernels", "member", "''"),
        ("hosts", "port", "0"),
    ):
        op.execute(f"UPDATE {table} SET {column} = {value} WHERE {column} IS NULL")  # noqa: S608
    with op.batch_alter_table("hosts") as batch:
        batch.alter_column("port", existing_type=sa.Integer, nullable=False)
        for name in ("crashes", "remarks"):
            batch.alter_column(name, existing_type=sa.JSON, type_=sa.Text)
    with op.batch_alter_table("jobs") as batch:
        batch.alter_column("nodename", existing_type=sa.String(200), type_=sa.Text())
    with op.batch_alter_table("kernels") as batch:
        batch.alter_column("member", existing_type=sa.Text, nullable=False)
    with op.batch_alter_table("packages") as batch:
        for name, kind in _NAMES.items():
            default = "" if name == "version" else None
            batch.alter_column(name, existing_type=kind, nullable=False, server_default=default)
        for name, (default, kind) in _DEFAULTS.items():
            batch.alter_column(name, existing_type=kind, server_default=default)


def _join_summaries() -> None:
    with op.batch_alter_table("builds") as batch:
        batch.add_column(sa.Column("summary", sa.Text))
    connection = op.get_bind()
    builds = _builds("kind", "counts", "summary")
    columns = builds.c.id, builds.c.kind, builds.c.counts
    for number, kind, counts in connection.execute(sa.select(*columns)).all():
        summary = json.dumps(_PURGES.get(kind, counts))
        connection.execute(sa.update(builds).where(builds.c.id == number).values(summary=summary))
    with op.batch_alter_table("builds") as batch:
        batch.drop_column("kind")
        batch.drop_column("counts")
        batch.alter_column("summary", existing_type=sa.Text, nullable=False)


def _builds(*names: str) -> sa.TableClause:
    columns = [sa.column(name, sa.JSON if name == "counts" else sa.Text) for name in names]
    return sa.table("builds", sa.column("id", sa.Integer), *columns)

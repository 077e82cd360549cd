"""On what hardware a job's machine ran, and what tells its crash from all others."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_COLUMNS = (
    sa.Column("model", sa.String(200)),
    sa.Column("bios", sa.String(200)),
    sa.Column("log_digest", sa.String(64)),
)
_INDEXED = ("nodename", "model", "log_digest")


def upgrade() -> None:
    """Empty for jobs of before: ``cas-admin reprocess`` fills them in from their kernel logs."""
    for column in _COLUMNS:
        op.add_column("jobs", column)
    op.execute("UPDATE jobs SET nodename = substr(nodename, 1, 200) WHERE length(nodename) > 200")
    for name in _INDEXED:
        op.create_index(f"ix_jobs_{name}", "jobs", [name])


def downgrade() -> None:
    """Forget it."""
    for name in _INDEXED:
        op.drop_index(f"ix_jobs_{name}", "jobs")
    for column in _COLUMNS:
        op.drop_column("jobs", column.name)

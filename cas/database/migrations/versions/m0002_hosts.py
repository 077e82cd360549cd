"""The analysis hosts."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create their table."""
    op.create_table(
        "hosts",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("is_enabled", sa.Boolean, nullable=False),
        sa.Column("problem", sa.Text),
        sa.Column("checked", sa.DateTime),
        sa.Column("arch", sa.String(32)),
        sa.Column("crashes", sa.Text, nullable=False),
        sa.Column("drgn", sa.Text),
        sa.Column("cpus", sa.Integer),
        sa.Column("memory_bytes", sa.BigInteger),
        sa.Column("free_bytes", sa.BigInteger),
        sa.Column("is_shared", sa.Boolean, nullable=False),
        sa.Column("host_key", sa.Text),
        sa.Column("remarks", sa.Text, nullable=False),
        sa.UniqueConstraint("name", "port", name="hosts_name_port"),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("hosts")

"""The first tables: packages, their kernels, and the index of jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "packages",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("path", sa.Text, nullable=False, unique=True),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("mtime_ns", sa.BigInteger, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("arch", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("build_time_s", sa.BigInteger),
        sa.Column("scanned_at", sa.DateTime, nullable=False),
    )
    package = sa.ForeignKey("packages.id", ondelete="CASCADE")
    op.create_table(
        "kernels",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("package_id", sa.Integer, package, nullable=False, index=True),
        sa.Column("release", sa.String(160), nullable=False, index=True),
        sa.Column("arch", sa.String(32), nullable=False),
        sa.Column("flavour", sa.String(160), nullable=False),
        sa.Column("member", sa.Text, nullable=False),
        sa.Column("build_id", sa.String(128), index=True),
        sa.Column("banner", sa.Text),
        sa.Column("examined", sa.Boolean, nullable=False),
        sa.Column("size_bytes", sa.BigInteger),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("ticket", sa.String(64), nullable=False, index=True),
        sa.Column("directory", sa.Text, nullable=False, unique=True),
        sa.Column("started", sa.DateTime, nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False, index=True),
        sa.Column("osrelease", sa.Text),
        sa.Column("build_id", sa.Text),
        sa.Column("signature", sa.String(128), index=True),
        sa.Column("panic_message", sa.Text),
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("jobs", "kernels", "packages"):
        op.drop_table(table)

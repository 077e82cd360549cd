"""Sources of every kind, their kmods, what is read before it is published, and the runs."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_PACKAGES = (
    sa.Column("inode", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("kind", sa.String(16), nullable=False, server_default="rpm"),
    sa.Column("version", sa.Text, nullable=False, server_default=""),
    sa.Column("trust", sa.Text),
)


def upgrade() -> None:
    """Add columns and tables; the next run reads every package again, for its inode is unknown."""
    for column in _PACKAGES:
        op.add_column("packages", column)
    op.add_column("kernels", sa.Column("digest", sa.Text))
    op.create_table(
        "kmods",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column(
            "package_id",
            sa.Integer,
            sa.ForeignKey("packages.id", ondelete="CASCADE"),
            nullable=False,
            index=True,
        ),
        sa.Column("release", sa.String(160), nullable=False, index=True),
        sa.Column("count", sa.Integer, nullable=False),
    )
    op.create_table(
        "readings",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("path", sa.Text, nullable=False, unique=True),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("mtime_ns", sa.BigInteger, nullable=False),
        sa.Column("inode", sa.BigInteger, nullable=False),
        sa.Column("facts", sa.Text, nullable=False),
    )
    op.create_table(
        "builds",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("started", sa.DateTime, nullable=False),
        sa.Column("ended", sa.DateTime),
        sa.Column("summary", sa.Text, nullable=False),
        sa.Column("problem", sa.Text),
    )


def downgrade() -> None:
    """Take them away."""
    for table in ("builds", "readings", "kmods"):
        op.drop_table(table)
    op.drop_column("kernels", "digest")
    for column in _PACKAGES:
        op.drop_column("packages", column.name)

"""Signatures as rows, and what tells of an occurrence: the dump's digest, the machine, the time."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_JOBS = (
    sa.Column("crashed", sa.DateTime),
    sa.Column("nodename", sa.Text),
    sa.Column("digest", sa.String(128)),
)


def upgrade() -> None:
    """Move the one signature of a job, made by the first version of the rules, to its table."""
    op.create_table(
        "signatures",
        sa.Column(
            "job_id",
            sa.Integer,
            sa.ForeignKey("jobs.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("granularity", sa.String(16), primary_key=True),
        sa.Column("value", sa.String(128), nullable=False),
    )
    op.create_index("ix_signatures_value", "signatures", ["value"])
    op.execute(
        "INSERT INTO signatures (job_id, version, granularity, value) "
        "SELECT id, 1, 'full', signature FROM jobs WHERE signature IS NOT NULL"
    )
    op.drop_index("ix_jobs_signature", "jobs")
    op.drop_column("jobs", "signature")
    for column in _JOBS:
        op.add_column("jobs", column)
    op.execute("UPDATE jobs SET crashed = started")
    op.create_index("ix_jobs_digest", "jobs", ["digest"])


def downgrade() -> None:
    """Keep of each job the signature of the first version."""
    op.drop_index("ix_jobs_digest", "jobs")
    for column in _JOBS:
        op.drop_column("jobs", column.name)
    op.add_column("jobs", sa.Column("signature", sa.String(128)))
    op.create_index("ix_jobs_signature", "jobs", ["signature"])
    op.execute(
        "UPDATE jobs SET signature = (SELECT value FROM signatures "
        "WHERE job_id = jobs.id AND version = 1 AND granularity = 'full')"
    )
    op.drop_table("signatures")

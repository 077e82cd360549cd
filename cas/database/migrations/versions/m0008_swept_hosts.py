"""Hosts that are swept for dumps, beside those that analyse them."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Mark hosts that are swept; all of before analyse dumps."""
    mark = sa.Column("is_swept", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("hosts", mark)


def downgrade() -> None:
    """Forget the hosts that are swept: a release of before would analyse dumps there."""
    op.execute("DELETE FROM hosts WHERE is_swept")
    op.drop_column("hosts", "is_swept")

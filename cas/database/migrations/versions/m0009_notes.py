"""Crashes that a note tells of: there never was a file."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_RULE = "crashes_presence_known"
_BEFORE = "'here', 'truncated', 'elsewhere', 'missing', 'purged'"


def upgrade() -> None:
    """Let a crash be noted."""
    _have(f"{_BEFORE}, 'noted'")


def downgrade() -> None:
    """Forget them: a release of before has no such crash."""
    op.execute(
        "DELETE FROM crash_words WHERE crash_id IN"
        " (SELECT id FROM crashes WHERE presence = 'noted')"
    )
    op.execute("DELETE FROM crashes WHERE presence = 'noted'")
    _have(_BEFORE)


def _have(presences: str) -> None:
    with op.batch_alter_table("crashes") as batch:
        batch.drop_constraint(_RULE, type_="check")
        batch.create_check_constraint(_RULE, sa.text(f"presence IN ({presences})"))

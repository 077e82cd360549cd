"""The index of the archive: crashes, and every value of what is known of them."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_PRESENCES = "'here', 'truncated', 'elsewhere', 'missing', 'purged'"


def upgrade() -> None:
    """Make both tables; ``cas-admin index`` fills them."""
    is_server = op.get_bind().dialect.name == "postgresql"

    def words(limit: int) -> sa.String:
        return sa.String(limit, "C" if is_server else None)

    op.create_table(
        "crashes",
        sa.Column("id", words(32), primary_key=True),
        sa.Column("type", words(16), nullable=False),
        sa.Column("time_s", sa.BigInteger, nullable=False),
        sa.Column("added_s", sa.BigInteger, nullable=False),
        sa.Column("node", words(200)),
        sa.Column("cmd", words(200)),
        sa.Column("ticket", sa.Text),
        sa.Column("presence", sa.String(16), nullable=False),
        sa.Column("info", sa.Text, nullable=False),
        sa.CheckConstraint("length(id) = 32", name="crashes_id"),
        sa.CheckConstraint(f"presence IN ({_PRESENCES})", name="crashes_presence_known"),
    )
    for name in ("time_s", "added_s", "node"):
        op.create_index(f"ix_crashes_{name}", "crashes", [name])
    op.create_table(
        "crash_words",
        sa.Column(
            "crash_id",
            words(32),
            sa.ForeignKey("crashes.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("name", words(200), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("value", words(400), nullable=False),
        sa.CheckConstraint("name <> ''", name="crash_words_name"),
        sa.CheckConstraint("position >= 0", name="crash_words_position"),
    )
    op.create_index("crash_words_by_value", "crash_words", ["name", "value", "crash_id"])


def downgrade() -> None:
    """Forget the index; the archive itself is not touched."""
    op.drop_table("crash_words")
    op.drop_table("crashes")

"""Alembic's environment; `cas.database.connection` runs it."""

"""Alembic's environment; `cas.catalogue.database.connection` runs it."""

"""Alembic's environment; `cas.catalogue.connection` runs it."""

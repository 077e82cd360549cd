"""An archive of one test's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cas.archive.archive import Archive
from cas.database.store import Store


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """An empty one, whose index is a file beside it."""
    owners = frozenset({os.geteuid(), 0})
    return Archive(tmp_path / "store", tmp_path, Store(str(tmp_path / "db")), owners)

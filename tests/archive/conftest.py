"""An archive of one test's own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from made_crashes import FILTERED, files_of_crash

from cas.archive.archive import Archive
from cas.database.store import Store


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """An empty one, whose index is a file beside it."""
    owners = frozenset({os.geteuid(), 0})
    return Archive(tmp_path / "store", tmp_path, Store(str(tmp_path / "db")), owners)


@pytest.fixture(scope="session")
def small(made: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """A dump of a made-up crash, of a few KB: a job on it takes a third of the time."""
    return made("small-crashes", files_of_crash) / FILTERED

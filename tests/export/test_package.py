"""An export is there whole or not at all, and takes nobody's place."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from cas.errors import TryAgain
from cas.export.package import Exists, exporting

NOW = datetime(2026, 12, 1, tzinfo=UTC)
TARGETS = pytest.mark.parametrize("name", ["case", "case.tar", "case.tar.gz", "case.tar.zst"])


@TARGETS
def test_what_fails_on_its_way_leaves_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(TryAgain), exporting(tmp_path / name, NOW) as place:
        (place / "report.txt").write_text("half")
        (place / "absent").read_text()
    with pytest.raises(KeyboardInterrupt), exporting(tmp_path / name, NOW):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


@TARGETS
def test_who_comes_second_is_refused_and_the_first_stays(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    with pytest.raises(Exists), exporting(target, NOW) as place:
        (place / "report.txt").write_text("first")
        with exporting(target, NOW) as other:
            (other / "report.txt").write_text("second")
        assert target.exists()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    if target.is_dir():
        assert (target / "report.txt").read_text() == "second"


@TARGETS
def test_not_even_a_link_to_nothing_is_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Exists), exporting(tmp_path / name, NOW):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [name]

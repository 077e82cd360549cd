"""What root is told to do about files of his that are in the way."""

from pathlib import Path

import pytest

from cas.settings.config import Config
from cas.settings.users import command_to_give


@pytest.fixture
def config(tmp_path: Path) -> Config:
    places = [tmp_path / name for name in ("kernels", "debugs", "cores")]
    return Config(*places, database=str(tmp_path / "cas.db"))


def test_a_directory_that_is_missing_is_made(config: Config, tmp_path: Path) -> None:
    said = command_to_give(config, "cas", tmp_path)
    assert said == f"run as root: install -d -o cas -m 700 {tmp_path}/cores"


@pytest.mark.parametrize("scheme", ["", "sqlite:///"])
def test_a_database_is_given_away(config: Config, tmp_path: Path, scheme: str) -> None:
    file = tmp_path / "cas.db"
    file.touch()
    at_url = Config(config.kernels, config.debugs, config.work_directory, f"{scheme}{file}")
    assert command_to_give(at_url, "cas", file) == f"run as root: chown --from=root cas: {file}"


def test_what_is_not_of_the_installation_is_never_given_away(config: Config) -> None:
    url = "postgresql://cas@/cas?host=/run/postgresql"
    at_url = Config(config.kernels, config.debugs, config.work_directory, url)
    for place in (Path("/"), Path("/usr"), Path("/run/postgresql")):
        assert "chown" not in command_to_give(at_url, "cas", place)

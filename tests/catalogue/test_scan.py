import os
import re
from pathlib import Path

import pytest

from cas.catalogue.building.scan import Found, find_package_files
from cas.errors import ConfigError
from cas.settings.rules import PackageRules

PACKAGES = re.compile(r".*\.rpm")


def found_below(root: Path) -> Found:
    return find_package_files(root, PACKAGES.fullmatch, PackageRules())


def names(root: Path) -> set[str]:
    return {str(Path(path).relative_to(root)) for path in found_below(root).files}


def test_packages_are_found_in_every_directory(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("one.rpm", "a/two.rpm", "a/b/three.rpm", "a/b/notes.txt"):
        (tmp_path / name).touch()
    assert names(tmp_path) == {"one.rpm", "a/two.rpm", "a/b/three.rpm"}


def test_links_are_followed_and_loops_are_not_entered(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    root = tmp_path / "root"
    (root / "deep").mkdir(parents=True)
    elsewhere.mkdir()
    (elsewhere / "one.rpm").touch()
    (root / "outside").symlink_to(elsewhere)
    (root / "deep" / "up").symlink_to(root)
    (elsewhere / "back").symlink_to(root / "outside")
    (root / "self").symlink_to(root / "self")
    assert names(root) == {"outside/one.rpm"}


def test_a_file_that_several_paths_lead_to_is_found_once_without_a_link(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "z").mkdir()
    (tmp_path / "z" / "one.rpm").touch()
    (tmp_path / "a" / "link.rpm").symlink_to(tmp_path / "z" / "one.rpm")
    (tmp_path / "a" / "directory").symlink_to(tmp_path / "z")
    os.link(tmp_path / "z" / "one.rpm", tmp_path / "z" / "two.rpm")
    assert names(tmp_path) == {"z/one.rpm"}


def test_a_dangling_link_to_a_package_is_reported(tmp_path: Path) -> None:
    (tmp_path / "gone.rpm").symlink_to(tmp_path / "nowhere")
    (tmp_path / "other").symlink_to(tmp_path / "nowhere")
    assert found_below(tmp_path).unreadable == {f"{tmp_path}/gone.rpm": "No such file or directory"}


def test_a_name_that_is_not_utf8_is_reported(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff.rpm"
    Path(os.fsdecode(path)).touch()
    found = found_below(tmp_path)
    assert (list(found.files), list(found.unreadable.values())) == ([], ["the path is not UTF-8"])


def test_a_missing_directory_names_the_directive(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"kernels: .*/nowhere is not a directory"):
        found_below(tmp_path / "nowhere")

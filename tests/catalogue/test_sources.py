"""Source lines of a configured tree, and that no path out of debug information leaves it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cas.catalogue.source_lines import FILE_BYTES, source_lines

RELEASE = "6.1.0-test"
TEXT = "\n".join(f"line {number}" for number in range(1, 41)) + "\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The directory of all trees, with that of one release."""
    directory = tmp_path / "trees" / RELEASE / "fs" / "nfs"
    directory.mkdir(parents=True)
    (directory / "dir.c").write_text(TEXT)
    (tmp_path / "secret.c").write_text(TEXT)
    return tmp_path / "trees"


@pytest.mark.parametrize(
    "file",
    [
        "fs/nfs/dir.c",
        "./fs/nfs/dir.c",
        "/usr/src/debug/kernel-6.1.0/linux-6.1.0.x86_64/fs/nfs/dir.c",
        "/build/linux/fs/nfs/dir.c",
    ],
)
def test_the_lines_around_one_are_shown(tree: Path, file: str) -> None:
    found = source_lines([tree], RELEASE, file, 20)
    assert found is not None
    assert (found.file, found.line, found.first) == (file, 20, 14)
    assert found.lines[6] == "line 20"
    assert len(found.lines) == 13
    assert found.found == str(tree / RELEASE / "fs/nfs/dir.c")


def test_the_first_line_has_nothing_before_it(tree: Path) -> None:
    found = source_lines([tree], RELEASE, "fs/nfs/dir.c", 1)
    assert found is not None
    assert (found.first, found.lines[0], len(found.lines)) == (1, "line 1", 7)


def test_trees_are_asked_in_their_order(tree: Path, tmp_path: Path) -> None:
    found = source_lines([tmp_path / "none", tree], RELEASE, "fs/nfs/dir.c", 3)
    assert found is not None


@pytest.mark.parametrize(
    "file",
    [
        "../../secret.c",
        "fs/../../../secret.c",
        "fs/nfs/../nfs/dir.c",
        "nfs/dir.c",
        "/secret.c",
        "fs/nfs",
        "fs/nfs/dir.c\0",
        "/".join(["d"] * 40),
        "",
    ],
)
def test_a_path_that_is_not_below_the_tree_gives_nothing(tree: Path, file: str) -> None:
    assert source_lines([tree], RELEASE, file, 3) is None


@pytest.mark.parametrize("release", ["..", ".", "", "6.1.0/../..", None, "6.1.0-other"])
def test_another_release_has_no_lines(tree: Path, release: str | None) -> None:
    assert source_lines([tree], release, "fs/nfs/dir.c", 3) is None


def test_no_link_below_a_tree_is_followed(tree: Path, tmp_path: Path) -> None:
    (tree / RELEASE / "fs" / "link.c").symlink_to(tmp_path / "secret.c")
    (tree / RELEASE / "outside").symlink_to(tmp_path)
    assert source_lines([tree], RELEASE, "fs/link.c", 3) is None
    assert source_lines([tree], RELEASE, "outside/secret.c", 3) is None


def test_a_release_may_be_a_link_of_the_administrators(tree: Path) -> None:
    (tree / "6.1.0-same").symlink_to(RELEASE)
    assert source_lines([tree], "6.1.0-same", "fs/nfs/dir.c", 3) is not None


def test_nothing_but_a_regular_file_is_opened(tree: Path) -> None:
    os.mkfifo(tree / RELEASE / "fs" / "fifo.c")
    assert source_lines([tree], RELEASE, "fs/fifo.c", 3) is None


def test_a_file_that_is_too_large_or_too_short_has_no_line(tree: Path) -> None:
    with (tree / RELEASE / "fs" / "huge.c").open("wb") as file:
        file.truncate(FILE_BYTES + 1)
    assert source_lines([tree], RELEASE, "fs/huge.c", 1) is None
    assert source_lines([tree], RELEASE, "fs/nfs/dir.c", 41) is None


def test_a_long_line_is_cut_and_other_bytes_are_replaced(tree: Path) -> None:
    (tree / RELEASE / "fs" / "odd.c").write_bytes(b"\xff" + b"x" * 500 + b"\n")
    found = source_lines([tree], RELEASE, "fs/odd.c", 1)
    assert found is not None
    assert found.lines == ("�" + "x" * 199,)

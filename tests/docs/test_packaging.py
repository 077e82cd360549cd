"""What is installed and released has everything that a checkout has."""

from __future__ import annotations

import configparser
import fnmatch
import re
from pathlib import Path

import pytest

from cas import __version__

ROOT = Path(__file__).parents[2]
BY_SETUPTOOLS = {"COPYING", "MANIFEST.in", "README.md", "cas", "cas_admin"}
BY_SETUPTOOLS |= {"pyproject.toml", "setup.cfg"}
OF_GIT = {".git", ".gitignore", ".containerignore"}


def ignored(name: str) -> bool:
    """Whether .gitignore has a file at the top; an archive of the sources has none of them."""
    patterns = [line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()]
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


@pytest.mark.skipif(not (ROOT / ".gitignore").exists(), reason="this is no checkout")
def test_the_source_archive_has_what_a_checkout_has() -> None:
    manifest = (ROOT / "MANIFEST.in").read_text()
    taken = {
        word
        for line in re.findall(r"^(?:include|graft) (.+)", manifest, re.M)
        for word in line.split()
    }
    found = {path.name for path in ROOT.iterdir() if not ignored(path.name)}
    assert found - OF_GIT == taken | BY_SETUPTOOLS


def test_every_file_for_the_system_is_installed() -> None:
    setup = configparser.RawConfigParser()
    setup.read(ROOT / "setup.cfg")
    patterns = setup["options.data_files"].values()
    installed = {path for pattern in patterns for path in ROOT.glob(pattern.strip())}
    for directory in (
        "advice",
        "analyzers",
        "etc",
        "man",
        "snippets",
        "functions",
        "glide",
        "known",
        "schemas",
    ):
        for path in (ROOT / directory).rglob("*"):
            if path.is_file() and path.name not in ("Containerfile", "README.md"):
                assert path in installed, path


def test_the_changelog_begins_with_this_version() -> None:
    assert re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)[1] == __version__

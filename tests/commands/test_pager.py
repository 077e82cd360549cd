"""A long answer on a terminal goes through the reader's pager; nothing that it does is an error."""

from __future__ import annotations

import os
import pty
from collections.abc import Iterable, Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import TextIO

import pytest

from cas.commands.console import Console
from cas.commands.pager import Pager, pager_for

LONG = [f"line {number}" for number in range(100)]


def paged(lines: Iterable[str], stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether a pager has shown all of it."""
    command = pager_for(stream, environment)
    if command is None:
        return False
    pager = Pager(command, environment, stream.encoding, lambda: True)
    for line in lines:
        pager.add(line)
    return not pager.close()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[TextIO]:
    monkeypatch.setenv("LINES", "24")
    monkeypatch.setenv("COLUMNS", "80")
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w", encoding="ascii") as stream:
        yield stream
    os.close(leader)


@pytest.fixture
def pager(tmp_path: Path) -> dict[str, str]:
    """The environment with a pager that keeps what it reads, and its options."""
    program = tmp_path / "my pager"
    program.write_text('#!/bin/sh\ncat > "$1"\necho "$LESS" > "$1.options"\n')
    program.chmod(0o755)
    return {"PATH": os.environ["PATH"], "PAGER": f"'{program}' '{tmp_path}/read'"}


def test_a_long_answer_is_paged(terminal: TextIO, pager: dict[str, str], tmp_path: Path) -> None:
    assert paged([*LONG, "größer"], terminal, pager)
    assert (tmp_path / "read").read_text().splitlines() == [*LONG, "gr\\xf6\\xdfer"]
    assert (tmp_path / "read.options").read_text() == "FRX\n"
    assert paged(LONG, terminal, {**pager, "LESS": "S"})
    assert (tmp_path / "read.options").read_text() == "S\n"


def test_what_fits_and_what_is_no_terminal_is_not_paged(
    terminal: TextIO, pager: dict[str, str]
) -> None:
    assert not paged(LONG[:23], terminal, pager)
    assert paged([*LONG[:22], "x" * 161], terminal, pager)
    assert not paged(LONG, StringIO(), pager)
    assert not paged(LONG, terminal, {**pager, "TERM": "dumb"})


@pytest.mark.parametrize("name", ["", "cat", "false", "/nowhere/less", "'", "/"])
def test_a_pager_that_is_none_shows_nothing_and_is_no_error(terminal: TextIO, name: str) -> None:
    assert not paged(LONG, terminal, {"PAGER": name})


def test_a_pager_that_is_left_early_is_no_error(terminal: TextIO) -> None:
    assert paged(LONG * 500, terminal, {"PAGER": "true"})


@pytest.mark.parametrize(
    ("environment", "is_coloured"),
    [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_no_color_is_obeyed_where_it_says_something(
    environment: dict[str, str], is_coloured: bool
) -> None:
    stream = StringIO()
    stream.isatty = lambda: True  # type: ignore[method-assign]
    Console(stream, environment).say("text")
    assert stream.getvalue() == ("\x1b[36m*\x1b[0m text\n" if is_coloured else "* text\n")

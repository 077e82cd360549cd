"""What a command prints is there as soon as it is known, on a terminal in the order of events."""

from __future__ import annotations

import io
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from cas.commands import Done, Output
from cas.commands.console import Console
from cas.commands.printing import print_output
from cas.errors import NotADump

STATUS = 3


def told(*lines: str) -> Output:
    yield from lines
    return STATUS


def test_a_line_can_be_read_before_the_next_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    monkeypatch.setattr("sys.stdout", os.fdopen(writing, "w"))

    def output() -> Output:
        for number in range(3):
            yield f"line {number}"
            assert select.select([reading], [], [], 0)[0]
            assert os.read(reading, 100) == f"line {number}\n".encode()
        return STATUS

    assert print_output(output(), Console(io.StringIO(), {}), {}) == STATUS
    os.close(reading)


def test_what_was_found_before_an_error_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    def output() -> Output:
        yield "found"
        raise NotADump("no more")

    with pytest.raises(NotADump):
        print_output(output(), Console(io.StringIO(), {}), {})
    assert capsys.readouterr().out == "found\n"


class Terminal:
    """A terminal of 24 lines, and what is shown on it."""

    def __init__(self) -> None:
        self._leader, follower = pty.openpty()
        self.stream = os.fdopen(follower, "w")

    def shown(self, last: str, patience_s: float = 30) -> str:
        """What it shows, up to a text; a bar goes on drawing for as long as it is there."""
        self.stream.flush()
        text, until = "", time.monotonic() + patience_s
        while last not in text and time.monotonic() < until:
            if select.select([self._leader], [], [], 0.2)[0]:
                text += os.read(self._leader, 1 << 16).decode().replace("\r\n", "\n")
        return text

    def close(self) -> None:
        self.stream.close()
        os.close(self._leader)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Terminal]]:
    """Gives stdout to a terminal; in the test itself, for pytest takes it before."""
    monkeypatch.setenv("LINES", "24")
    monkeypatch.setenv("COLUMNS", "80")
    opened = Terminal()

    def use() -> Terminal:
        monkeypatch.setattr("sys.stdout", opened.stream)
        return opened

    yield use
    opened.close()


def test_what_is_said_meanwhile_follows_the_results(terminal: Callable[[], Terminal]) -> None:
    screen = terminal()
    console = Console(screen.stream, {"NO_COLOR": "1"})

    def output() -> Output:
        console.say("first")
        yield "one"
        console.say("then")
        yield "two"
        return STATUS

    assert print_output(output(), console, {"PAGER": "true"}) == STATUS
    assert screen.shown("then\n") == "* first\none\ntwo\n* then\n"


def test_what_was_done_is_shown_above_the_bar(terminal: Callable[[], Terminal]) -> None:
    screen = terminal()
    console = Console(screen.stream, {"NO_COLOR": "1", "TERM": "xterm"})

    def output() -> Output:
        with console.bar("Working", 2, "jobs") as advance:
            for name in ("one", "two"):
                yield Done(f"did [bold]{name}")
                assert f"did [bold]{name}" in screen.shown(name)
                advance(1)
        return STATUS

    assert print_output(output(), console, {"PAGER": "true"}) == STATUS


@pytest.fixture
def pager(tmp_path: Path) -> dict[str, str]:
    """The environment with a pager that keeps what it reads, as it comes."""
    program = tmp_path / "pager"
    program.write_text(f"#!/bin/sh\nexec cat > '{tmp_path}/read'\n")
    program.chmod(0o755)
    return {"PATH": os.environ["PATH"], "PAGER": str(program)}


def wait_for(path: Path, text: str) -> None:
    until = time.monotonic() + 30
    while not path.exists() or text not in path.read_text():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_pager_has_the_first_lines_before_the_last_are_known(
    terminal: Callable[[], Terminal], pager: Mapping[str, str], tmp_path: Path
) -> None:
    screen = terminal()
    console = Console(screen.stream, {"NO_COLOR": "1"})

    def output() -> Output:
        for number in range(30):
            yield f"line {number}"
        wait_for(tmp_path / "read", "line 29\n")
        console.say("nearly done")
        yield "the last"
        return STATUS

    assert print_output(output(), console, pager) == STATUS
    assert (tmp_path / "read").read_text().endswith("line 29\nthe last\n")
    assert screen.shown("done\n") == "* nearly done\n"


def test_a_pager_waits_for_the_end_of_a_bar(
    terminal: Callable[[], Terminal], pager: Mapping[str, str], tmp_path: Path
) -> None:
    screen = terminal()
    console = Console(screen.stream, {"NO_COLOR": "1", "TERM": "xterm"})

    def output() -> Output:
        with console.bar("Looking", None):
            for number in range(30):
                yield f"line {number}"
            assert not (tmp_path / "read").exists()
        yield "the last"
        return STATUS

    assert print_output(output(), console, pager) == STATUS
    assert len((tmp_path / "read").read_text().splitlines()) == 31
    assert "line 3" not in screen.shown("no such line: all of it", patience_s=1)


def test_json_is_printed_as_it_is(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    console = Console(io.StringIO(), {})
    console.config = tmp_path
    for json in ('{"next": "run: cas-admin -b"}', '[{"next": "run: cas-admin -b"}'):
        assert print_output(told(json), console, {}) == STATUS
        assert capsys.readouterr().out == f"{json}\n"
    print_output(told("run: cas-admin -b"), console, {})
    assert capsys.readouterr().out == f"run: cas-admin --config {tmp_path} -b\n"


def test_results_do_not_go_where_a_bar_is_drawn(tmp_path: Path) -> None:
    """With stdout in a file and a bar on the terminal, each has its own."""
    script = """
import os, sys
from cas.commands.console import Console
from cas.commands.printing import print_output

def output():
    with console.bar("Working", 2, "jobs"):
        yield "a result"
    return 0

console = Console(sys.stderr, {"TERM": "xterm"})
sys.exit(print_output(output(), console, os.environ))
"""
    leader, follower = pty.openpty()
    with (tmp_path / "results").open("w") as results:
        argv = [sys.executable, "-c", script]
        done = subprocess.run(argv, stdout=results, stderr=follower, check=False, timeout=60)
    os.close(follower)
    assert done.returncode == 0
    assert (tmp_path / "results").read_text() == "a result\n"
    drawn = os.read(leader, 1 << 16)
    os.close(leader)
    assert b"Working" in drawn
    assert b"a result" not in drawn

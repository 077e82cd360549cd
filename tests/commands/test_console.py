"""What is proposed can be typed as it is printed."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest

from cas.commands import named_config
from cas.commands.console import Console, with_config
from cas.errors import CasError

CONFIG = Path("/etc/second site.conf")
NAMED = "--config '/etc/second site.conf'"


@pytest.mark.parametrize(
    ("said", "repeatable"),
    [
        ("and run: cas-admin -b", f"and run: cas-admin {NAMED} -b"),
        ("the newest: cas debug T/1", f"the newest: cas {NAMED} debug T/1"),
        ("cas -i T -f F; or cas identify F", f"cas {NAMED} -i T -f F; or cas {NAMED} identify F"),
        ("did you mean cas -i T-1? Else wait", f"did you mean cas {NAMED} -i T-1? Else wait"),
        ("(cas-admin cache clean does)", f"(cas-admin {NAMED} cache clean does)"),
        ("cas-admin -b && cas-admin index", f"cas-admin {NAMED} -b && cas-admin {NAMED} index"),
    ],
)
def test_a_proposed_command_reads_the_configuration_of_this_one(said: str, repeatable: str) -> None:
    assert with_config(said, CONFIG) == repeatable


@pytest.mark.parametrize(
    "said",
    [
        "did you mean debug? cas debug --config x T-1",
        "as cas reads it, and cas.conf says; see: cas --help",
        "cannot read /srv/cas -i.elf",
        "run as root: chown cas debugs",
    ],
)
def test_nothing_else_is_changed(said: str) -> None:
    assert with_config(said, CONFIG) == said


@pytest.mark.parametrize(
    "argv",
    [
        ["--config", str(CONFIG), "-i", "T"],
        ["debgu", "T", f"--config={CONFIG}"],
        ["debug", "T", "-s", "-i", "FILE", "--conf", str(CONFIG)],
    ],
)
def test_it_is_known_of_wrong_command_lines_too(argv: list[str]) -> None:
    assert named_config(argv) == CONFIG


@pytest.mark.parametrize("argv", [["debug", "T", "-c", "x"], ["--config"], ["--", "--config", "x"]])
def test_where_none_is_named_none_is_added(argv: list[str]) -> None:
    assert named_config(argv) is None


def test_all_that_is_said_is_repeatable() -> None:
    stream = StringIO()
    console = Console(stream, {})
    console.config = Path("a.conf")
    console.say("next: cas debug T")
    console.warn("later run: cas-admin index")
    console.fail(CasError("T has no job: cas -i T", hint="cas-admin status"))
    assert stream.getvalue().count(" --config a.conf ") == 4

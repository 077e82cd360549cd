"""A verb is a file of its program's package, and nothing else has to know of it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cas_admin.verbs
from cas.commands.command_line import parser
from cas.commands.mistakes import parser_verbs
from cas.commands.verb import ADMIN_VERBS, VERBS, load_verbs, verb_names
from cas.errors import UsageError
from cas_admin.command_line import admin_parser, parse_admin

from installed import Answer, Site, answer

GREET = '''\
"""A verb of a test."""

PLACE = 99
HELP = "say hello"
EXAMPLE = "cas-admin greet WHOM"


def arguments(parser):
    parser.add_argument("whom", metavar="WHOM")


def run(options, world):
    yield f"hello {options.whom}"
    return 3
'''


@pytest.fixture
def greet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A file more in the package of the verbs."""
    (tmp_path / "greet.py").write_text(GREET)
    monkeypatch.setattr(cas_admin.verbs, "__path__", [*cas_admin.verbs.__path__, str(tmp_path)])
    yield
    sys.modules.pop("cas_admin.verbs.greet", None)


@pytest.mark.usefixtures("greet")
def test_a_new_verb_is_one_file(site: Site) -> None:
    assert answer(site.world(), "cas-admin", "greet", "you") == Answer(("hello you",), 3)
    assert "say hello" in admin_parser().format_help()
    with pytest.raises(UsageError, match="cas-admin greet needs WHOM") as caught:
        parse_admin(["greet"])
    assert caught.value.hint == "cas-admin greet WHOM"
    with pytest.raises(UsageError, match="greta is no verb of cas-admin") as caught:
        parse_admin(["greta"])
    assert caught.value.hint == "did you mean greet? cas-admin greet"


@pytest.mark.parametrize("package", [VERBS, ADMIN_VERBS])
def test_every_verb_has_a_place_of_its_own_and_an_example(package: str) -> None:
    verbs = load_verbs(package)
    assert {verb.name for verb in verbs} == verb_names(package)
    assert [verb.place for verb in verbs] == list(range(1, len(verbs) + 1))
    assert all(verb.help and verb.example for verb in verbs)


def test_the_help_of_each_verb_ends_with_an_example() -> None:
    for name, verb in parser_verbs(parser()).items():
        example = re.search(r"^(for example|examples):\s(.*)", verb.format_help(), re.M | re.S)
        assert example and f"cas {name}" in example[2]


def imported(statement: str) -> set[str]:
    """The modules that a new process has after a statement."""
    script = f"import sys\n{statement}\nprint(*sys.modules)"
    argv = [sys.executable, "-c", script]
    return {*subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()}


def test_only_the_verb_that_is_asked_for_is_imported() -> None:
    modules = imported("from cas_admin.command_line import parse_admin; parse_admin(['check'])")
    assert {name for name in modules if name.startswith(f"{ADMIN_VERBS}.")} == {
        "cas_admin.verbs.check"
    }


@pytest.mark.parametrize("package", [VERBS, ADMIN_VERBS])
def test_a_list_of_the_verbs_imports_nothing_that_takes_long(package: str) -> None:
    modules = imported(f"from cas.commands.verb import load_verbs; load_verbs({package!r})")
    heavy = {"sqlalchemy", "drgn", "rich", "paramiko", "jinja2", "cas.triage", "cas.dump"}
    assert not heavy & modules

"""The man pages say what the programs do: options, exit statuses, directives, files."""

from __future__ import annotations

import argparse
import configparser
import dataclasses
import importlib
import pkgutil
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

import cas.commands
import cas_admin
import cas_admin.command_line
from cas.errors import EXIT_CODES, CasError
from cas.jobs import job
from cas.model.report import Report
from cas.report.result import as_result
from cas.settings.config import (
    MISSPELLINGS,
    Config,
    directives,
    read_config,
    store_directives,
    sweep_directives,
)
from cas.settings.rules import StoreRules, SweepRules
from cas.snippets import snippets
from cas.supervise import Confinement

from installed import needs

ROOT = Path(__file__).parents[2]
CAS, ADMIN, CONF = (ROOT / "man" / name for name in ("cas.1", "cas-admin.8", "cas.conf.5"))
EXAMPLE = ROOT / "etc" / "cas.conf"
PARSERS = {CAS: cas.commands.parser(), ADMIN: cas_admin.command_line.admin_parser()}
PROGRAMS = pytest.mark.parametrize("page", PARSERS, ids=["cas", "cas-admin"])


def section(page: Path, title: str) -> str:
    found = re.search(
        rf"^\.Sh {re.escape(title)}\n(.*?)(?=^\.Sh |\Z)", page.read_text(), re.M | re.S
    )
    assert found, f"{page.name} has no section {title}"
    return found[1]


def items(text: str) -> list[str]:
    return re.split(r"^\.It ", text, flags=re.M)[1:]


def item(text: str, head: str) -> str:
    (found,) = (one for one in items(text) if one.startswith(head))
    return found


def head(one: str) -> str:
    return one.partition(".Xc")[0] if one.startswith("Xo") else one.partition("\n")[0]


def flags(text: str) -> Iterator[str]:
    """The options that ``Fl`` marks."""
    for line in text.splitlines():
        is_flag = False
        for word in line.split():
            if word in ("Fl", ".Fl"):
                is_flag = True
            elif word in (",", ";", ".") or re.fullmatch(r"\.?[A-Z][a-z]", word):
                is_flag = False
            elif is_flag and word != "|":
                yield f"-{word}"


def listed(text: str) -> list[str]:
    """The words of ``Cm`` and ``Pa`` lines."""
    lines = re.findall(r"^\.(?:Cm|Pa) (.*)$", text, re.M)
    return [word for line in lines for word in line.split() if word not in (",", ".")]


def options(parser: argparse.ArgumentParser) -> set[str]:
    return {word for action in parser._actions for word in action.option_strings}


def every_parser(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser, and those of its verbs and their actions."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield from every_parser(one)


def verbs(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    (action,) = (one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    return dict(action.choices)


@pytest.fixture
def defaults(tmp_path: Path) -> Config:
    return Config(tmp_path / "k", tmp_path / "d", tmp_path / "w", str(tmp_path / "db"))


@pytest.mark.parametrize("page", [CAS, ADMIN, CONF], ids=lambda page: page.name)
def test_mandoc_finds_nothing(page: Path) -> None:
    lint = [needs("mandoc"), "-T", "lint", "-W", "warning", page]
    assert subprocess.run(lint, capture_output=True, text=True, check=False).stdout == ""


@PROGRAMS
def test_the_options_are_those_of_the_program(page: Path) -> None:
    documented = [flag for one in items(section(page, "OPTIONS")) for flag in flags(head(one))]
    assert sorted(documented) == sorted(options(PARSERS[page]))


@PROGRAMS
def test_the_verbs_and_their_options_are_those_of_the_program(page: Path) -> None:
    text = section(page, "VERBS")
    of_every_verb = set(flags(text.partition(".Bl ")[0]))
    heads = [head(one) for one in items(text)]
    documented = {re.findall(r"\bCm (\w+)", one)[0]: of_every_verb | {*flags(one)} for one in heads}
    assert documented == {verb: options(parser) for verb, parser in verbs(PARSERS[page]).items()}


@PROGRAMS
def test_the_synopsis_has_every_verb(page: Path) -> None:
    lines = re.findall(r"^\.Cm (.*)$", section(page, "SYNOPSIS"), re.M)
    shown = [verb for line in lines for verb in line.split(" | ")]
    assert shown == list(verbs(PARSERS[page]))


@pytest.mark.parametrize("page", [CAS, ADMIN, CONF], ids=lambda page: page.name)
def test_no_page_speaks_of_an_option_that_does_not_exist(page: Path) -> None:
    parsers = [one for main in PARSERS.values() for one in every_parser(main)]
    assert set(flags(page.read_text())) <= set().union(*map(options, parsers))


@PROGRAMS
def test_the_choices_of_an_option_are_documented(page: Path) -> None:
    for action in PARSERS[page]._actions:
        if action.option_strings and action.choices:
            text = section(page, "OPTIONS").partition(f".It Fl {action.option_strings[0][1:]}")[2]
            found = re.findall(r"^\.It Cm (\w+)", text.partition(".El")[0], re.M)
            assert found == list(action.choices)


@PROGRAMS
def test_the_exit_statuses_are_those_of_the_program(page: Path) -> None:
    table = re.findall(r"^\.It (\d+)\n(.*?):", section(page, "EXIT STATUS"), re.M)
    assert {int(number): meaning for number, meaning in table} == EXIT_CODES


@PROGRAMS
def test_the_status_of_an_interruption_is_documented(page: Path) -> None:
    assert re.search(r"interrupted exits with 130\b", section(page, "EXIT STATUS"))


def test_the_exit_status_of_every_error_is_in_the_table() -> None:
    for package in (cas, cas_admin):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if ".migrations" not in module.name:  # only Alembic can load them
                importlib.import_module(module.name)
    assert {error: error.exit_code for error in subclasses(CasError)}
    assert {error.exit_code for error in subclasses(CasError)} <= set(EXIT_CODES)


def subclasses(kind: type[CasError]) -> Iterator[type[CasError]]:
    yield kind
    for one in kind.__subclasses__():
        yield from subclasses(one)


def directive_items() -> dict[str, str]:
    chapters = (section(CONF, title) for title in ("SETTINGS", "MAINTENANCE", "ADVANCED"))
    return {one.split()[1]: one for chapter in chapters for one in items(chapter)}


def fixed_defaults(items_of: Mapping[str, str]) -> dict[str, str]:
    """The defaults that the page states as values; others depend on the machine, or are none."""
    found = {
        name: re.search(r"^Default:\n\.Ql (.+) \.$", one, re.M) for name, one in items_of.items()
    }
    return {
        name: one[1].replace(r"\e", "\\").replace(r"\&", "") for name, one in found.items() if one
    }


def test_the_directives_are_those_of_the_program() -> None:
    assert set(directive_items()) == {*directives(), "crash_"}


def store_items() -> dict[str, str]:
    return {one.split()[1]: one for one in items(section(CONF, "STORES"))}


def test_the_directives_on_stores_are_those_of_the_program() -> None:
    assert set(store_items()) == set(store_directives())


def sweep_items() -> dict[str, str]:
    return {one.split()[1]: one for one in items(section(CONF, "SWEEPS"))}


def test_the_directives_on_sweeps_are_those_of_the_program() -> None:
    assert set(sweep_items()) == set(sweep_directives())


def test_every_directive_says_its_default() -> None:
    found = {**directive_items(), **store_items(), **sweep_items()}
    silent = [name for name, one in found.items() if "\nDefault:" not in one]
    assert silent == []


def test_the_documented_defaults_are_the_real_ones(tmp_path: Path, defaults: Config) -> None:
    lines = [f"{name} = {value}" for name, value in fixed_defaults(directive_items()).items()]
    of_stores = [f"{name} = {value}" for name, value in fixed_defaults(store_items()).items()]
    of_sweeps = [f"{name} = {value}" for name, value in fixed_defaults(sweep_items()).items()]
    path = tmp_path / "cas.conf"
    sections = "[settings]", *lines, "[stores]", *of_stores, "[sweep]", *of_sweeps
    path.write_text("\n".join(sections))
    read = read_config(path, defaults)
    assert dataclasses.replace(read, file=None, stores={}, sweeps={}) == defaults
    assert read.stores == {"": StoreRules()}
    assert read.sweeps == {"": SweepRules()}


def test_misspellings_that_are_accepted_are_documented() -> None:
    found = re.findall(r"^\.Ql (\w+)\nas\n\.Cm (\w+)", section(CONF, "DESCRIPTION"), re.M)
    assert {wrong.lower(): right for wrong, right in found} == MISSPELLINGS


def example(tmp_path: Path) -> Path:
    """etc/cas.conf without the comment signs of its directives."""
    path = tmp_path / "cas.conf"
    path.write_text(re.sub(r"^#(?=\S)", "", EXAMPLE.read_text(), flags=re.M))
    return path


def example_comments() -> dict[str, str]:
    """The comment above each directive of the example; one may stand above several."""
    comments, comment, is_open = {}, "", False
    for line in EXAMPLE.read_text().splitlines():
        if line.startswith("# "):
            comment = f"{comment} {line[2:]}" if is_open else line[2:]
        elif line.startswith("#"):
            comments[line[1:].partition(" =")[0]] = comment
        is_open = line.startswith("# ")
    return comments


def test_the_example_has_every_directive() -> None:
    found = set(example_comments()) - {"[stores]", "[sweep]"}
    assert found == {
        *directives(),
        *store_directives(),
        *sweep_directives(),
        "crash_aarch64",
    }


def test_the_example_can_be_read_without_comment_signs(tmp_path: Path, defaults: Config) -> None:
    path = example(tmp_path)
    assert read_config(path, defaults).warnings == ()
    shown = configparser.RawConfigParser()
    shown.read(path)
    assert shown.sections() == ["settings", "maintenance", "advanced", "stores", "sweep"]


def test_the_example_shows_the_defaults_where_they_are_fixed(tmp_path: Path) -> None:
    shown = dict(re.findall(r"^#(\w+) = (.*)$", EXAMPLE.read_text(), re.M))
    no_examples = {
        name for name, text in example_comments().items() if not text.startswith("Example")
    }
    stated = fixed_defaults({**directive_items(), **store_items(), **sweep_items()})
    assert {name: shown[name] for name in no_examples} == stated


def test_the_example_itself_changes_nothing(defaults: Config) -> None:
    assert dataclasses.replace(read_config(EXAMPLE, defaults), file=None) == defaults


def test_the_shipped_snippets_are_documented() -> None:
    text = section(CONF, "SNIPPETS").partition("Shipped are")[2].partition("A file in")[0]
    assert listed(text) == sorted(path.name for path in (ROOT / "snippets/crash").iterdir())


def test_the_example_snippets_of_the_page_work(tmp_path: Path) -> None:
    shown = re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", section(CONF, "EXAMPLES"), re.M | re.S)
    for name, text in zip(("conntrack", "everyfile"), shown[-2:], strict=True):
        (tmp_path / name).write_text(text)
    (tmp_path / "everyfile").chmod(0o700)
    room = tmp_path / "room"
    room.mkdir()
    facts = snippets.Facts("x86_64", "6.1.0", ["nf-conntrack", "ext4", "nf_nat"])
    loaded = snippets.load([tmp_path], facts, Confinement(room))
    assert loaded.unusable == ()
    assert {one.name: one.commands for one in loaded.snippets} == {
        "conntrack": ("p nf_conntrack_htable_size", "sym -m nf_nat", "p nf_conntrack_locks"),
        "everyfile": ("foreach files",),
    }


def test_the_keys_of_the_result_are_documented(tmp_path: Path) -> None:
    report = Report(
        ticket="T-1",
        directory=tmp_path,
        upload=tmp_path / "vmcore",
        server="here",
        started=datetime.now(UTC),
        verdict="failed",
        stage="received",
    )
    text = item(section(CAS, "JOB DIRECTORY"), "Pa result.json")
    assert sorted(listed(text)) == sorted(as_result(report))


def test_the_stages_of_a_job_are_documented() -> None:
    text = item(section(CAS, "JOB DIRECTORY"), "Pa job.json")
    assert tuple(listed(text)) == job.STAGES


@pytest.mark.parametrize("name", ["cas-admin-build.service", "cas-admin-watch.service"])
def test_a_unit_runs_what_cas_admin_understands(name: str) -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.read(ROOT / "etc/systemd" / name)
    program, *words = shlex.split(unit["Service"]["ExecStart"])
    assert program == "cas-admin"
    asked = PARSERS[ADMIN].parse_args(words)
    assert asked.build
    assert (asked.watch is not None) == ("watch" in name)
    assert name in section(ADMIN, "TIMERS")


def test_the_sweep_that_a_timer_starts_fetches() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.read(ROOT / "etc/systemd/cas-admin-sweep.service")
    program, *words = shlex.split(unit["Service"]["ExecStart"])
    assert program == "cas-admin"
    assert PARSERS[ADMIN].parse_args(words).fetch


def test_the_purge_that_a_timer_starts_makes_room() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.read(ROOT / "etc/systemd/cas-admin-purge.service")
    program, *words = shlex.split(unit["Service"]["ExecStart"])
    assert program == "cas-admin"
    asked = PARSERS[ADMIN].parse_args(words)
    assert (asked.pressure, asked.delete) == (True, True)


def hardening(name: str) -> dict[str, str]:
    """What a unit of ours may not do, by directive."""
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(ROOT / "etc/systemd" / name)
    named = re.compile("Protect|Private|Restrict|System|Capab|Lock|NoNew|UMask|ReadWrite")
    return {key: value for key, value in unit["Service"].items() if named.match(key)}


def test_the_units_may_do_the_same_and_what_the_sandbox_needs() -> None:
    names = "build", "watch", "sweep", "purge"
    build, *others = (hardening(f"cas-admin-{name}.service") for name in names)
    assert all(other == build for other in others)
    assert (build["ProtectSystem"], build["CapabilityBoundingSet"]) == ("strict", "")
    # each was tried: bubblewrap 0.12 finds no way, or CAS not the kernels or owners of files
    assert not build.keys() & {
        "PrivateUsers",
        "ProtectHostname",
        "ProtectKernelLogs",
        "ProtectKernelModules",
        "ProtectKernelTunables",
        "RestrictNamespaces",
        "RestrictSUIDSGID",
    }


@pytest.mark.parametrize("name", ["build", "sweep", "purge"])
def test_the_timer_starts_the_nightly_unit(name: str) -> None:
    timer, service = (
        ROOT / f"etc/systemd/cas-admin-{name}.{kind}" for kind in ("timer", "service")
    )
    assert timer.stem == service.stem
    assert timer.name in section(ADMIN, "TIMERS")
    assert service.name in section(ADMIN, "TIMERS")

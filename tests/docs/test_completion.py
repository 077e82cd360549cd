"""Shell completion offers what the programs understand, and files where a file is meant."""

from __future__ import annotations

import argparse
import re
import subprocess
from pathlib import Path

import pytest

import cas.commands
import cas_admin.command_line

from installed import needs

COMPLETION = Path(__file__).parents[2] / "etc" / "completion"
PARSERS = {"cas": cas.commands.parser(), "cas-admin": cas_admin.command_line.admin_parser()}

DRIVER = """
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
read -r _ _ function _ < <(complete -p "$1")
"$function" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def verbs(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    (action,) = (one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    return dict(action.choices)


def options(parser: argparse.ArgumentParser) -> set[str]:
    return {word for action in parser._actions for word in action.option_strings}


COMMAND_LINES = {
    **{(program,): options(parser) for program, parser in PARSERS.items()},
    **{
        (program, verb): options(parser)
        for program, main in PARSERS.items()
        for verb, parser in verbs(main).items()
    },
}


def in_bash(*words: str, directory: Path | None = None) -> list[str]:
    """What bash offers for the last word."""
    done = subprocess.run(
        [needs("bash"), "--norc", "-c", DRIVER, "bash", COMPLETION / "cas.bash", *words],
        capture_output=True,
        text=True,
        check=True,
        cwd=directory,
    )
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize("words", COMMAND_LINES, ids=" ".join)
def test_bash_offers_the_options_of_the_command_line(words: tuple[str, ...]) -> None:
    offered = in_bash(*words, "-")
    assert len(offered) == len(set(offered))
    assert set(offered) == COMMAND_LINES[words]


@pytest.mark.parametrize("verb", ["host", "cache"])
def test_bash_offers_the_actions_of_a_verb_and_their_options(verb: str) -> None:
    actions = verbs(verbs(PARSERS["cas-admin"])[verb])
    assert set(in_bash("cas-admin", verb, "")) == set(actions)
    for name, action in actions.items():
        assert set(in_bash("cas-admin", verb, name, "-")) == options(action)


@pytest.mark.parametrize("program", PARSERS)
def test_bash_offers_the_verbs(program: str) -> None:
    assert set(in_bash(program, "")) == set(verbs(PARSERS[program]))


def test_bash_completes_a_beginning_of_an_option() -> None:
    assert in_bash("cas", "-i", "T-1", "--eng") == ["--engine"]


def test_bash_offers_the_choices_of_an_option() -> None:
    (engine,) = (one for one in PARSERS["cas"]._actions if one.dest == "engine")
    assert in_bash("cas", "--engine", "") == list(engine.choices or ())


@pytest.mark.parametrize(
    "words",
    [
        ("cas", "-f"),
        ("cas", "-i", "T-1", "--file"),
        ("cas", "--config"),
        ("cas", "identify"),
        ("cas", "identify", "--json"),
        ("cas", "identify", "--config"),
        ("cas-admin", "--config"),
        ("cas-admin", "index", "--config"),
    ],
    ids=" ".join,
)
def test_bash_completes_files(tmp_path: Path, words: tuple[str, ...]) -> None:
    for name in ("vmcore one", "vmcore-two", "other"):
        (tmp_path / name).touch()
    assert set(in_bash(*words, "vmc", directory=tmp_path)) == {"vmcore one", "vmcore-two"}


STAMPS = {"2026.11.21.13.51.06", "2026.11.22.00.00.01"}


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A work directory with jobs of two tickets, and much that is none."""
    conf, jobs = tmp_path / "cas.conf", tmp_path / "my cores"
    conf.write_text(f"[settings]\nWorkDirectory = ~/{jobs.name}  # on the large disk\n")
    monkeypatch.setenv("CAS_CONF", str(conf))
    monkeypatch.setenv("HOME", str(tmp_path))
    for stamp in STAMPS:
        (jobs / "T-1" / stamp).mkdir(parents=True)
    (jobs / "T-1" / ".new-x").mkdir()
    for odd in ("T-22/2026.11.21.13.51.06", "T $(touch x)", "T`touch x`", "T-*", "T\nT-9", "-T"):
        (jobs / odd).mkdir(parents=True)
    (jobs / "T-file").touch()
    return tmp_path


def in_zsh(function: str, *words: str, directory: Path) -> list[str]:
    """What a function of the completion prints; the rest is for zsh's own widgets."""
    script = (
        f"words=(); _arguments() {{ }}; service=cas; source {COMPLETION}/_cas; {function} $@; true"
    )
    argv = [needs("zsh"), "-f", "-c", script, "zsh", *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=directory)
    assert done.stderr == ""
    return done.stdout.splitlines()


def in_fish(line: str, directory: Path) -> list[str]:
    argv = [
        needs("fish"),
        "--no-config",
        "-c",
        f'source {COMPLETION}/cas.fish; complete -C "{line}"',
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=directory)
    return [one.split("\t")[0] for one in done.stdout.splitlines()]


def test_every_shell_offers_tickets_and_nothing_that_is_none(kept: Path) -> None:
    tickets = {"T-1", "T-22"}
    assert set(in_bash("cas", "-i", "T", directory=kept)) == tickets
    assert in_bash("cas", "-i", "T-*", directory=kept) == []
    assert set(in_bash("cas", "debug", "T-", directory=kept)) == tickets
    assert set(in_bash("cas", "--config", "nowhere", "-i", "", directory=kept)) == set()
    assert set(in_zsh("_cas_names", directory=kept)) == tickets
    for line in ("cas -i T", "cas debug T-"):
        assert set(in_fish(line, kept)) == tickets
    assert not (kept / "x").exists()


def test_every_shell_offers_the_jobs_of_a_ticket(kept: Path) -> None:
    found = {f"T-1/{name}" for name in (*STAMPS, "latest")}
    assert set(in_bash("cas", "signature", "T-1/", directory=kept)) == found
    assert in_bash("cas", "debug", "T-1/l", directory=kept) == ["T-1/latest"]
    assert in_bash("cas", "-i", "T-1/", directory=kept) == []
    assert set(in_zsh("_cas_names", "T-1", directory=kept)) == found
    assert set(in_fish("cas debug T-1/", kept)) == found


@pytest.mark.parametrize("words", [("cas", "-e"), ("cas-admin", "-d")], ids=" ".join)
def test_bash_offers_nothing_for_words_of_the_users_own(words: tuple[str, ...]) -> None:
    assert in_bash(*words, "") == []


@pytest.mark.parametrize("name", ["_cas", "cas.fish"])
def test_other_shells_know_every_option_and_verb(name: str) -> None:
    text = (COMPLETION / name).read_text()
    known = {word for words in COMMAND_LINES.values() for word in words}
    known |= {verb for parser in PARSERS.values() for verb in verbs(parser)}
    if name == "_cas":
        missing = {word for word in known if not re.search(rf"(?<![\w-]){word}(?![\w-])", text)}
    else:
        offered = re.findall(r"(?:-a|(-s)|(-l)) ([\w-]+)", text)
        words = {("-" if short else "--" if long else "") + word for short, long, word in offered}
        missing = known - words
    assert missing == set()


def test_zsh_can_read_its_file() -> None:
    subprocess.run([needs("zsh"), "-n", COMPLETION / "_cas"], check=True)


@pytest.mark.parametrize("words", COMMAND_LINES, ids=" ".join)
def test_fish_offers_the_long_options_of_the_command_line(words: tuple[str, ...]) -> None:
    script = f'source {COMPLETION}/cas.fish; complete -C "{" ".join(words)} --"'
    done = subprocess.run(
        [needs("fish"), "--no-config", "-c", script], capture_output=True, text=True, check=True
    )
    offered = {line.split("\t")[0] for line in done.stdout.splitlines()}
    assert offered == {word for word in COMMAND_LINES[words] if word.startswith("--")}

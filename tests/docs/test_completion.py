"""Shell completion offers what the programs understand, and files where a file is meant."""

from __future__ import annotations

import argparse
import re
import subprocess
from pathlib import Path

import pytest

import cas.commands
import cas_admin.commands

from installed import needs

COMPLETION = Path(__file__).parents[2] / "etc" / "completion"
PARSERS = {"cas": cas.commands.parser(), "cas-admin": cas_admin.commands.parser()}

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


@pytest.mark.parametrize("words", [("cas", "-i"), ("cas", "-e"), ("cas-admin", "-d")], ids=" ".join)
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

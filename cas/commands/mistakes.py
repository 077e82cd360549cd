"""What somebody meant whose command line is none: the right command for the wrong one.

Only command lines that the parsers refuse come here, so that nothing right is ever guessed at.
"""

from __future__ import annotations

import argparse
import difflib
import re
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field
from pathlib import Path

from cas.commands.invocation import WrongCommand
from cas.commands.verb import load_verb, verb_names
from cas.files.whole import is_file
from cas.frozen import dataclass
from cas.jobs.work_directory import is_ticket
from cas.text import short_line

FILE, TICKET, URL = "FILE", "TICKET", "URL"
NEAR = 0.7
"""How alike two words are, from 0 to 1, of which one may be the other misspelt."""
SHOWN = 200
"""Characters of a command that is proposed; a longer one is told by its form."""
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
"""What word processors and chats make of a hyphen."""
_USUAL = {"-v": "--version", "-V": "--version", "-?": "--help", "/?": "--help"}
"""Options of other programs."""
_SECRETS = re.compile(r"://[^/]*@|://.*\?")
"""What a URL may have that is not to be shown again."""


@dataclass(frozen=True, slots=True)
class Habits:
    """What people type at a program, and what they mean by it."""

    program: str
    verbs: str
    """The package of its verbs."""
    beginning: str
    """What to type where nothing was asked for."""
    meant: Mapping[str, str]
    """Commands, by words that are no verbs; ``FILE`` and ``TICKET`` stand for what follows."""
    other: str
    other_verbs: Collection[str]
    """What the other program understands; its verbs are taken for this one's."""
    other_options: Sequence[str] = ()
    word: Callable[[Line], tuple[str, str] | None] = field(default=lambda _: None)
    """What a first word that is no verb means, with all that follow it."""


@dataclass(frozen=True, slots=True)
class Line:
    """A command line, its words told apart as far as the parser knows them."""

    argv: tuple[str, ...]
    bare: tuple[int, ...]
    """Where words stand that are neither options nor their values."""
    unknown: tuple[int, ...]
    """Where options stand that nobody knows there."""
    lacking: tuple[int, ...]
    """Where options stand whose value is not there."""
    verb: argparse.ArgumentParser | None


Rule = Callable[[Line, argparse.ArgumentParser, Habits], tuple[str, str] | None]
"""Looks for one kind of mistake: what is wrong, and what to type."""


def explain_mistake(
    argv: Sequence[str], parser: argparse.ArgumentParser, error: WrongCommand, habits: Habits
) -> WrongCommand:
    """The same complaint with the command that was meant, as far as that can be told.

    :param error: as the parser says it
    """
    line = tell_words_apart(argv, parser)
    # what may be wrong with the words, in their order: the first mistake makes the others
    places: tuple[tuple[tuple[int, ...], Rule], ...] = (
        (line.lacking, _option_without_value),
        (line.unknown, _misspelt_option),
        (line.bare, _no_verb),
    )
    by_place = [rule for _, rule in sorted(places, key=lambda one: one[0][:1] or (1 << 30,))]
    for rule in (_typographic, _several_words_in_quotes, *by_place):
        if (told := rule(line, parser, habits)) is not None:
            return WrongCommand(without_secrets(told[0]), hint=without_secrets(told[1]))
    words = [line.argv[i] for i in line.bare]
    verb = words[0] if line.verb else ""
    whose = error.program if " " in error.program else f"{habits.program} {verb}".rstrip()
    said = _reworded(str(error), whose)
    # the options that the verb has, with their values
    options = list[str]()
    for word, after in zip(line.argv, (*line.argv[1:], ""), strict=True):
        action = _option_action(word, line.verb) if line.verb and word.startswith("-") else None
        if action is not None:
            options += [word, after] if after and _takes_next(action, word) else [word]
    rest = words[1:] or [one for one in argv if one != verb and one not in options]
    meant = _example_call(said, whose, habits, rest)
    if options and said.startswith(f"{whose} needs "):  # what else was asked for is right
        form = re.search(rf"{whose}( [A-Z]+)+", meant)
        meant = shell_command(form[0], options) if form else meant
    return WrongCommand(without_secrets(said), hint=without_secrets(meant))


def without_secrets(text: str) -> str:
    """A sentence without what may be secret in a URL."""
    words = (URL if _SECRETS.search(word) else word for word in short_line(text).split(" "))
    return " ".join(words)


def _example_call(said: str, whose: str, habits: Habits, rest: Sequence[str]) -> str:
    """What to type in the place of a command of which no more is known."""
    verb, _, action = whose.removeprefix(habits.program).strip().partition(" ")
    if action and said.startswith(f"{whose} needs "):
        return said.replace(" needs ", " ", 1)
    if verb in verb_names(habits.verbs) and not action:
        return fill_in(load_verb(habits.verbs, verb).example or f"see: {whose} --help", rest)
    return f"see: {whose} --help"


def _reworded(complaint: str, whose: str) -> str:
    """What argparse complains of, as a sentence about the command."""
    for pattern, said in (
        (r"the following arguments are required: (.*)", rf"{whose} needs \1"),
        (r"unrecognized arguments: (.*)", rf"{whose} can do nothing with \1"),
        (r"argument ([^:]*): invalid choice: (.*) \(choose from (.*)\)", r"\1 takes \3, not \2"),
        (r"argument ([^:]*): not allowed with argument (.*)", r"\1 and \2 do not go together"),
        (r"argument ([^:]*): (.*)", r"\1: \2"),
    ):
        if (found := re.fullmatch(pattern, complaint, re.S)) is not None:
            text = found.expand(said)
            return text.replace("'", "") if "choice" in pattern else text
    return complaint


def shell_command(program: str, words: Sequence[str], form: str = "") -> str:
    """A command to type, quoted for a shell; what may be secret in it is left out.

    :param form: in its place where it is long
    """
    shown = [URL if _SECRETS.search(word) else shlex.quote(word) for word in words]
    text = " ".join((program, *shown))
    return form if form and len(text) > SHOWN else text


def near(word: str, known: Sequence[str], cutoff: float = NEAR) -> str | None:
    """The one that is most like a word, if any is."""
    found = difflib.get_close_matches(word.lower(), known, n=1, cutoff=cutoff)
    return found[0] if found else None


def fill_in(meant: str, rest: Sequence[str]) -> str:
    """A command with the file and the ticket that were named."""
    files = [word for word in rest if is_file(Path(word))]
    tickets = [word for word in rest if word not in files and is_ticket(word)]
    for name, found in ((FILE, files), (TICKET, tickets)):
        if found:
            meant = re.sub(rf"\b{name}\b", shlex.quote(found[0]).replace("\\", r"\\"), meant)
    return meant


def parser_verbs(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The verbs of a program, or the actions of a verb."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def parser_options(parser: argparse.ArgumentParser) -> list[str]:
    """The options that a parser knows."""
    return [word for action in parser._actions for word in action.option_strings]


def tell_words_apart(argv: Sequence[str], parser: argparse.ArgumentParser) -> Line:
    """A command line as far as it is understood."""
    bare, unknown, lacking = list[int](), list[int](), list[int]()
    at, current, is_verb = 0, parser, False
    while at < len(argv):
        word = argv[at]
        if word == "--":
            bare += range(at + 1, len(argv))
            break
        if not word.startswith("-") or word == "-":
            bare.append(at)
            verbs = parser_verbs(current)
            if word in verbs:
                current, is_verb = verbs[word], True
        else:
            action = _option_action(word, current) or _option_action(word, parser)
            if action is None:
                unknown.append(at)
            elif _takes_next(action, word):
                if at + 1 < len(argv) and (not argv[at + 1].startswith("-") or argv[at + 1] == "-"):
                    at += 1
                elif action.nargs != "?":
                    lacking.append(at)
        at += 1
    verb = current if is_verb else None
    return Line(tuple(argv), tuple(bare), tuple(unknown), tuple(lacking), verb)


def _option_action(word: str, parser: argparse.ArgumentParser) -> argparse.Action | None:
    """What an option is to the parser, which takes beginnings and values that are joined."""
    name = word.partition("=")[0]
    known = {option: action for action in parser._actions for option in action.option_strings}
    if name in known:
        return known[name]
    if word.startswith("--"):
        begun = {id(known[option]): known[option] for option in known if option.startswith(name)}
        return next(iter(begun.values())) if len(begun) == 1 else None
    return None if _is_long(word, parser) else known.get(word[:2])


def _is_long(word: str, parser: argparse.ArgumentParser) -> bool:
    """Whether a word is a long option with one dash."""
    return f"-{word.partition('=')[0]}" in parser_options(parser)


def _takes_next(action: argparse.Action, word: str) -> bool:
    is_whole = word in action.option_strings or (word.startswith("--") and "=" not in word)
    return action.nargs != 0 and is_whole


def _typographic(line: Line, _: argparse.ArgumentParser, habits: Habits) -> tuple[str, str] | None:
    wrong = [word for word in line.argv if word[:1] in _DASHES and word]
    if not wrong:
        return None
    right = []
    for word in line.argv:
        name = word.lstrip(_DASHES + "-")
        is_wrong = word[:1] in _DASHES and word
        right.append(f"{'-' if len(name) == 1 else '--'}{name}" if is_wrong else word)
    return (
        f"{wrong[0]} begins with a dash that is no hyphen, as chats and documents make of one",
        shell_command(habits.program, right),
    )


def _several_words_in_quotes(
    line: Line, parser: argparse.ArgumentParser, habits: Habits
) -> tuple[str, str] | None:
    """Several words in one pair of quotes."""
    known = {*parser_verbs(parser), *parser_options(parser)}
    for word in line.argv:
        first, _, rest = word.partition(" ")
        if rest and first in known and not is_file(Path(word)):
            at = line.argv.index(word)
            try:
                words = shlex.split(word)
            except ValueError:
                words = word.split()
            right = [*line.argv[:at], *words, *line.argv[at + 1 :]]
            return f"{word!r} is one word, because of its quotes", shell_command(
                habits.program, right
            )
    return None


def _misspelt_option(
    line: Line, parser: argparse.ArgumentParser, habits: Habits
) -> tuple[str, str] | None:
    """An option that there is not, or not there."""
    if not line.unknown:
        return None
    at = line.unknown[0]
    word = line.argv[at]
    name, equals, value = word.partition("=")
    places = [line.verb, parser] if line.verb else [parser]
    if any(_is_long(word, place) for place in places):
        long = {i for i in line.unknown if any(_is_long(line.argv[i], one) for one in places)}
        right = [f"-{one}" if i in long else one for i, one in enumerate(line.argv)]
        return f"{word} needs two dashes", shell_command(habits.program, right)
    if line.verb and at < line.bare[0] and name in parser_options(line.verb):
        after = line.bare[0] + 1
        right = [*line.argv[:at], *line.argv[at + 1 : after], word, *line.argv[after:]]
        return f"{name} stands behind the verb", shell_command(habits.program, right)
    whose = f"{habits.program} {line.argv[line.bare[0]]}" if line.verb else habits.program
    said = f"{whose} has no option {name}"
    for place in places:
        if (meant := _USUAL.get(name) or near(name, parser_options(place))) is not None:
            right = [*line.argv[:at], f"{meant}{equals}{value}", *line.argv[at + 1 :]]
            return said, f"did you mean {meant}? {shell_command(habits.program, right)}"
    if line.verb is None:
        owners = [verb for verb, one in parser_verbs(parser).items() if name in parser_options(one)]
        if owners:
            verb = next((line.argv[i] for i in line.bare if line.argv[i] in owners), owners[0])
            return said, f"it stands behind a verb: {habits.program} {verb} {name} …"
        if name in habits.other_options:
            return said, f"{habits.other} has: {shell_command(habits.other, line.argv)}"
    return said, f"its options: {whose} --help"


def _option_without_value(
    line: Line, parser: argparse.ArgumentParser, habits: Habits
) -> tuple[str, str] | None:
    """An option without what belongs behind it."""
    if not line.lacking:
        return None
    at = line.lacking[0]
    action = _option_action(line.argv[at], line.verb or parser) or _option_action(
        line.argv[at], parser
    )
    assert action is not None  # noqa: S101  it was found before
    what = action.metavar or "/".join(action.choices or ())
    said = f"{line.argv[at]} needs {what} behind it"
    after = line.argv[at + 1] if at + 1 < len(line.argv) else None
    if after is not None and at + 1 in line.unknown:
        said += f", and {after} begins with a dash"
        if is_file(Path(after)):
            right = [*line.argv[: at + 1], f"./{after}", *line.argv[at + 2 :]]
            return said, shell_command(habits.program, right)
    shown = f"{habits.program} … {line.argv[at]} {what}"
    return said, f"{shown}: {action.help}" if action.help else shown


def _no_verb(line: Line, parser: argparse.ArgumentParser, habits: Habits) -> tuple[str, str] | None:
    """A first word that is no verb."""
    if not line.bare:
        return None
    words = [line.argv[i] for i in line.bare]
    verbs = parser_verbs(parser)
    if words[0] in verbs:
        return _no_action(line, verbs[words[0]], habits) if parser_verbs(verbs[words[0]]) else None
    first, said = words[0], f"{words[0]} is no verb of {habits.program}"
    if first.lower() in habits.meant:
        return said, fill_in(habits.meant[first.lower()], words[1:])
    if first in habits.other_verbs:
        return f"{first} is a verb of {habits.other}", shell_command(habits.other, line.argv)
    if (told := habits.word(line)) is not None:
        return told
    if (meant := near(first, list(verbs))) is not None:
        right = [meant if i == line.bare[0] else word for i, word in enumerate(line.argv)]
        return said, f"did you mean {meant}? {shell_command(habits.program, right)}"
    if (meant := near(first, sorted(habits.other_verbs))) is not None:
        right = [meant if i == line.bare[0] else word for i, word in enumerate(line.argv)]
        return said, f"did you mean {shell_command(habits.other, right)}?"
    return said, f"its verbs are {', '.join(verbs)}; {habits.beginning}"


def _no_action(line: Line, verb: argparse.ArgumentParser, habits: Habits) -> tuple[str, str] | None:
    """A second word that is no action of a verb that has some."""
    actions, verb_at = parser_verbs(verb), line.bare[0]
    name = f"{habits.program} {line.argv[verb_at]}"
    if len(line.bare) == 1:
        return f"{name} needs to be told what to do", f"{name} {'|'.join(actions)}"
    at = line.bare[1]
    if line.argv[at] in actions:
        return None
    said = f"{line.argv[at]} is nothing that {name} does"
    if (meant := near(line.argv[at], list(actions))) is None:
        return said, f"{name} {'|'.join(actions)}"
    right = [meant if i == at else word for i, word in enumerate(line.argv)]
    return said, f"did you mean {meant}? {shell_command(habits.program, right)}"

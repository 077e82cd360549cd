"""Which lines for drgn are crash's commands, and which are Python; and where a block of lines ends.

Many commands are Python too: ``bt -a`` subtracts, ``log`` is a name. A line is a command where
Python could do nothing but fail at its first word; a name that the user made is his.
"""

from __future__ import annotations

import ast
import builtins
import codeop
import enum
import keyword
import re
import warnings
from collections.abc import Callable, Collection, Iterator
from dataclasses import field

from cas.frozen import dataclass

ENDING = frozenset({"exit", "quit", "q"})
"""Words that end a session; crash has them too."""
_WORD = re.compile(r"\s*([A-Za-z_]\w*)(.*)", re.DOTALL)
_OF_PYTHON = re.compile(r"[(\[.:,]|\s*(?:=(?!=)|(?:[-+*/%&|^@]|//|\*\*|<<|>>)=|[:,])")
"""What makes a name of Python's out of the word before it: a call, a member, an assignment."""
_GOES_ON = re.compile(r"(?:else|elif|except|finally)\b")
"""A line of a block that is not indented."""


class State(enum.Enum):
    """How far a text is Python."""

    WHOLE = enum.auto()
    BEGUN = enum.auto()
    NOT = enum.auto()


def is_command(
    line: str,
    commands: Collection[str],
    bound: Collection[str],
    is_type: Callable[[str], bool] = lambda _: False,
) -> bool:
    """Whether a line that begins something is a command of crash's.

    :param commands: their names
    :param bound: the names that Python knows here, without its own built-in ones
    :param is_type: whether the kernel has a structure or union of a name: crash shows these
    """
    sign = line.lstrip()[:1]
    if sign in ("!", "*"):
        return sign == "!" or state_of(line) is State.NOT
    found = _WORD.match(line)
    if found is None or keyword.iskeyword(found[1]):
        return False
    word, rest = found.groups()
    state = state_of(line.strip())
    if word in bound:
        return word in commands and state is State.NOT
    if word in commands or word in ENDING:
        return state is State.NOT or not (_OF_PYTHON.match(rest) or _is_builtins(word, line))
    if hasattr(builtins, word) or (rest[:1] != "." and _OF_PYTHON.match(rest)):
        return False
    return bool(re.match(r"\.\w|\s|$", rest)) and is_type(word)


def command_meant(text: str) -> str | None:
    """The command that somebody may have meant by a text that Python does not like."""
    found = _WORD.match(text)
    if found is None or keyword.iskeyword(found[1]) or _OF_PYTHON.match(found[2]):
        return None
    return found[1] if re.match(r"[\s|>]|$", found[2]) else None


def state_of(text: str) -> State:
    """Whether a text is a statement of Python's, or the beginning of one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            code = codeop.compile_command(text, symbol="single")
        except (SyntaxError, ValueError, OverflowError):
            return State.NOT
    return State.BEGUN if code is None else State.WHOLE


def _is_builtins(word: str, line: str) -> bool:
    """Whether a line uses a built-in function or class for something that makes sense."""
    if not hasattr(builtins, word):
        return False
    try:
        (statement,) = ast.parse(line.strip()).body
    except (SyntaxError, ValueError):
        return False
    # nobody wants to see `list` itself, or to subtract from it
    is_mere = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Name | ast.BinOp)
    return not is_mere


@dataclass(frozen=True, slots=True)
class Unit:
    """What is run at once: a command, or a statement of Python's."""

    text: str
    line: int
    """Number of its first line, from 1 on."""
    is_command: bool = False


@dataclass(slots=True)
class Reader:
    """Makes units of lines as they come, as from a file: no block ends at an empty line."""

    begins_command: Callable[[str], bool]
    """Tells of a line that begins a unit whether it is a command."""
    _begun: list[str] = field(default_factory=list)
    _number: int = 0

    def take_line(self, line: str) -> Iterator[Unit]:
        """The units that end before or with a line; they are to be run before the next is asked."""
        self._number += 1
        if self._begun:
            if self._goes_on_with(line):
                self._begun.append(line)
                if line[:1].strip() and state_of("\n".join(self._begun)) is State.WHOLE:
                    yield self._end_unit(self._number)
                return
            yield self._end_unit(self._number - 1)
        if not line.strip() or line.lstrip().startswith("#"):
            return
        if self.begins_command(line):
            yield Unit(line.strip(), self._number, is_command=True)
            return
        self._begun = [line]
        if state_of(line) is not State.BEGUN:
            yield self._end_unit(self._number)

    def rest(self) -> Iterator[Unit]:
        """What had begun when the input ended."""
        if self._begun:
            yield self._end_unit(self._number)

    def _goes_on_with(self, line: str) -> bool:
        if not line.strip() or line[0].isspace() or _GOES_ON.match(line):
            return True
        try:
            ast.parse("\n".join(self._begun))
        except SyntaxError:  # within brackets or a string, or behind a decorator
            return state_of("\n".join(self._begun)) is State.BEGUN
        return False

    def _end_unit(self, last: int) -> Unit:
        lines, self._begun = self._begun, []
        return Unit("\n".join(lines) + "\n", last - len(lines) + 1)

"""``rpmFilter``, ``debFilter``: the regular expressions of ``find -regex``, in Python's spelling.

``+ * ?`` repeat, ``\\( \\)`` group, ``\\|`` separates, braces are ordinary.

Source: GNU findutils manual, "emacs regular expression syntax".
"""

from __future__ import annotations

import re

from cas.errors import ConfigError

_ESCAPES = {
    "w": r"\w",
    "W": r"\W",
    "s": r"\s",
    "S": r"\S",
}
_ANCHORS = {
    "b": r"\b",
    "B": r"\B",
    "<": r"\b(?=\w)",
    ">": r"\b(?<=\w)",
    "`": r"\A",
    "'": r"\Z",
}
_LENGTH_LIMIT = 4096


def compile_filter(expression: str, key: str = "rpmFilter") -> re.Pattern[str]:
    """The filter, to be used with ``fullmatch`` on a whole path.

    :param key: the directive that holds it
    :raises ConfigError: the expression is not valid
    """
    try:
        if len(expression) > _LENGTH_LIMIT:
            raise _Invalid(f"longer than {_LENGTH_LIMIT} characters")
        return re.compile(_Translation(expression).python())
    except (_Invalid, re.error, OverflowError, RecursionError) as error:
        raise ConfigError(
            f"{key}: {expression[:200]!r} is not a regular expression as find -regex has them: "
            f"{error}"
        ) from error


class _Invalid(ValueError):
    """What is wrong with the expression."""


class _Translation:
    """One pass over an expression; `_atoms` holds the finished pieces, innermost group last."""

    def __init__(self, expression: str) -> None:
        self._text = expression
        self._at = 0
        self._groups = 0
        self._atoms: list[list[str]] = [[]]
        self._repeatable = False

    def python(self) -> str:
        while self._at < len(self._text):
            char = self._next()
            rest = self._text[self._at : self._at + 2]
            if char == "\\":
                self._backslash()
            elif char in "*+?" and self._repeatable:
                self._atoms[-1][-1] = f"(?:{self._atoms[-1][-1]}){char}"
            elif char == ".":
                self._atom(".")
            elif char == "[":
                self._atom(self._bracket())
            elif char == "^" and (not self._atoms[-1] or self._atoms[-1][-1] == "|"):
                self._anchor(r"\A")
            elif char == "$" and rest in ("", r"\)", r"\|"):
                self._anchor(r"\Z")
            else:
                self._atom(re.escape(char))
        if len(self._atoms) > 1:
            raise _Invalid(r"\( without \)")
        return "".join(self._atoms[0])

    def _backslash(self) -> None:
        if self._at == len(self._text):
            raise _Invalid("it ends in a backslash")
        char = self._next()
        if char == "(":
            self._groups += 1
            self._atoms.append([])
            self._repeatable = False
        elif char == ")":
            if len(self._atoms) == 1:
                raise _Invalid(r"\) without \(")
            group = "".join(self._atoms.pop())
            self._atom(f"({group})")
        elif char == "|":
            self._anchor("|")
        elif char in _ANCHORS:
            self._anchor(_ANCHORS[char])
        elif char in "123456789":
            if int(char) > self._groups:
                raise _Invalid(f"\\{char} refers to a group that is not there")
            self._atom(f"(?:\\{char})")
        else:
            self._atom(_ESCAPES.get(char, re.escape(char)))

    def _bracket(self) -> str:
        """The rest of ``[…]``: no escapes and no classes inside, ``]`` is ordinary when first."""
        negated = self._text.startswith("^", self._at)
        self._at += negated
        items: list[str] = []
        first = True
        while first or self._peek() != "]":
            first = False
            low = high = self._next()
            if low == "[" and self._peek() in (".", "="):
                raise _Invalid(f"[{self._peek()} in a list is not supported")
            if self._peek() == "-" and self._text[self._at + 1 : self._at + 2] not in ("", "]"):
                self._at += 1
                high = self._next()
            if low == high:
                items.append(re.escape(low))
            elif low < high:
                items.append(f"{re.escape(low)}-{re.escape(high)}")
        self._at += 1
        body = "".join(items)
        if not body:
            return r"[\s\S]" if negated else "(?!)"
        return f"[{'^' if negated else ''}{body}]"

    def _next(self) -> str:
        char = self._peek()
        self._at += 1
        return char

    def _peek(self) -> str:
        if self._at >= len(self._text):
            raise _Invalid("[ without ]")
        return self._text[self._at]

    def _atom(self, python: str) -> None:
        self._atoms[-1].append(python)
        self._repeatable = True

    def _anchor(self, python: str) -> None:
        self._atoms[-1].append(python)
        self._repeatable = False

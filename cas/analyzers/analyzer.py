"""An analyzer: its text, and what that says of itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from hashlib import sha256

from cas.choices import AnalyzerKind
from cas.errors import UsageError
from cas.frozen import dataclass
from cas.text import short_line

TEXT_LIMIT = 1 << 20
"""Bytes that an analyzer may have."""
FUNCTIONS = ("set_property", "unset_property", "ticket", "unticket")
"""What a Python analyzer may call, besides the use of ``prog`` and ``info``."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_HEADER = re.compile(rb"#\s*(auto|needs|title):\s*(.*?)\s*", re.ASCII)
_TELLING = frozenset({"prog", "info", *FUNCTIONS})
_YES = frozenset({b"yes", b"true", b"1"})
_SHOWN_DIGITS = 12


class WrongAnalyzer(UsageError):
    """An analyzer cannot be called so, or cannot be what it is."""

    hint = "see ANALYZERS in cas(1)"


@dataclass(frozen=True, slots=True)
class Analyzer:
    """An analyzer, as it is stored or shipped."""

    name: str
    text: bytes
    author: str | None = None
    """Who has added it; ``None``: it is shipped."""
    added_s: int | None = None
    """When, in seconds since 1970."""
    is_trusted: bool = False
    """Only whoever owns the archive can have written it: it may run by itself."""

    is_command: bool = False
    """It is a command of the debugger, which has no other name."""

    @property
    def kind(self) -> AnalyzerKind:
        """What runs it."""
        if self.is_command:
            return AnalyzerKind.COMMAND
        return kind_of(self.name, self.text)

    @property
    def digest(self) -> str:
        """SHA-256 of its text."""
        return sha256(self.text).hexdigest()

    @property
    def is_auto(self) -> bool:
        """Whether it asks to run on every new dump."""
        return _headers(self.text).get("auto", b"").lower() in _YES

    @property
    def needs(self) -> tuple[str, ...]:
        """The analyzers that have to run before."""
        words = _headers(self.text).get("needs", b"").decode("utf-8", "replace")
        return tuple(dict.fromkeys(words.replace(",", " ").split()))

    @property
    def title(self) -> str | None:
        """What it looks for, in a few words."""
        title = _headers(self.text).get("title", b"").decode("utf-8", "replace")
        return short_line(title, 200) or None

    @property
    def called(self) -> str:
        """Which one it was, for the record of changes."""
        by = f" by {self.author}" if self.author else ""
        return f"{self.name} sha256:{self.digest[:_SHOWN_DIGITS]}{by}"


def checked_analyzer_name(name: str) -> str:
    """The name of an analyzer, if one may be called so.

    :raises WrongAnalyzer: it may not
    """
    if not _NAME.fullmatch(name):
        raise WrongAnalyzer(
            f"{short_line(name, 100)!r} is no name of an analyzer",
            hint="use letters, digits, dots, dashes and underscores: cas analyzer fmri < FILE",
        )
    return name


def kind_of(name: str, text: bytes) -> AnalyzerKind:
    """Whether a shell or drgn's Python runs it.

    Its name's ending decides (``.py``, ``.sh``), else its ``#!`` line, else whether it is Python
    that uses ``prog`` or what else a Python analyzer is given. Nothing of it is executed for that.

    >>> kind_of("a", b"echo $CAS_NAME").value, kind_of("a", b"print(prog['jiffies'])").value
    ('shell', 'python')
    """
    if name.endswith((".py", ".sh")):
        return AnalyzerKind.PYTHON if name.endswith(".py") else AnalyzerKind.SHELL
    first = text.partition(b"\n")[0]
    if first.startswith(b"#!"):
        is_python = b"python" in first or b"drgn" in first
        return AnalyzerKind.PYTHON if is_python else AnalyzerKind.SHELL
    return AnalyzerKind.PYTHON if not _TELLING.isdisjoint(_names(text)) else AnalyzerKind.SHELL


def _names(text: bytes) -> Iterator[str]:
    """The names that a Python text uses; none if it is not Python."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return
    yield from (node.id for node in ast.walk(tree) if isinstance(node, ast.Name))


def _headers(text: bytes) -> dict[str, bytes]:
    """What stands behind ``# word:`` in the comments that it begins with."""
    found: dict[str, bytes] = {}
    for line in text.split(b"\n"):
        if not line.startswith(b"#"):
            break
        if header := _HEADER.fullmatch(line):
            found.setdefault(header[1].decode(), header[2])
    return found

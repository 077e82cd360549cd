"""What is known of kernel functions: which of them are everybody's, or never at fault.

The lists are data: files of patterns below ``share/cas/functions``, a line each, with what the
function is. Source of the names: the kernel's own tree; each file says which part of it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import field
from enum import StrEnum
from fnmatch import translate
from functools import cache
from pathlib import Path

from cas.errors import CasError
from cas.files.shipped import shipped
from cas.frozen import dataclass

FOLDER = "functions"
_WILD = re.compile(r"[*?\[]")


class What(StrEnum):
    """What a function is; the words of the files."""

    DIE = "die"
    """It runs once the kernel has decided to die."""
    REPORT = "report"
    """It reports, or runs between an exception's entry and the report."""
    WATCH = "watch"
    """It found a lockup, a stall or broken hardware."""
    ENTRY = "entry"
    """The entry of an exception: below stands what was interrupted."""
    INTERRUPT = "interrupt"
    """The entry of an interrupt."""
    NORETURN = "noreturn"
    """A check that stops the kernel on behalf of its caller."""
    EXIT = "exit"
    """How a task ends."""
    WAIT = "wait"
    """How a task comes to sleep."""
    LOCK = "lock"
    MEMORY = "memory"
    LIST = "list"
    DEVICE = "device"
    IDLE = "idle"
    CARRIER = "carrier"
    """It starts threads or system calls."""
    SOFTIRQ = "softirq"


class BadPatterns(CasError):
    """A file of function patterns cannot be used."""

    hint = "each line is a pattern and what the function is; see docs/diagnosis.md"


@dataclass(frozen=True, slots=True)
class Functions:
    """The patterns of some files."""

    exact: Mapping[str, frozenset[What]]
    prefixes: Mapping[str, frozenset[What]]
    """Patterns that end in their only ``*``, without it: nearly all that have one."""
    patterns: tuple[tuple[re.Pattern[str], What], ...]
    """All others."""
    _known: dict[str, frozenset[What]] = field(default_factory=dict, repr=False, compare=False)

    def what(self, name: str) -> frozenset[What]:
        """What a function is; empty: one that may be at fault.

        :param name: without compiler suffixes
        """
        if name not in self._known:
            matching = {what for pattern, what in self.patterns if pattern.match(name)}
            for end in range(len(name) + 1):
                matching |= self.prefixes.get(name[:end], frozenset())
            self._known[name] = self.exact.get(name, frozenset()) | matching
        return self._known[name]


def parse(text: str, where: str) -> list[tuple[str, What]]:
    """The patterns of one file.

    :param where: the file's name, for errors
    :raises BadPatterns: a line is not a pattern and a known word
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or words[1] not in set(What):
            known = ", ".join(What)
            raise BadPatterns(
                f"{where}, line {number}: {line.strip()!r} is no pattern and one of {known}"
            )
        found.append((words[0], What(words[1])))
    return found


def compiled(rules: Iterable[tuple[str, What]]) -> Functions:
    """Make patterns ready for use."""
    exact: dict[str, set[What]] = {}
    prefixes: dict[str, set[What]] = {}
    others: dict[What, list[str]] = {}
    for pattern, what in rules:
        if not _WILD.search(pattern):
            exact.setdefault(pattern, set()).add(what)
        elif pattern.endswith("*") and not _WILD.search(pattern[:-1]):
            prefixes.setdefault(pattern[:-1], set()).add(what)
        else:
            others.setdefault(what, []).append(translate(pattern))
    return Functions(
        {name: frozenset(what) for name, what in exact.items()},
        {prefix: frozenset(what) for prefix, what in prefixes.items()},
        tuple((re.compile("|".join(patterns)), what) for what, patterns in others.items()),
    )


@cache
def shipped_functions() -> Functions:
    """What the project knows."""
    return compiled(_shipped_rules())


def shipped_digest() -> str:
    """Digest of the shipped patterns, in whatever file and order: hex digits."""
    lines = sorted(f"{pattern} {what}\n" for pattern, what in _shipped_rules())
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


def functions_with(path: Path | None) -> Functions:
    """What the project knows, and an administrator's own patterns.

    :raises BadPatterns: his file cannot be read or understood
    """
    if path is None:
        return shipped_functions()
    try:
        text = path.read_text("utf-8", "replace")
    except OSError as error:
        raise BadPatterns(f"{path} cannot be read: {error.strerror}") from error
    return compiled([*_shipped_rules(), *parse(text, str(path))])


def _shipped_rules() -> list[tuple[str, What]]:
    folder = shipped(FOLDER)
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return [rule for path in files for rule in parse(path.read_text("utf-8"), path.name)]

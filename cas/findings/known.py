"""Known issues: what an administrator knows of crashes, as files.

A file in TOML has a table ``[[issue]]`` for each: what it is called, what to do about it, and below
``[issue.when]`` the conditions by which a crash is recognised. What is wrong with a file or an
issue costs just that, and is told.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

import msgspec

from cas.files.permission import DENIED, user_name
from cas.files.whole import read_open, read_regular
from cas.findings import releases
from cas.findings.releases import Release
from cas.findings.searching import Pattern
from cas.frozen import dataclass
from cas.text import is_link

FOLDER = "known"
"""The folder of the shipped examples, below ``share/cas``."""
ENDING = ".toml"
SIZE_LIMIT = 1 << 20
"""Bytes of a file."""
NOTHING_HELD: Mapping[Path, int] = MappingProxyType({})
_COMPARISON = re.compile(r"(<=|>=|<|>|==?)\s*(\S+)")
_WHOLE_RELEASE = re.compile(r"\d+\.\d+\.\d+.*")
_GLOB = re.compile(r"[*?]")
_SIGNATURE = re.compile(r"[0-9a-f]{16}")
_HEADER = re.compile(r"^[ \t]*\[\[[ \t]*issue[ \t]*\]\]", re.MULTILINE)

Words: TypeAlias = str | list[str]
Value = TypeVar("Value")


class _When(msgspec.Struct, forbid_unknown_fields=True):
    signature: Words = []
    title: Words = []
    title_pattern: Words = []
    function: Words = []
    module: Words = []
    log: Words = []
    kernel: Words = []
    arch: Words = []


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    when: _When
    advice: str = ""
    link: str = ""
    fixed_in: Words = []


@dataclass(frozen=True, slots=True)
class Comparison:
    """One end of a range of kernels."""

    text: str
    operator: str
    limit: Release

    def holds(self, told: tuple[Release, ...]) -> bool | None:
        """Whether a kernel is on the right side; ``None``: it cannot be compared."""
        place = releases.order(told, self.limit)
        if place is None:
            return None
        return place in {"<": (-1,), "<=": (-1, 0), ">": (1,), ">=": (0, 1)}.get(
            self.operator, (0,)
        )


@dataclass(frozen=True, slots=True)
class Kernels:
    """Some kernels: a glob of releases, or comparisons all of which must hold."""

    text: str
    comparisons: tuple[Comparison, ...] = ()


@dataclass(frozen=True, slots=True)
class Issue:
    """One known issue; of each condition any of the values, and all conditions must hold."""

    name: str
    file: Path
    advice: str = ""
    link: str | None = None
    fixed_in: tuple[str, ...] = ()
    signatures: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()
    """Globs, in which brackets are themselves."""
    title_patterns: tuple[Pattern, ...] = ()
    functions: tuple[str, ...] = ()
    kmods: tuple[str, ...] = ()
    logs: tuple[Pattern, ...] = ()
    kernels: tuple[Kernels, ...] = ()
    arches: tuple[str, ...] = ()

    def conditions(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """The conditions as they stand in the file, by their keys."""
        yield "signature", self.signatures
        yield "title", self.titles
        yield "title_pattern", tuple(pattern.text for pattern in self.title_patterns)
        yield "function", self.functions
        yield "module", self.kmods
        yield "log", tuple(pattern.text for pattern in self.logs)
        yield "kernel", tuple(kernels.text for kernels in self.kernels)
        yield "arch", self.arches


@dataclass(frozen=True, slots=True)
class Known:
    """What some files say."""

    issues: tuple[Issue, ...] = ()
    faults: tuple[str, ...] = ()
    """What of them cannot be used, and why, with file and line."""
    files: tuple[Path, ...] = ()
    """That were read."""


class _Wrong(ValueError):
    """What is wrong with an issue, and the key that it is about."""

    def __init__(self, text: str, key: str | None = None) -> None:
        super().__init__(text)
        self.key = key


@dataclass
class _Reading:
    issues: list[Issue] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)


def load_known(paths: Iterable[Path], held: Mapping[Path, int] = NOTHING_HELD) -> Known:
    """Read known issues.

    :param paths: files, and directories of files that end in ``.toml``
    :param held: descriptors of those among the files that are open
    """
    reading = _Reading()
    for path in paths:
        try:
            files = [path]
            # what a path links to is somebody else's choice
            if path not in held and path.is_dir() and not path.is_symlink():
                toml = (each for each in path.iterdir() if each.suffix == ENDING)
                files = sorted(each for each in toml if not each.name.startswith("."))
        except OSError as error:
            reading.faults.append(_unread_file(path, error))
            continue
        for file in files:
            try:
                is_held = file in held
                content = (
                    read_open(held[file], SIZE_LIMIT) if is_held else read_regular(file, SIZE_LIMIT)
                )
                text = content.decode("utf-8-sig")
            except OSError as error:
                reading.faults.append(_unread_file(file, error))
            except UnicodeDecodeError as error:
                reading.faults.append(f"{file} is no UTF-8 text, from byte {error.start} on")
            else:
                reading.files.append(file)
                issues, faults = parse_known(text, file)
                reading.issues += issues
                reading.faults += faults
    return Known(tuple(reading.issues), tuple(reading.faults), tuple(reading.files))


def parse_known(text: str, file: Path) -> tuple[list[Issue], list[str]]:
    """The issues of a file, and what is wrong with it.

    :param file: for the messages
    """
    try:
        facts = tomllib.loads(text)
    except RecursionError:
        return [], [f"{file} is no TOML that can be read: it is nested too deeply"]
    except ValueError as error:
        return [], [f"{file} is no TOML: {error}"]
    faults = [f"{file}: {_unknown(key, ['issue'])}" for key in facts if key != "issue"]
    entries = facts.get("issue", [])
    if not isinstance(entries, list):
        return [], [*faults, f"{file}: an issue begins with [[issue]], in two brackets"]
    issues = []
    for number, entry in enumerate(entries):
        try:
            issues.append(_issue(entry, file))
        except _Wrong as error:
            faults.append(f"{_place_of_issue(text, file, entries, number, error.key)}: {error}")
    if not issues and not faults:
        faults.append(f"{file} has no [[issue]]")
    return issues, faults


def _unread_file(path: Path, error: OSError) -> str:
    with suppress(OSError):  # of a directory that this user may not look into
        if path.is_symlink():
            return f"{path} is a symbolic link and not followed: name the file that it leads to"
    advice = f"; let {user_name(os.geteuid())} read it" if error.errno in DENIED else ""
    return f"{path} cannot be read: {error.strerror}{advice}"


def _place_of_issue(
    text: str, file: Path, entries: Sequence[Any], number: int, key: str | None
) -> str:
    """File, line and name of an issue, for messages; of a key the line where that can be told."""
    entry = entries[number]
    name = entry.get("name") if isinstance(entry, dict) else None
    called = f"issue {number + 1}" + (f" ({name})" if isinstance(name, str) else "")
    headers = [found.start() for found in _HEADER.finditer(text)]
    if len(headers) != len(entries):  # one stands in a text, or they are written in another form
        return f"{file}, {called}"
    at, end = headers[number], (*headers, len(text))[number + 1]
    if key is not None:
        of_key = re.compile(rf"^[ \t]*[\"']?{re.escape(key)}[\"']?[ \t]*=", re.MULTILINE)
        found = of_key.search(text, at, end)
        at = found.start() if found else at
    return f"{file}, line {text.count(chr(10), 0, at) + 1}, {called}"


def _issue(entry: Any, file: Path) -> Issue:
    if not isinstance(entry, dict):
        raise _Wrong("it is no table of keys and values")
    _require_known_keys(entry, _Entry.__struct_fields__)
    if isinstance(entry.get("when"), dict):
        _require_known_keys(entry["when"], _When.__struct_fields__)
    try:
        told = msgspec.convert(entry, _Entry)
    except msgspec.ValidationError as error:
        # in the words of the file
        said, _, place = str(error).partition(" - at `$.")
        key = place.rstrip("`")
        said = f"`{key}`: {said[0].lower()}{said[1:]}" if key else said
        if found := re.fullmatch(r"Object missing required field `(\w+)`.*", str(error)):
            said = "it has no [issue.when]" if found[1] == "when" else f"it has no `{found[1]}`"
        raise _Wrong(said) from error
    if told.link and not is_link(told.link):
        raise _Wrong(f"`link`: {told.link!r} is no http or https URL", "link")
    when = told.when
    issue = Issue(
        name=" ".join(_words_of_key("name", told.name)[0].split()),
        file=file,
        advice=told.advice.strip(),
        link=told.link or None,
        fixed_in=_words_of_key("fixed_in", told.fixed_in),
        signatures=_converted("signature", when.signature, _signature),
        titles=_words_of_key("title", when.title),
        title_patterns=_converted("title_pattern", when.title_pattern, Pattern),
        functions=_words_of_key("function", when.function),
        kmods=_converted("module", when.module, lambda name: name.replace("-", "_")),
        logs=_converted("log", when.log, Pattern),
        kernels=_converted("kernel", when.kernel, _kernels),
        arches=_words_of_key("arch", when.arch),
    )
    if not any(values for _, values in issue.conditions()):
        known = ", ".join(_When.__struct_fields__)
        raise _Wrong(f"it has no condition below [issue.when]; the conditions are {known}")
    if not (issue.advice or issue.link or issue.fixed_in):
        raise _Wrong("it says nothing: give it `advice`, `link` or `fixed_in`")
    return issue


def _require_known_keys(table: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in table:
        if key not in known:
            raise _Wrong(_unknown(key, known), key)


def _unknown(key: str, known: Sequence[str]) -> str:
    if key in _When.__struct_fields__:
        return f"`{key}` is a condition: it belongs below [issue.when]"
    if key in _Entry.__struct_fields__:
        return f"`{key}` is no condition: it belongs above [issue.when]"
    (nearest,) = difflib.get_close_matches(key.lower(), known, n=1, cutoff=0.0)
    return f"unknown key `{key}`; did you mean `{nearest}`?"


def _words_of_key(key: str, words: Words) -> tuple[str, ...]:
    return _converted(key, words, str)


def _converted(key: str, words: Words, convert: Callable[[str], Value]) -> tuple[Value, ...]:
    words = [words] if isinstance(words, str) else words
    values = []
    try:
        for word in words:
            if not word.strip():
                raise ValueError("it is empty")
            values.append(convert(word))
    except ValueError as error:
        raise _Wrong(f"`{key}`: {error}", key) from error
    return tuple(values)


def _signature(text: str) -> str:
    if not _SIGNATURE.fullmatch(text):
        raise ValueError(f"{text!r} is no signature: 16 hex digits, as `cas signature JOB` shows")
    return text


def _kernels(text: str) -> Kernels:
    """``>= 6.1, < 6.1.90``, or a glob of releases."""
    parts = [part.strip() for part in text.split(",")]
    if not any(part.startswith(("<", ">", "=", "!", "~", "^")) for part in parts):
        if not _GLOB.search(text) and not _WHOLE_RELEASE.fullmatch(text):
            raise ValueError(f"{text!r} is no release; write '{text}.*', or '>= {text}'")
        return Kernels(text)
    comparisons = []
    for part in parts:
        found = _COMPARISON.fullmatch(part)
        if found is None:
            raise ValueError(f"{part!r} is no comparison such as '>= 6.1' or '< 6.1.90'")
        comparisons.append(Comparison(part, found[1], releases.bound(found[2])))
    return Kernels(text, tuple(comparisons))

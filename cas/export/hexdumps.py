"""Bytes in a text: what crash's ``rd``, ``bt -f`` and the kernel print of memory, and hex digits.

The words of ``rd`` are numbers, so that on most machines a text is turned round in each of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

_RUN = re.compile(
    r"(?<![\w])(?:0x)?(?:"
    r"[0-9A-Fa-f]{16}(?:[ ]{1,2}(?:0x)?[0-9A-Fa-f]{16})*|"
    r"[0-9A-Fa-f]{8}(?:[ ]{1,2}(?:0x)?[0-9A-Fa-f]{8})*|"
    r"[0-9A-Fa-f]{4}(?:[ ]{1,2}(?:0x)?[0-9A-Fa-f]{4})+|"
    r"[0-9A-Fa-f]{2}(?:(?:[ ]{1,2}(?:0x)?[0-9A-Fa-f]{2})+|(?:, ?(?:0x)?[0-9A-Fa-f]{2})+"
    r"|(?::[0-9A-Fa-f]{2})+|(?:-[0-9A-Fa-f]{2})+)|"
    r"(?:[0-9A-Fa-f]{2}){4,}"
    r")(?![\w:])"
)
_GROUP = re.compile(r"(?:0x)?([0-9A-Fa-f]{2,})")
_WORDS = frozenset({4, 8, 16})
"""Digits of numbers that are words of memory."""
_SPELT = re.compile(r"[\t\n -~]{8,}")
MASK = "x"
_FEWEST = 4
"""Bytes of a name's beginning or end that are masked at the edge of what is shown of memory."""
_WORD_BYTES = 8


@dataclass(slots=True)
class _Line:
    number: int
    width: int
    bytes: list[tuple[int, int]] = field(default_factory=list)
    """Where the two digits of each byte begin, and of its group."""
    column: int | None = None
    """Where the same stands as text behind them."""


def mask_bytes(
    text: str, find: Callable[[str], Sequence[tuple[int, int]]], names: Sequence[str]
) -> tuple[str, int]:
    """A text in which the bytes of secrets are masked, and how many were found.

    :param find: where secrets are in a text of which a character is a byte
    :param names: secrets in lower case, of which parts are sought at edges
    """
    shown, number = list(text), 0
    for lines in _streams(text):
        orders = {False} | ({True} if lines[0].width in _WORDS else set())
        for is_turned in orders:
            places = list(_places(lines, is_turned=is_turned))
            said = "".join(chr(int(text[at : at + 2], 16)) for at, _ in places)
            for start, end in (*_hits(said, find), *_parts(said, names)):
                number += 1
                for at, char in places[start:end]:
                    shown[at : at + 2] = f"{ord(MASK):02x}"
                    if char is not None and char < len(shown) and shown[char] != "\n":
                        shown[char] = MASK
    return ("".join(shown), number) if number else (text, 0)


def without_columns(text: str) -> str:
    """A text without the letters that stand behind bytes: they are cut anywhere."""
    shown = list(text)
    for lines in _streams(text):
        for line in lines:
            if line.column is not None:
                for at in range(line.column, min(line.column + len(line.bytes), len(text))):
                    shown[at] = "\n"
    return "".join(shown)


def bytes_as_text(text: str) -> Iterator[str]:
    """The texts that bytes spell."""
    for lines in _streams(text):
        for is_turned in {False, lines[0].width in _WORDS}:
            places = _places(lines, is_turned=is_turned)
            said = "".join(chr(int(text[at : at + 2], 16)) for at, _ in places)
            for each in _SPELT.finditer(said):
                yield each[0]


def _hits(said: str, find: Callable[[str], Sequence[tuple[int, int]]]) -> Iterator[tuple[int, int]]:
    yield from find(said)
    if "\0" not in said:
        return
    at = [number for number, char in enumerate(said) if char != "\0"]
    for start, end in find("".join(said[number] for number in at)):
        # of UTF-16; not where many zeros part what only looks like it
        if at[end - 1] + 1 - at[start] <= 2 * (end - start):
            yield at[start], at[end - 1] + 1


def _parts(said: str, names: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Where the beginning of a name ends what is shown, or the end of one begins it."""
    lowered = said.lower()
    for name in names:
        if len(name) > _WORD_BYTES:
            for at in range(0, len(said) - _WORD_BYTES + 1, _WORD_BYTES):
                if lowered[at : at + _WORD_BYTES] in name:
                    yield at, at + _WORD_BYTES
        if lowered[-_FEWEST:] in name:
            for length in range(min(len(name) - 1, len(said)), _FEWEST - 1, -1):
                if lowered.endswith(name[:length]):
                    yield len(said) - length, len(said)
                    break
        if lowered[:_FEWEST] in name:
            for length in range(min(len(name) - 1, len(said)), _FEWEST - 1, -1):
                if lowered.startswith(name[-length:]):
                    yield 0, length
                    break


def _streams(text: str) -> Iterator[list[_Line]]:
    """Lines that go on with one another."""
    found, start = list[_Line](), 0
    for number, line in enumerate(text.split("\n")):
        behind = 0
        for run in _RUN.finditer(line):
            if run.start() >= behind:  # not in the text beside the last one
                one = _read_run(run, line, start, number)
                behind = 0 if one.column is None else one.column - start + len(one.bytes)
                found.append(one)
        start += len(line) + 1
    for _, some in groupby(
        enumerate(found), lambda each: (each[1].width, each[1].number - each[0])
    ):
        yield [line for _, line in some]


def _read_run(run: re.Match[str], line: str, start: int, number: int) -> _Line:
    groups = list(_GROUP.finditer(run[0]))
    width = len(groups[0][1])
    one = _Line(number, width)
    for group in groups:
        begin = start + run.start() + group.start(1)
        one.bytes += [(begin + at, begin) for at in range(0, len(group[1]) - 1, 2)]
    behind = re.match(r" {2,}|\s+[|>]", line[run.end() :])
    rest = len(line) - run.end() - (behind.end() if behind else 0)
    if behind and 0 < rest <= len(one.bytes) + 1:
        one.column = start + run.end() + behind.end()
    return one


def _places(lines: Sequence[_Line], *, is_turned: bool) -> Iterator[tuple[int, int | None]]:
    """Where each byte's digits stand, and its letter, in the order of memory."""
    for line in lines:
        order = list(line.bytes)
        if is_turned:
            size = line.width // 2
            some = (order[at : at + size] for at in range(0, len(order), size))
            order = [each for group in some for each in reversed(group)]
        for number, (at, _) in enumerate(order):
            yield at, None if line.column is None else line.column + number

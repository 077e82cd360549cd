"""Nothing from a dump reaches a terminal as anything but text."""

from __future__ import annotations

import unicodedata

import pytest

from cas.text import human_size, one_line, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, ümläut, 漢字, …", "plain text, ümläut, 漢字, …"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x00\x08\x0d\x7f", "\\x00\\x08\\x0d\\x7f"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202eabc\u2066\u200f", "\\u202eabc\\u2066\\u200f"),
        ("\u2028\u200b\ufeff", "\\u2028\\u200b\\ufeff"),
        ("\U000e0041", "\\U000e0041"),
        ("\udcff", "\\xff"),
        ("\ud800", "\\ud800"),
        (b"ok \xff\xfe \xc3\xbc", "ok \\xff\\xfe ü"),
    ],
)
def test_what_does_not_print_is_escaped(text: str | bytes, shown: str) -> None:
    assert printable(text) == shown


def test_no_control_or_format_character_survives() -> None:
    codes = (
        *range(0x3000),
        *range(0xD7F0, 0xE010),
        *range(0xFE00, 0x10000),
        *range(0xE0000, 0xE0200),
    )
    everything = printable("".join(map(chr, codes)))
    left = {unicodedata.category(char) for char in everything if char not in "\n\t"}
    assert not left & {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def test_a_line_stays_one_line() -> None:
    assert one_line("  a\n\tb   c\r\n") == "a b c\\x0d"


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (25380088, "24.2 MiB"), (3 << 40, "3.0 TiB")],
)
def test_sizes_are_told_in_units_for_people(size: int, shown: str) -> None:
    assert human_size(size) == shown

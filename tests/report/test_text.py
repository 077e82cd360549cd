"""Nothing from a dump reaches a terminal as anything but text."""

from __future__ import annotations

import json
import logging
import time
import unicodedata
from datetime import UTC, datetime

import pytest

from cas.text import LogLines, json_text, located, one_line, plain_fault, printable, short_line
from cas.units import human_size, human_span, told_time, utc


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
        ("\u061c\u00ad\u3164\ufe0f\u115f", "\\u061c\\xad\\u3164\\ufe0f\\u115f"),
        ("\udcff", "\\xff"),
        ("\ud800", "\\ud800"),
        (b"ok \xff\xfe \xc3\xbc", "ok \\xff\\xfe ü"),
    ],
)
def test_what_does_not_print_is_escaped(text: str | bytes, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("bt: short read from memory file: 0x46003a0", "bt: memory at 0x46003a0 cannot be read"),
        (
            "could not read memory from kdump: Cannot get page I/O address: Cannot read 64-bit PTE"
            " at KVADDR:0xffffffff96c09ff8: failed: unknown method: 0xffffffff96c1b7a0; sys",
            "memory at 0xffffffff96c1b7a0 cannot be read; sys",
        ),
        ("no such symbol: 0x12", "no such symbol: 0x12"),
    ],
)
def test_memory_that_cannot_be_read_is_told_in_plain_words(said: str, told: str) -> None:
    assert plain_fault(said) == told


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


def test_a_line_that_is_too_long_says_how_much_is_left_out() -> None:
    assert short_line("a\nb" * 4, 9) == "a ba ba b … (3 more characters)"
    assert short_line("a\nb", 9) == "a b"


def test_json_is_printable_ascii_and_gives_back_the_exact_text() -> None:
    text = "".join(map(chr, (*range(0x20), *range(0x7E, 0x100), 0x202E, 0xDCFF, 0x1F600)))
    shown = json_text({text: [text]}, indent=1)
    assert printable(shown) == shown
    assert shown.isascii()
    assert json.loads(shown) == {text: [text]}


def test_offsets_are_told_in_groups_of_three_digits() -> None:
    assert located("ends", 3_435_973_836) == "ends, from byte 3,435,973,836 on"
    assert located("ends", None) == "ends"


def test_no_text_forges_a_line_of_the_log() -> None:
    record = logging.LogRecord("cas", logging.INFO, "", 0, "%s", ("a\n2026 INFO \x1b[31mb",), None)
    assert LogLines().format(record).endswith(" INFO a 2026 INFO \\x1b[31mb")


def test_tracebacks_in_the_log_are_indented_and_printable() -> None:
    try:
        raise ValueError("one\n2026 INFO \x1b[31mforged")
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    record = logging.LogRecord("cas", logging.DEBUG, "", 0, "from", (), info)
    first, *rest = LogLines().format(record).split("\n")
    assert first.endswith(" DEBUG from")
    assert all(line.startswith("    ") for line in rest)
    assert rest[-1] == "    2026 INFO \\x1b[31mforged"


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (25380088, "24.2 MiB"), (3 << 40, "3.0 TiB")],
)
def test_sizes_are_told_in_units_for_people(size: int, shown: str) -> None:
    assert human_size(size) == shown


def test_sizes_and_lengths_of_time_have_one_form() -> None:
    sizes = (0, 1023, 1024, 5 << 30, 3 << 50, 1 << 70)
    assert [human_size(size) for size in sizes] == [
        "0 bytes",
        "1023 bytes",
        "1.0 KiB",
        "5.0 GiB",
        "3.0 PiB",
        "1048576.0 PiB",
    ]
    spans = (0, 0.04, 9, 9.26, 60, 65, 3605, 90_000, 86_400 * 400)
    assert [human_span(seconds) for seconds in spans] == [
        "0 s",
        "less than 0.1 s",
        "9 s",
        "9.3 s",
        "1 min",
        "1 min 5 s",
        "1 h",
        "1 d 1 h",
        "400 d",
    ]


def test_a_terminal_has_the_readers_time_beside_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    time_of_crash = datetime(2026, 11, 21, 23, 51, 6, tzinfo=UTC)
    for zone, told in (
        ("UTC", "2026-11-21 23:51:06 UTC"),
        ("CET-1", "2026-11-21 23:51:06 UTC (2026-11-22 00:51:06 CET)"),
        ("EST5", "2026-11-21 23:51:06 UTC (18:51:06 EST)"),
    ):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        assert (told_time(time_of_crash), utc(time_of_crash)) == (told, "2026-11-21 23:51:06 UTC")
    monkeypatch.undo()
    time.tzset()

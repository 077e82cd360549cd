"""Text from a dump, made fit for a terminal, a report and a mail.

A dump is a customer's memory and may be hostile: what comes from it can hold escape sequences that
reprogram a terminal, or marks that turn a line around. Everything that does not print is shown as
an escape, as in Python.
"""

from __future__ import annotations

import json
import logging
import re
import textwrap
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

from cas.choices import Checked
from cas.units import human_span

if TYPE_CHECKING:  # every command imports this, and few make these values
    from cas.model.dump import Dump
    from cas.model.finding import KnownIssue, LogEvent

ExceptionInfo: TypeAlias = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)
LINE_LIMIT = 4096
"""Characters of one line that a terminal, a log or a screen is given."""


def printable(text: str | bytes) -> str:
    r"""Text with everything that does not print escaped, such as ``\x1b`` and ``\u202e``.

    Newlines and tabs stay. Escaped are control and format characters (C0, DEL, C1, bidirectional
    marks, zero-width characters), line and paragraph separators, private and unassigned code
    points, letters that nobody sees, and bytes that are not UTF-8.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    return _UNUSUAL.sub(_escaped, text)


_FAULT = re.compile(
    r"(?:short read from memory file|could not find memory segment"
    r"|could not read memory from kdump(?:: [^;]*?)?): (0x[0-9a-f]+)"
)


def plain_fault(text: str) -> str:
    """What drgn and libkdumpfile say of memory that they cannot read, in words for a reader."""
    return _FAULT.sub(r"memory at \1 cannot be read", text)


def one_line(text: str | bytes) -> str:
    """Printable text on a single line, without doubled blanks."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    return printable(_BLANKS.sub(" ", text).strip(" "))


def short_line(text: str, limit: int = LINE_LIMIT) -> str:
    """Printable text on a single line that says how much of it was left out.

    :param limit: characters of the text that are shown
    """
    if len(text) <= limit:
        return one_line(text)
    return f"{one_line(text[:limit])} … ({len(text) - limit:,} more characters)"


def json_text(
    value: object, *, indent: int | None = None, default: Callable[[object], object] | None = None
) -> str:
    r"""JSON of which every byte prints, and which gives back the exact text.

    ``json`` leaves DEL as it is, which terminals obey; ``\x7f``, as in plain text, is no JSON.
    """
    text = json.dumps(value, indent=indent, default=default)
    return text.replace("\x7f", "\\u007f")


def wholeness(dump: Dump) -> str:
    """How whole a dump is of which nothing is known to be missing, e.g. ``whole, …``."""
    if dump.checked is Checked.SAMPLED:
        pages = f"{dump.pages_checked or 0:,} of {dump.pages or 0:,} pages"
        return f"whole as far as sampled ({pages} checked)"
    if dump.checked is Checked.PAGES and dump.compression == "zlib":
        return "whole, every page checked"
    if dump.checked is Checked.PAGES and dump.compression:
        return f"whole, every page unpacks ({dump.compression} has no checksums)"
    if dump.checked is Checked.RANGES:
        return "read by ranges on its server: nothing is known of the rest"
    return "all bytes are there (it has no checksums)"


def located(what: str, offset: int | None) -> str:
    """What a dump lacks, and where that begins: ``…, from byte 3,435,973,836 on``."""
    return what if offset is None else f"{what}, from byte {offset:,} on"


def is_link(text: str) -> bool:
    """Whether a reader may be given it to click on: an http or https URL that prints as it is."""
    try:
        parts = urlsplit(text)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and text.isascii()
            and (text.isprintable() and " " not in text)
        )
    except ValueError:
        return False


def known_issue(issue: KnownIssue) -> str:
    """What to tell of a known issue: ``its name: what to do; fixed in 6.1.90; https://…``."""
    fixed = f"fixed in {', '.join(issue.fixed_in)}" if issue.fixed_in else ""
    said = filter(None, (issue.advice.rstrip("."), fixed, issue.doubt, issue.link))
    return f"{issue.name}: {'; '.join(said)}"


def log_event(event: LogEvent) -> str:
    """A line of the kernel log with its stamp, how often it stands there and how long before."""
    stamp = "" if event.first_s is None else f"[{event.first_s:.6f}] "
    often = "" if event.count == 1 else f" \N{MULTIPLICATION SIGN}{event.count:,}"
    where = f", in {event.where}" if event.where and event.where not in event.text else ""
    text = f"{stamp}{event.text.rstrip('.')}{where}{often}{' or more' * event.is_flood}"
    if event.began_before_s is None or event.ended_before_s is None:
        return text
    began, ended = (
        "just"
        if seconds < _JUST_S
        else human_span(seconds if seconds < _TENTHS_S else int(seconds))
        for seconds in (event.began_before_s, event.ended_before_s)
    )
    if event.is_flood:
        return f"{text} (the last {ended} before)"
    return f"{text} ({began if began == ended else f'{began} to {ended}'} before)"


class LogLines(logging.Formatter):
    """One printable line for each record: no text can pretend to be a record of its own.

    Tracebacks follow theirs, indented.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """When it was said, in UTC."""
        said = datetime.fromtimestamp(record.created, UTC)
        return f"{said:%Y-%m-%d %H:%M:%S}.{said.microsecond // 1000:03} UTC"

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        return short_line(super().formatMessage(record))

    def formatException(self, info: ExceptionInfo) -> str:
        """The lines of a traceback."""
        return textwrap.indent(printable(super().formatException(info)), "    ")


def count(number: int, noun: str) -> str:
    """A number of things: ``1 kernel``, ``2 kernels``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def nearest(name: str, known: Iterable[str]) -> str:
    """What there is in place of a name that there is not: those most like it, else all."""
    from difflib import get_close_matches  # seldom needed, and not free

    known = sorted(known)
    return ", ".join(get_close_matches(name, known) or known)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if found[0].isprintable() and not any(first <= code <= last for first, last in _UNSEEN):
        return found[0]
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


_JUST_S, _TENTHS_S = 0.05, 10.0
"""What is less is ``just before``; tenths of a second are told below."""
_UNUSUAL = re.compile(r"[^\t\n\x20-\x7e]")
_BLANKS = re.compile(r"[ \t\n]+")

_UNSEEN = (
    *((0x34F, 0x34F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2800, 0x2800)),
    *((0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0xE0100, 0xE01EF)),
)
"""Code points that Python counts as printable and nobody sees: Unicode's
Default_Ignorable_Code_Point (DerivedCoreProperties.txt), and the blank Braille pattern."""

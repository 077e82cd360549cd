"""Text from a dump, made fit for a terminal, a report and a mail.

A dump is a customer's memory and may be hostile: what comes from it can hold escape sequences that
reprogram a terminal, or marks that turn a line around. Everything that does not print is shown as
an escape, as in Python.
"""

from __future__ import annotations

import re


def printable(text: str | bytes) -> str:
    r"""Text with everything that does not print escaped, such as ``\x1b`` and ``\u202e``.

    Newlines and tabs stay. Escaped are control and format characters (C0, DEL, C1, bidirectional
    marks, zero-width characters), line and paragraph separators, private and unassigned code
    points, and bytes that are not UTF-8.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    return _UNUSUAL.sub(_shown, text)


def one_line(text: str | bytes) -> str:
    """Printable text on a single line, without doubled blanks."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    return printable(_BLANKS.sub(" ", text).strip(" "))


def human_size(size_bytes: int) -> str:
    """A size for people: ``36.2 MiB``."""
    size = float(size_bytes)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def count(number: int, noun: str) -> str:
    """A number of things: ``1 kernel``, ``2 kernels``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _shown(found: re.Match[str]) -> str:
    if found[0].isprintable():
        return found[0]
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


_UNUSUAL = re.compile(r"[^\t\n\x20-\x7e]")
_BLANKS = re.compile(r"[ \t\n]+")

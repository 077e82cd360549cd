r"""A text as it reads once what is escaped in it is decoded, with where each character stands.

A name may stand in a log or a section as ``\x63``, ``&#99;``, ``%63`` or ``=63``, in base64, or
with a zero between its letters; also as one of these within another.
"""

from __future__ import annotations

import html
import re
from base64 import b64decode, b64encode
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

_C = re.compile(
    r"\\(?:u\{?([0-9A-Fa-f]{4,6})\}?|U([0-9A-Fa-f]{8})|x([0-9A-Fa-f]{2})|([0-7]{1,3})|([/\"'\\]))"
)
r"""Of JSON, C, Python and the kernel's ``%pE``."""
_HTML = re.compile(r"&(?:#(\d{1,7})|#[xX]([0-9A-Fa-f]{1,6})|([A-Za-z]{2,31}));?")
_PERCENT = re.compile(r"%([0-9A-Fa-f]{2})")
_QUOTED = re.compile(r"=(?:([0-9A-Fa-f]{2})|[ \t]*\r?\n)")
"""Quoted-printable, RFC 2045; a soft line break is nothing."""
_ZERO = re.compile(r"\0")
_BREAK = re.compile(
    r"\r?\n(?:[0-9a-f]{8,16}:|(?:<\d{1,3}>)?\[ {0,8}\d{1,9}\.\d{6}\](?:\[ {0,8}[TC]\d{1,9}\])?)?"
    r"[ \t]{0,8}"
)
"""Of a line that was wrapped, by a terminal, a mail program, crash's ``rd -a`` or the kernel."""
_UNSEEN = re.compile(
    r"(?:\x1b|\^\[|#033)(?:\[[0-?]{0,32}[ -/]{0,4}[@-~]|[()][0-9A-B])"
    r"|[^\n]\x08|[\u00ad\u200b-\u200f\u2060\ufeff]"
)
"""What a terminal does not show: colours (ECMA-48, also as syslog and cat write them), what was
struck over, and letters without a width."""
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/_-]{56,}\r?\n[ \t]{0,8})*[A-Za-z0-9+/_-]{12,}={0,2}")
_STANDARD = str.maketrans("-_", "+/", "\r\n\t =")
_GROUP = 4
"""Characters of base64 that are three bytes."""
_NESTED = 3
_PACKED = re.compile(rb"\x1f\x8b\x08|\xfd7zXZ|\x28\xb5\x2f\xfd|BZh[1-9]1AY|PK\x03\x04|7z\xbc\xaf")
"""How files begin that nobody can look into."""
AROUND = 300
"""Characters on each side of what is decoded, in which a name may go on."""
GAP = "\n\n"
UNREADABLE = "BASE64-REMOVED"
"""In the place of base64 that has a secret and begins nobody knows where, or that is packed."""


@dataclass(frozen=True, slots=True)
class View:
    """A decoded text."""

    text: str
    at: list[int] = field(default_factory=list)
    """Where pieces begin in the decoded text, ascending."""
    pieces: list[tuple[int, int]] = field(default_factory=list)
    """Where they are in the text that was decoded; those of one length are as they were there."""
    of: View | None = None
    """The decoded text that was decoded once more."""

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where a part of it stands in the text itself."""
        if self.at:
            start, end = self._begin(start), self._end(end)
        return self.of.span(start, end) if self.of else (start, end)

    def _begin(self, position: int) -> int:
        number = bisect_right(self.at, position) - 1
        begin, end = self.pieces[number]
        length = self._length(number)
        return begin + (position - self.at[number] if length == end - begin else 0)

    def _end(self, position: int) -> int:
        number = bisect_right(self.at, position - 1) - 1
        begin, end = self.pieces[number]
        is_same = self._length(number) == end - begin
        return begin + position - self.at[number] if is_same else end

    def _length(self, number: int) -> int:
        behind = self.at[number + 1] if number + 1 < len(self.at) else len(self.text)
        return behind - self.at[number]


def _unescaped(text: str) -> Iterator[View]:
    plain = View(text)
    yield plain
    mixed = plain
    for pattern, decode in _DECODERS:
        one = _decoded(plain, pattern, decode)
        if one is not None:
            yield one
            yield from _without(one, _ZERO)
        mixed = _decoded(mixed, pattern, decode, is_whole=True) or mixed
    if mixed is not plain:
        yield mixed
        for _ in range(_NESTED):  # one within another, such as JSON in JSON in a URL
            again = mixed
            for pattern, decode in _DECODERS:
                again = _decoded(again, pattern, decode, is_whole=True) or again
            if again is mixed:
                break
            mixed = again
            yield mixed
        yield from _without(mixed, _ZERO)
        yield from _without(mixed, _UNSEEN)
    yield from _without(plain, _ZERO)
    yield from _without(plain, _UNSEEN)


def views(text: str) -> Iterator[View]:
    """The text itself, then each way to read it that differs from it, also across lines."""
    yield from _unescaped(text)
    yield from _without(View(text), _BREAK)


def readings(text: str) -> Iterator[str]:
    """The same as texts, in which lines end where they end."""
    return (view.text for view in _unescaped(text))


def replace_base64(text: str, redacted: Callable[[str], str]) -> str:
    """A text whose base64 is redacted.

    :param redacted: redacts what is decoded, of which a character is a byte
    """
    text = _BASE64.sub(_without_packed, text)
    tokens = [(found.start(), found.end(), found[0]) for found in _BASE64.finditer(text)]
    for start in range(_GROUP):
        decoded = [_bytes(token, start) for _, _, token in tokens]
        whole = "\n\n".join(decoded)
        if not whole or redacted(whole) == whole:
            continue
        pieces, last = list[str](), 0
        for number, (begin, end, _) in enumerate(tokens):
            new = redacted(decoded[number])
            if new == decoded[number]:
                continue
            is_text = start == 0 and _is_text(decoded[number])
            shown = b64encode(new.encode("latin-1", "replace")).decode() if is_text else UNREADABLE
            pieces += [text[last:begin], shown]
            tokens[number] = (begin, end, "")
            last = end
        text = "".join((*pieces, text[last:]))
        tokens = [(found.start(), found.end(), found[0]) for found in _BASE64.finditer(text)]
    return text


def _without_packed(found: re.Match[str]) -> str:
    head = _bytes(found[0][: _GROUP * 4], 0).encode("latin-1")
    return UNREADABLE if _PACKED.match(head) else found[0]


def decoded_base64(text: str) -> Iterator[str]:
    """What base64 in a text says, where that is text, and what base64 in that says."""
    for found in _BASE64.finditer(text):
        said = _bytes(found[0], 0)
        if said and _is_text(said):
            yield from readings(said)
            yield from decoded_base64(said)


def _bytes(token: str, start: int) -> str:
    plain = token.translate(_STANDARD)[start:]
    plain = plain[: len(plain) - (len(plain) % _GROUP == 1)]
    return b64decode(plain + "=" * (-len(plain) % _GROUP)).decode("latin-1")


def _is_text(said: str) -> bool:
    return all(char.isprintable() or char in "\t\r\n\0" for char in said)


def _decoded(
    before: View,
    pattern: re.Pattern[str],
    decode: Callable[..., str],
    *,
    is_whole: bool = False,
) -> View | None:
    """A view of what stands around all that fits, in which that is decoded; ``None``: nothing does.

    :param is_whole: of all the text
    """
    text, made, last = before.text, View("", of=before), 0
    parts, position = list[str](), 0

    def add(said: str, start: int, end: int) -> None:
        nonlocal position
        if said:
            made.at.append(position)
            made.pieces.append((start, end))
            parts.append(said)
            position += len(said)

    for found in pattern.finditer(text):
        said = decode(found)
        if said == found[0]:
            continue
        start = max(last, found.start() - AROUND)
        if (
            start > last and not is_whole
        ):  # what is far from all that is decoded was looked at as it is
            end = min(start, last + AROUND) if last else last
            add(text[last:end], last, end)
            start = max(start, end)
            add(GAP, start, start)
        start = last if is_whole else start
        add(text[start : found.start()], start, found.start())
        add(said, found.start(), found.end())
        last = found.end()
    if not last:
        return None
    end = len(text) if is_whole else min(len(text), last + AROUND)
    add(text[last:end], last, end)
    return replace(made, text="".join(parts)) if made.at else None


def _without(before: View, pattern: re.Pattern[str]) -> Iterator[View]:
    found = _decoded(before, pattern, lambda _: "")
    if found is not None:
        yield found


def _of_c(found: re.Match[str]) -> str:
    number = found[1] or found[2] or found[3]
    if number:
        return _character(int(number, 16), found[0])
    return chr(int(found[4], 8)) if found[4] else found[5]


def _of_html(found: re.Match[str]) -> str:
    if found[1]:
        return _character(int(found[1]), found[0])
    if found[2]:
        return _character(int(found[2], 16), found[0])
    return html.unescape(found[0]) if found[0].endswith(";") else found[0]


def _of_hex(found: re.Match[str]) -> str:
    return chr(int(found[1], 16)) if found[1] else ""


def _character(number: int, instead: str) -> str:
    return chr(number) if number <= 0x10FFFF else instead


_DECODERS = ((_C, _of_c), (_HTML, _of_html), (_PERCENT, _of_hex), (_QUOTED, _of_hex))

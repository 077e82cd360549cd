"""What ``dmesg -J`` writes, as lines with stamps.

Source: util-linux, sys-utils/dmesg.c: print_record().
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

_HEAD = re.compile(r'"pri"\s{0,16}:\s{0,16}[^,\n]{1,16},\s{0,64}"time"\s{0,16}:')
_RECORD = re.compile(
    r'"time"\s{0,16}:\s{0,16}(\d{1,10}(?:\.\d{1,9})?)\s{0,16},'
    r'(?:\s{0,64}"caller"\s{0,16}:\s{0,16}"([TC]\d{1,10})"\s{0,16},)?'
    r'\s{0,64}"msg"\s{0,16}:\s{0,16}("(?:[^"\\\n]|\\.)*")'
)
"""A string's end is its first quote: no search begins in one, and each text is looked at once."""
_NEXT_RECORD = re.compile(r"\n<\d{1,3}>\[")
"""``dmesg -F FILE -J`` of util-linux 2.38 does not end a message where its line ends."""


def is_dmesg_json(head: bytes) -> bool:
    """Whether a text that begins so, or its end, is of ``dmesg -J``."""
    return b'"msg"' in head and _HEAD.search(head.decode("latin-1")) is not None


def lines_of_dmesg_json(text: str) -> Iterator[str]:
    """The kernel's lines; a record that is cut is passed over."""
    for record in _RECORD.finditer(text):
        try:
            message = str(json.loads(record[3]))
        except ValueError:
            continue
        caller = f"[{record[2]:>6}] " if record[2] else ""
        stamp = f"[{float(record[1]):12.6f}] {caller}"
        message = _NEXT_RECORD.split(message, maxsplit=1)[0].removesuffix("\n")
        yield "".join(f"{stamp}{line}\n" for line in message.split("\n"))

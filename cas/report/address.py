"""E-mail addresses: RFC 5321 section 4.1.2 without quoted names, literals and non-ASCII."""

from __future__ import annotations

import re

from cas.errors import UsageError

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*")


def check_address(text: str) -> str:
    """An e-mail address that can stand in a header as it is.

    :raises UsageError: it is not a plain ``user@host`` in ASCII
    """
    reason = address_flaw(text)
    if reason:
        raise UsageError(f"{text!a} is no e-mail address: {reason}", hint="give it as user@host")
    return text


def address_flaw(text: str) -> str | None:
    """What keeps a text from being an address; ``None`` for an address."""
    if not text.isascii() or not text.isprintable():
        return "it has characters that are not printable ASCII"
    if text.count("@") != 1:
        return "it needs one @"
    if len(text) > 254 or len(text.partition("@")[0]) > 64:
        return "it is too long"
    return None if _ADDRESS.fullmatch(text) else "it has characters or dots in the wrong place"

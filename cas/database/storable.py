"""Words and numbers of dumps, packages and file systems, as databases can hold them."""

from __future__ import annotations

from typing import overload

_LARGEST = (1 << 63) - 1


@overload
def storable(text: str, limit: int | None = None) -> str: ...
@overload
def storable(text: None, limit: int | None = None) -> None: ...
@overload
def storable(text: str | None, limit: int | None = None) -> str | None: ...
def storable(text: str | None, limit: int | None = None) -> str | None:
    r"""Text without the characters that a database refuses.

    :param limit: characters that the column holds; the rest is left out

    >>> storable("a\0b")
    'a\\0b'
    """
    if text is None:
        return None
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode()
    return text.replace("\0", "\\0")[:limit]


def stored_number(number: int) -> int:
    """A number in 64 bits with a sign: inodes of network file systems take all 64 without one.

    >>> stored_number(5), stored_number((1 << 64) - 1)
    (5, -1)
    """
    return (number & _LARGEST) - (number & (_LARGEST + 1))

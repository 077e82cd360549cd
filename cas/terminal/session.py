"""What a debugger on a terminal of its own offers, here or on another machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from cas.frozen import dataclass


class Size(NamedTuple):
    """The size of a terminal, in characters."""

    columns: int
    rows: int


@dataclass(frozen=True, slots=True)
class Window:
    """What a program must know of the user's terminal."""

    size: Size
    term: str = "dumb"
    """Its kind, as in the variable TERM."""

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables for a program on a terminal like that."""
        return {"TERM": self.term} if re.fullmatch(r"[\w.+-]{1,64}", self.term, re.ASCII) else {}


class Terminal(Protocol):
    """A program whose stdin, stdout and stderr are one terminal, made for it alone.

    One thread reads while another writes and resizes.

    :raises HostLost: from any call but `close`, when its machine cannot be reached any more
    """

    def read(self, timeout_s: float) -> bytes | None:
        """What it wrote next; ``b""`` when it has ended, ``None`` when nothing came in time."""

    def write(self, data: bytes) -> None:
        """Keys that were pressed; nothing happens once the program has ended."""

    def resize(self, size: Size) -> None:
        """The window has another size now."""

    def wait(self) -> int:
        """Its exit status, negative for a signal; called after `read` gave ``b""``."""

    def close(self) -> None:
        """End it and all that it started; may be called twice, and while another thread reads."""

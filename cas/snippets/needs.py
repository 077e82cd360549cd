"""What a snippet's commands need of a kernel, and how that is said.

A line ``# needs: symbol=swap_info config=SWAP`` names what must all be there; names with ``|``
between them are those of several times or architectures, of which one suffices. Whether a kernel
has them is looked up in its vmlinux, so that nobody has to read it out of a debugger's complaints.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from cas.choices import NeedKind
from cas.errors import CasError
from cas.model.snippet import Need

_WORD = re.compile(r"(symbol|type|config)=([A-Za-z0-9_.]+(?:\|[A-Za-z0-9_.]+)*)")
_CALLED = {
    NeedKind.SYMBOL: "symbol",
    NeedKind.TYPE: "type",
    NeedKind.CONFIG: "configuration option",
}


class NeedError(CasError):
    """A line of needs cannot be understood."""

    hint = "write for example: # needs: symbol=swap_info|swapper_space type=rq.clock config=SWAP"


def parse(text: str) -> tuple[Need, ...]:
    """The needs that stand behind ``# needs:``.

    :raises NeedError: a word is none
    """
    needs = []
    for word in text.split():
        found = _WORD.fullmatch(word)
        if found is None:
            raise NeedError(f"{word[:80]!a} is no need: symbol=NAME, type=NAME or config=NAME")
        needs.append(Need(NeedKind(found[1]), tuple(found[2].split("|"))))
    return tuple(needs)


def unmet(needs: Sequence[Need]) -> str:
    """What a kernel lacks, in a sentence.

    :param needs: those that are not met, at least one
    """
    told = (f"{_CALLED[need.kind]} {' or '.join(need.names)}" for need in dict.fromkeys(needs))
    return f"this kernel has no {', no '.join(told)}"

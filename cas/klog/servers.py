"""Servers of which the kernel log says that they do not answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from cas.frozen import dataclass
from cas.klog.lines import Log

LINES = 5000
"""The newest of a kind, that are looked at."""
_SILENT = re.compile(r"\w{1,8}: server (\S{1,255}) not responding, (?:still trying|timed out)")
_ANSWERS = re.compile(r"\w{1,8}: server (\S{1,255}) OK")


@dataclass(frozen=True, slots=True)
class Silent:
    """A server that does not answer."""

    name: str
    uptime_s: float | None
    """When the kernel said so first since it answered last."""
    line: str


def silent_servers(log: Log) -> Iterator[Silent]:
    """The NFS servers that were ``not responding`` and not ``OK`` again, net/sunrpc/clnt.c."""
    said = dict.fromkeys(islice(log.having(" not responding, "), LINES), _SILENT)
    said |= dict.fromkeys(islice(log.having(" OK"), LINES), _ANSWERS)
    silent: dict[str, Silent] = {}
    for number in sorted(said):
        line = log[number]
        found = said[number].match(line.text)
        if found is None:
            continue
        if said[number] is _ANSWERS:
            silent.pop(found[1], None)
        else:
            silent.setdefault(found[1], Silent(found[1], line.uptime_s, line.text))
    yield from silent.values()

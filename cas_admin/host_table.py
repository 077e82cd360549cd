"""Analysis hosts as a table, as JSON, and in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from io import StringIO

from cas.model.host import Host
from cas.ssh.account import SSH_PORT, known_hosts_name
from cas.text import json_text, one_line
from cas.units import human_size, plain

VERSION = 1
COLUMNS = ("NAME", "PORT", "ARCH", "CRASH", "DRGN", "FREE", "MEMORY", "SHARED", "STATE")
WIDE = 10_000
"""Characters: no cell is ever folded or cut."""


def table(hosts: Sequence[Host]) -> tuple[str, ...]:
    """A line for each host below a line of titles; nothing when there are no hosts."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not hosts:
        return ()
    drawn = Table(*COLUMNS, box=None, pad_edge=False)
    for host in hosts:
        crashes = (
            each.version if each.arch == host.arch else f"{each.version} ({each.arch})"
            for each in host.crashes
        )
        state = "failed" if host.problem else "swept" if host.is_swept else "ok"
        cells = (
            host.name,
            str(host.port or "-"),
            host.arch or "-",
            ", ".join(dict.fromkeys(crashes)) or "-",
            host.drgn or "-",
            _size_cell(host.free_bytes),
            _size_cell(host.memory_bytes),
            "-" if host.is_swept else "yes" if host.is_shared else "no",
            state if host.is_enabled else "disabled",
        )
        drawn.add_row(*(Text(one_line(cell)) for cell in cells))
    stream = StringIO()
    Console(file=stream, width=WIDE, color_system=None).print(drawn)
    return tuple(line.rstrip() for line in stream.getvalue().splitlines())


def json_of(hosts: Sequence[Host]) -> str:
    """The same with everything that is known, for programs."""
    return json_text(
        {"version": VERSION, "hosts": [asdict(host) for host in hosts]}, indent=1, default=plain
    )


def host_complaints(hosts: Iterable[Host]) -> Iterator[str]:
    """Why hosts are of no use, and what else their administrator should know."""
    for host in hosts:
        if host.problem:
            yield sentence_with_host(host, host.problem)
        else:
            yield from (sentence_with_host(host, remark) for remark in host.remarks)


def sentence_with_host(host: Host, text: str) -> str:
    """A sentence that says which host it is about."""
    names = (str(host), known_hosts_name(host.name, host.port or SSH_PORT))
    return text if any(name in text for name in names) else f"{host}: {text}"


def _size_cell(size_bytes: int | None) -> str:
    return "-" if size_bytes is None else human_size(size_bytes)

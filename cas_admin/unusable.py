"""Files that cannot be used as packages, told by kind: a directory may hold 50,000 of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from cas.text import count

SINGLY = 3
"""Files of one kind that are told one by one."""
KINDS = 20
"""That are told; behind them only how many more there are."""
ALL = "every package is named by: cas-admin status --json"
_PARTICULAR = re.compile(r"\b[0-9a-f]{12,}\b|[0-9][0-9.,]*")
"""What differs between reasons of one kind: sizes, offsets, digests."""


def unusable_lines(bad: Iterable[tuple[Path, str]]) -> Iterator[str]:
    """A line for each file or directory with its reason, or for each kind of reason.

    :param bad: paths with their reasons, which may name the path once more
    """
    kinds: dict[str, list[tuple[Path, str]]] = {}
    for path, reason in bad:
        kind = _PARTICULAR.sub("N", _reason_without_path(path, reason))
        kinds.setdefault(kind, []).append((path, reason))
    ordered = sorted(kinds.values(), key=len, reverse=True)
    for alike in ordered[:KINDS]:
        if len(alike) <= SINGLY:
            yield from (
                reason if str(path) in reason else f"{path}: {reason}" for path, reason in alike
            )
            continue
        path, reason = alike[0]
        yield f"{len(alike):,} paths like {path}: {_reason_without_path(path, reason)}; {ALL}"
    if rest := ordered[KINDS:]:
        files = count(sum(map(len, rest)), "more path")
        yield f"{files} cannot be used, for {count(len(rest), 'other reason')}; {ALL}"


def _reason_without_path(path: Path, reason: str) -> str:
    """The reason without its path."""
    return reason.removeprefix(str(path)).lstrip(": ")

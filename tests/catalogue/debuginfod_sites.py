"""A small kernel that test servers have, and what a user of theirs is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import kernel_packages as kp
from fetch.fetch_servers import Web

from cas.catalogue.cache import useless
from cas.progress import Advance, Silent
from cas.settings.rules import DebuginfodRules

WORD = "served"
PATH = f"/buildid/{kp.build_id(WORD)}/debuginfo"
BODY = kp.vmlinux(WORD, padding=300_000)


@dataclass
class Watched(Silent):
    """What a user was told."""

    said: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    totals: list[int | None] = field(default_factory=list)
    done: int = 0

    def say(self, text: str) -> None:
        self.said.append(text)

    def warn(self, text: str) -> None:
        self.warned.append(text)

    @contextmanager
    def bar(self, text: str, total: int | None, unit: str = "B") -> Iterator[Advance]:
        self.said.append(text)
        self.totals.append(total)

        def advance(number: int) -> None:
            self.done += number

        yield advance


def rules(*servers: Web, **changes: float) -> DebuginfodRules:
    words: dict[str, object] = {"timeout_s": 5.0, **changes}
    return DebuginfodRules(tuple(one.address for one in servers), **words)  # type: ignore[arg-type]


def left_over(cache: Path) -> list[Path]:
    files = [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return [path for path in files if path.parent.name != useless.DIRECTORY]

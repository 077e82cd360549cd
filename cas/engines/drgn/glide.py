"""What drgn's process is asked for of a deep trace, and the files of modules that go with it."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cas.engines.drgn.first_answer import Message
from cas.errors import CasError
from cas.files import shipped
from cas.files.record import VERSION
from cas.frozen import dataclass

MODULE = re.compile(r"cas_glide_([A-Za-z0-9_-]+)\.py")
MODULE_BYTES = 1 << 20
_KMODS = re.compile(r"(?:#.*\n)*?#\s*kmods:\s*(.*)")
"""The line at the head of a module that names the kernel modules it looks into."""


class UnusableModule(CasError):
    """A module of the deep trace cannot be read."""

    hint = "make it a file that who runs cas can read, shorter than 1 MiB"


@dataclass(frozen=True, slots=True)
class GlideModule:
    """The file of a module."""

    name: str
    """Of the kernel module that it is for, with underscores."""
    path: Path
    text: str

    @property
    def kmods(self) -> tuple[str, ...]:
        """The kernel modules that it looks into, in the kernel's spelling; the first is its own."""
        named = _KMODS.match(self.text)
        return tuple(named[1].replace("-", "_").split() if named else ()) or (self.name,)


@dataclass(frozen=True, slots=True)
class GlideOrder:
    """What a trace is to be of."""

    tasks: str = "all"
    """``panic``, ``cpus``, ``blocked``, ``all``, or process ids between commas."""
    panic_depth: int = 2
    """Pointers to structures that are followed in the panic task, one through the other."""
    depth: int = 0
    """In the others."""
    timeout_s: float = 60.0
    modules: tuple[GlideModule, ...] = ()
    asked: tuple[str, ...] = ()
    """Names of modules that the crash's property ``glide`` asks for."""

    def request(self) -> dict[str, Any]:
        """It as the worker takes it."""
        return {
            "tasks": self.tasks,
            "panic_depth": self.panic_depth,
            "depth": self.depth,
            "timeout_s": self.timeout_s,
            "sources": sources(self.modules),
            "asked": self.asked,
        }


def sources(modules: Iterable[GlideModule]) -> list[tuple[str, str, str, tuple[str, ...]]]:
    """Modules as drgn's process takes them: name, path, text and kernel modules of each."""
    return [(each.name, str(each.path), each.text, each.kmods) for each in modules]


def usable_modules(
    directories: Sequence[Path], tell: Callable[[str], object]
) -> tuple[GlideModule, ...]:
    """The shipped modules and a site's; without all of the site's where one is of no use.

    :param tell: told why
    """
    own = shipped.shipped("glide")
    try:
        return glide_modules((own, *directories))
    except UnusableModule as error:
        tell(f"the deep trace does without the site's modules: {error}")
        return glide_modules((own,))


def headed(records: Iterable[Message], dump: str) -> Iterator[Message]:
    """A trace as it is told, see ``schemas/glide.schema.json``: its first record names the dump.

    :param dump: what to call it
    """
    for record in records:
        is_first = record["kind"] == "start"
        yield {"version": VERSION, "dump": dump, **record} if is_first else record


def glide_modules(directories: Iterable[Path]) -> tuple[GlideModule, ...]:
    """The modules in some directories; a file of a later one takes the place of a namesake.

    :raises UnusableModule: one of them cannot be read
    """
    found: dict[str, GlideModule] = {}
    for directory in directories:
        for path in sorted(directory.glob("cas_glide_*.py")):
            if match := MODULE.fullmatch(path.name):
                name = match[1].replace("-", "_")
                found[name] = GlideModule(name, path, _text_of(path))
    return tuple(found.values())


def _text_of(path: Path) -> str:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise UnusableModule(f"{path} is no file")
        if found.st_size > MODULE_BYTES:
            raise UnusableModule(f"{path} is longer than 1 MiB")
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableModule(f"{path} cannot be read: {error}") from error

"""Which files belong to which kernel modules, by their names alone."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from posixpath import basename

_FILE = re.compile(
    r"(?P<name>[A-Za-z0-9_.+-]{1,128}?)(?P<ko>\.ko)(?P<packed>\.xz|\.gz|\.zst)?(?P<debug>\.debug)?"
)
_DIRECTORIES = ("/updates/", "/extra/", "/kernel/")
"""depmod's order: a module of the first hides one of the same name in the next."""


@dataclass(frozen=True, slots=True)
class KmodFile:
    """What the path of a kernel module's file says."""

    path: str
    kmod: str
    """As the kernel spells it, with underscores."""
    plain_name: str
    """File name without the compression's ending."""
    packed: bool
    rank: tuple[bool, int, str]
    """The lowest of several files is the best: debug information first."""


def kernel_spelling(name: str) -> str:
    """A kmod's name as the kernel has it: ``nf-conntrack`` is ``nf_conntrack``."""
    return name.replace("-", "_")


def parse(path: str) -> KmodFile | None:
    """The kmod that a file belongs to; ``None`` when it is no kmod's."""
    found = _FILE.fullmatch(basename(path))
    if found is None:
        return None
    places = [place for place, part in enumerate(_DIRECTORIES) if part in path]
    debug = found["debug"] or ""
    return KmodFile(
        path=path,
        kmod=kernel_spelling(found["name"]),
        plain_name=found["name"] + ".ko" + debug,
        packed=found["packed"] is not None and not debug,
        rank=(not debug, min(places, default=len(_DIRECTORIES)), path),
    )


def choose(paths: Iterable[str], wanted: Collection[str]) -> dict[str, KmodFile]:
    """The best file of each wanted kmod.

    :param wanted: names as the kernel spells them
    """
    best: dict[str, KmodFile] = {}
    for file in map(parse, paths):
        if file is None or file.kmod not in wanted:
            continue
        if file.kmod not in best or file.rank < best[file.kmod].rank:
            best[file.kmod] = file
    return best


def names(paths: Iterable[str]) -> set[str]:
    """The kmods that the paths belong to."""
    return {file.kmod for file in map(parse, paths) if file is not None}


def in_directory(directory: Path, wanted: Collection[str]) -> dict[str, Path]:
    """The wanted kmods that stand in a directory of the cache."""
    if not wanted:
        return {}
    try:
        names = [path.name for path in directory.iterdir()]
    except OSError:
        return {}
    return {kmod: directory / file.path for kmod, file in choose(names, wanted).items()}

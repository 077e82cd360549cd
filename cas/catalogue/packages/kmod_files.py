"""Which files belong to which kernel modules, by their names alone.

The layouts that are known: ``NAME.ko.debug`` of Red Hat, Fedora and SUSE; ``NAME.ko.xz.debug``
where the module itself is compressed; ``NAME.ko-VERSION.ARCH.debug``, RPM's unique names, of the
vendors' ``kmod-*-debuginfo``; ``usr/lib/debug/lib/modules/…/NAME.ko`` of Debian; and the modules
themselves, ``NAME.ko``, also compressed, which tell symbols but no lines.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from posixpath import basename

from cas.frozen import dataclass
from cas.model.kernel import Kernel

NAME = re.compile(r"[A-Za-z0-9_.+-]{1,128}")
"""What the name of a kmod may be; the kernel allows 55 characters of it (MODULE_NAME_LEN in
Linux's include/linux/module.h, less the NUL)."""
_FILE = re.compile(
    r"(?P<name>[A-Za-z0-9_.+-]{1,128}?)\.ko(?P<inside>\.xz|\.gz|\.zst)?"
    r"(?:(?:-[A-Za-z0-9_.+~^-]{1,128})?(?P<debug>\.debug)(?P<outside>\.xz|\.gz|\.zst)?)?"
)
_DIRECTORIES = ("/updates/", "/extra/", "/kernel/")
"""depmod's order: a module of the first hides one of the same name in the next."""
_DEBUG_TREE = "usr/lib/debug/"


@dataclass(frozen=True, slots=True)
class KmodFile:
    """What the path of a kernel module's file says."""

    path: str
    kmod: str
    """Name of the kernel module as the kernel spells it, with underscores."""
    plain_name: str
    """File name without the compression's ending."""
    packed: bool
    """Its name says that it is compressed; only the content tells."""
    rank: tuple[bool, int, str]
    """The lowest of several files is the best: debug information first."""


def kernel_spelling(name: str) -> str:
    """A kmod's name as the kernel has it: ``nf-conntrack`` is ``nf_conntrack``."""
    return name.replace("-", "_")


def parse_kmod_name(path: str) -> KmodFile | None:
    """The kmod that a file belongs to; ``None`` when it is no kmod's."""
    found = _FILE.fullmatch(basename(path))
    if found is None:
        return None
    places = [place for place, part in enumerate(_DIRECTORIES) if part in path]
    debug = found["debug"] or ""
    is_debug = bool(debug) or _DEBUG_TREE in path
    return KmodFile(
        path=path,
        kmod=kernel_spelling(found["name"]),
        plain_name=found["name"] + ".ko" + debug,
        packed=bool(found["inside"] or found["outside"]),
        rank=(not is_debug, min(places, default=len(_DIRECTORIES)), path),
    )


def ranked(paths: Iterable[str], wanted: Collection[str]) -> dict[str, list[KmodFile]]:
    """All files of each wanted kmod, the best one first.

    :param wanted: names as the kernel spells them
    """
    files: dict[str, list[KmodFile]] = {}
    for file in map(parse_kmod_name, paths):
        if file is not None and file.kmod in wanted:
            files.setdefault(file.kmod, []).append(file)
    for several in files.values():
        several.sort(key=lambda file: file.rank)
    return files


def of_kernel(kernel: Kernel, paths: Iterable[str]) -> list[str]:
    """Paths that may be files of kmods of this kernel."""
    part = f"lib/modules/{kernel.release}/"
    return [path for path in paths if part in path]


def kmod_names(paths: Iterable[str]) -> set[str]:
    """The kmods that the paths belong to."""
    return {file.kmod for file in map(parse_kmod_name, paths) if file is not None}

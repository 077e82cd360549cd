"""A vmlinux that stands on this machine already, where distributions install it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from cas import elf
from cas.catalogue.packages import debug_info
from cas.errors import NotADump
from cas.files.whole import is_file
from cas.model.kernel import Kernel, KernelIdentity

_LAYOUTS = (
    "usr/lib/debug/lib/modules/{}/vmlinux",
    "usr/lib/debug/usr/lib/modules/{}/vmlinux",
    "usr/lib/debug/usr/lib/modules/{}/vmlinux.debug",
    "usr/lib/debug/boot/vmlinux-{}",
    "usr/lib/debug/boot/vmlinux-{}.debug",
    "usr/lib/debug/lib/modules/{}/vmlinux.debug",
    "lib/modules/{}/build/vmlinux",
    "lib/modules/{}/vmlinux",
)
_KMOD_LAYOUTS = (
    "usr/lib/debug/lib/modules/{}",
    "usr/lib/debug/usr/lib/modules/{}",
    "lib/modules/{}",
)
_KMOD_TREES = ("updates", "extra", "kernel")
_RELEASE = re.compile(r"[0-9][A-Za-z0-9._+~-]{0,127}")


def find_installed(identity: KernelIdentity, root: Path) -> Kernel | None:
    """The installed vmlinux with the dump's build-id.

    :param root: where the file system begins; ``/`` but for tests
    """
    if (
        identity.build_id is None
        or identity.osrelease is None
        or not _RELEASE.fullmatch(identity.osrelease)
    ):
        return None
    for layout in _LAYOUTS:
        path = root / layout.format(identity.osrelease)
        if not is_file(path):
            continue
        with suppress(NotADump):
            if elf.build_id(path) == identity.build_id and debug_info.flaw(path) is None:
                return Kernel(
                    release=identity.osrelease,
                    arch=identity.arch,
                    source=path,
                    member=None,
                    build_id=identity.build_id,
                    size_bytes=path.stat().st_size,
                )
    return None


def kmod_paths(kernel: Kernel, root: Path | None) -> Iterator[Path]:
    """Files of kernel modules that are installed for a kernel.

    :param root: where the file system begins, for a kernel that is not installed; ``None``: nowhere
    """
    own = _root(kernel)
    if own is None and kernel.member is None:
        # a vmlinux that lies anywhere: beside it, and in a tree like that of lib/modules
        directory = kernel.source.parent
        yield from directory.glob("*.ko*")
        for name in _KMOD_TREES:
            yield from (directory / name).rglob("*.ko*")
    root = own or root
    if root is None or not _RELEASE.fullmatch(kernel.release):
        return
    for layout in _KMOD_LAYOUTS:
        yield from (root / layout.format(kernel.release)).rglob("*.ko*")


def is_beside(kernel: Kernel, path: Path) -> bool:
    """Whether a file is installed together with the vmlinux itself."""
    root = _root(kernel) or (kernel.source.parent if kernel.member is None else None)
    return root is not None and path.is_relative_to(root)


def _root(kernel: Kernel) -> Path | None:
    """The root that `find_installed` was given."""
    if kernel.member is not None:
        return None
    for layout in _LAYOUTS:
        tail = layout.format(kernel.release)
        if str(kernel.source).endswith("/" + tail):
            return Path(str(kernel.source)[: -len(tail)])
    return None

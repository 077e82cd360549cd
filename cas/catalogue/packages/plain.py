"""A vmlinux that lies somewhere as a plain file, with its debug information.

So is a directory tree of installed debug information: its kmods are looked for when one is needed.
"""

from __future__ import annotations

import re
from pathlib import Path

from cas import elf
from cas.catalogue.packages import debug_info
from cas.catalogue.packages.rpm_layout import flavour
from cas.database.records import Package, PackagedKernel, PackageKind
from cas.errors import NotADump, PackageError
from cas.text import short_line

MAGIC = b"\x7fELF"
NAME = re.compile(
    r".*/vmlinux(?:-[0-9](?![^/]*\.(?:gz|xz|bz2|lzma|zst|lz4)$)[^/]*)?(?:\.debug)?", re.DOTALL
)
"""The whole path of a file that may be one; distributions' compressed ones have no debug
information."""

_RELEASE = re.compile(r"[0-9][A-Za-z0-9._+~-]{0,127}")
_BANNER = re.compile(r"Linux version (\S+)")
_NAMED = re.compile(r"vmlinux-(.+?)(?:\.debug)?")
_NAME_LIMIT = 200


def read_vmlinux(path: Path) -> Package:
    """What a vmlinux says about itself.

    :raises PackageError: it is no vmlinux, has no debug information, or is damaged
    :raises OSError: the file cannot be read
    """
    size = path.stat().st_size
    try:
        with elf.opened(path) as read:
            header = elf.header(read)
            if header.type not in (elf.ET_EXEC, elf.ET_DYN):
                raise NotADump("it is an object file, a kmod or a dump")
            build_id, banner = elf.build_id_of(read), elf.linux_banner_of(read)
            if build_id is None and banner is None:
                raise NotADump("it has neither a build-id nor a banner")
            arch = elf.arch(header)
        if wrong := debug_info.flaw(path):
            advice = "; get the one of the debuginfo package" if wrong == debug_info.NONE else ""
            raise NotADump(f"it {wrong}{advice}")
    except NotADump as error:
        if isinstance(error.__cause__, OSError):
            raise error.__cause__ from error
        raise PackageError(f"{path} is no vmlinux: {error}") from error
    # of a vmlinux without contents only its name or directory tells
    named = _BANNER.match(banner) if banner else _NAMED.fullmatch(path.name)
    release = named[1] if named else path.parent.name
    if not _RELEASE.fullmatch(release):
        raise PackageError(
            f"{path} does not say which release it is, {short_line(release, 80)!r} is none"
        )
    kernel = PackagedKernel(
        release=release,
        flavour=flavour(release),
        member=None,
        build_id=build_id,
        size_bytes=size,
        banner=banner,
        is_examined=True,
    )
    return Package(
        short_line(path.name, _NAME_LIMIT), arch, None, (kernel,), kind=PackageKind.VMLINUX
    )

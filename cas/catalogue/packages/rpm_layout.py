"""Where distributions put a kernel's debug information, and what their releases tell."""

from __future__ import annotations

import re
from posixpath import join, normpath

_RELEASE = r"[0-9][A-Za-z0-9._+~-]{0,127}"
_MODULES = rf"/usr/lib(?:64)?/debug/(?:usr/)?lib/modules/(?P<modules>{_RELEASE})"
_VMLINUX = re.compile(
    rf"{_MODULES}/vmlinux(?:-{_RELEASE}?)?(?:\.debug)?"
    rf"|/usr/lib/debug/(?:usr/)?boot/vmlinux-(?P<boot>{_RELEASE}?)(?:\.debug)?"
)
_KMOD_DIRECTORY = re.compile(rf"(?:{_MODULES}|(?:/usr)?/lib/modules/(?P<plain>{_RELEASE}))/")
A_RELEASE = re.compile(rf"/lib/modules/({_RELEASE})/".encode())
"""Finds a release in a list of directories."""
_BUILD_ID_LINK = re.compile(
    r".*/\.build-id/([0-9a-f]{2})/([0-9a-f]{6,126})(?:\.[0-9]{1,3})?(\.debug)?"
)
_KMOD_ENDS = tuple(
    f".ko{packed}{debug}".encode()
    for packed in ("", ".xz", ".gz", ".zst")
    for debug in ("", ".debug")
)

_FLAVOUR = re.compile(
    r"\+(?P<plus>[A-Za-z0-9-]+)$"
    r"|\.(?:el|fc)\d+(?:_\d+)?(?:\.\d+)*\.?(?:i[3-6]86\.)?"
    r"(?P<el>PAE(?:-?debug)?|xen|smp|largesmp|hugemem|kdump|debug)$"
    r"|EL(?P<EL>smp|largesmp|hugemem|xenU?)$"
    r"|\.(?P<dot>debug|rt|64k|kdump|lpae|zfcpdump)$"
    r"|\d-(?P<suse>64kb|[a-z][a-z0-9_]*(?:-[a-z][a-z0-9_]*)?)$"
)
_FAMILY = re.compile(r"(?P<uek>uek)(?:[.+]|$)|\.(?P<rt>rt)\d+\.")
"""Variants that a release names in its middle, and that have variants of their own."""
_PACKAGE = re.compile(r"kernel-(?!debuginfo)(.{1,32})-debuginfo")

_ARCHES = {
    "i386": "i686",
    "i486": "i686",
    "i586": "i686",
    "athlon": "i686",
    "amd64": "x86_64",
    "ia32e": "x86_64",
    "x86_64_v2": "x86_64",
    "x86_64_v3": "x86_64",
    "x86_64_v4": "x86_64",
    "arm64": "aarch64",
    "ppc64el": "ppc64le",
    "ppc64p7": "ppc64",
    "armv5tel": "arm",
    "armv6hl": "arm",
    "armv7l": "arm",
    "armv7hl": "arm",
    "armv7hnl": "arm",
}


def uname_arch(arch: str) -> str:
    """A package's architecture as ``uname -m`` spells it."""
    return _ARCHES.get(arch, arch)


def flavour(release: str, package: str = "") -> str:
    """The kernel variant: ``rt``, ``PAE``, ``default``, ``uek-debug``, …; empty for the plain one.

    :param package: its name, which tells where the release does not
    """
    variant, family = _first_group(_FLAVOUR, release), _first_group(_FAMILY, release)
    if family and family not in variant.split("-"):
        return f"{family}-{variant}" if variant else family
    if variant:
        return variant
    named = _PACKAGE.fullmatch(package)
    return named[1] if named else ""


def vmlinux_release(path: str) -> str | None:
    """Release of the kernel whose vmlinux has this path; ``None`` for any other path."""
    found = _VMLINUX.fullmatch(path)
    return (found["modules"] or found["boot"]) if found else None


def kmods_release(directory: str) -> str | None:
    """Release of the kernel whose kmods stand in this directory, which ends in a slash."""
    found = _KMOD_DIRECTORY.match(directory)
    return (found["modules"] or found["plain"]) if found else None


def is_kmod(name: bytes) -> bool:
    """Whether a file name is a kmod's, or that of its debug information."""
    # openEuler's are like xfs.ko-5.10.0-60.18.0.50.oe2203.x86_64.debug.
    return name.endswith(_KMOD_ENDS) or (b".ko-" in name and name.endswith(b".debug"))


def linked_build_id(link: str) -> str | None:
    """The build-id that the path of a ``.build-id`` link spells; ``None`` for any other path."""
    found = _BUILD_ID_LINK.fullmatch(link)
    return found[1] + found[2] if found else None


def linked_path(directory: str, target: str) -> str:
    """Where a symbolic link in a directory leads to."""
    return normpath(join(directory, target))


def installed_vmlinux(release: str) -> tuple[str, str]:
    """Where the kernel's own package would have a vmlinux: a plain ``.build-id`` link's target."""
    return f"/lib/modules/{release}/vmlinux", f"/usr/lib/modules/{release}/vmlinux"


def _first_group(pattern: re.Pattern[str], release: str) -> str:
    found = pattern.search(release)
    return next((text for text in found.groups() if text), "") if found else ""

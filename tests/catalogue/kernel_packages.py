"""Small kernels and the RPM packages that hold them, made by rpmbuild."""

import hashlib
import os
import pickle
import struct
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

FILTER = r".*kerne.+-debuginfo-[0-9].*\.rpm"
RELEASE = "5.14.0-427.el9.x86_64"
STAMP = "#1 SMP PREEMPT_DYNAMIC Mon Mar  3 10:15:00 UTC 2025"

NOTE_OFFSET, RODATA_OFFSET = 0x200, 0x400


_BUILT: dict[bytes, bytes] = {}
"""Packages by the digest of their recipe."""


def build_id(word: str) -> str:
    return hashlib.sha1(word.encode(), usedforsecurity=False).hexdigest()


def banner(release: str = RELEASE, stamp: str = STAMP) -> str:
    return f"Linux version {release} (mock@build) (gcc (GCC) 11.4.1, GNU ld 2.35) {stamp}"


def elf(
    identity: str | None, text: str = "", padding: int = 0, extra_section: str = ".extra"
) -> bytes:
    """An ELF file with a build-id note and a banner in ``.rodata``, padded with zeros.

    Its last section holds an empty unit of DWARF 5, whatever it is called.
    """
    note = b""
    if identity is not None:
        desc = bytes.fromhex(identity)
        note = struct.pack("<III4s", 4, len(desc), 3, b"GNU\0") + desc
    rodata = (text + "\n\0").encode() if text else b"nothing\0"
    names = b"\0.notes\0.rodata\0.shstrtab\0" + extra_section.encode() + b"\0"
    names_offset = RODATA_OFFSET + len(rodata) + padding
    unit = struct.pack("<IHBBIB", 9, 5, 1, 8, 0, 0)
    unit_offset = names_offset + len(names)
    sections = [
        (0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
        (1, 7, 2, 0, NOTE_OFFSET, len(note), 0, 0, 4, 0),
        (8, 1, 2, 0, RODATA_OFFSET, len(rodata), 0, 0, 1, 0),
        (16, 3, 0, 0, names_offset, len(names), 0, 0, 1, 0),
        (26, 1, 0, 0, unit_offset, len(unit), 0, 0, 1, 0),
    ]
    segments = [
        (1, 4, RODATA_OFFSET, 0x1000, 0x1000, len(rodata), len(rodata), 4096),
        (4, 4, NOTE_OFFSET, 0, 0, len(note), len(note), 4),
    ]
    table = unit_offset + len(unit)
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, 0, 64, table, 0, 64, 56, len(segments), 64, len(sections), 3
    )
    head += b"".join(struct.pack("<IIQQQQQQ", *(s[0], s[1], *s[2:])) for s in segments)
    body = head.ljust(NOTE_OFFSET, b"\0") + note
    body = body.ljust(RODATA_OFFSET, b"\0") + rodata + bytes(padding) + names + unit
    return body + b"".join(struct.pack("<IIQQQQIIQQ", *section) for section in sections)


def vmlinux(word: str, release: str = RELEASE, stamp: str = STAMP, padding: int = 0) -> bytes:
    return elf(build_id(word), banner(release, stamp), padding, ".debug_info")


@dataclass(frozen=True)
class Recipe:
    """What goes into a package."""

    files: Mapping[str, bytes]
    links: Mapping[str, str] = field(default_factory=dict)
    name: str = "kernel-debuginfo"
    version: str = "5.14.0"
    release: str = "427.el9"
    arch: str = "x86_64"
    payload: str = "w6.xzdio"


def debuginfo(
    word: str, release: str = RELEASE, *, linked: bool = True, kmods: Mapping[str, bytes] = {}
) -> tuple[dict[str, bytes], dict[str, str]]:
    """Files and links of a kernel's debuginfo, in Red Hat's layout."""
    directory = f"/usr/lib/debug/lib/modules/{release}"
    files = {f"{directory}/vmlinux": vmlinux(word, release)}
    files |= {f"{directory}/kernel/{name}": content for name, content in kmods.items()}
    return files, build_id_links(build_id(word), release) if linked else {}


def build_id_links(identity: str, release: str) -> dict[str, str]:
    link = f"/usr/lib/debug/.build-id/{identity[:2]}/{identity[2:]}"
    return {
        f"{link}.debug": f"../../lib/modules/{release}/vmlinux",
        link: f"../../../../../lib/modules/{release}/vmlinux",
    }


def build(recipe: Recipe, directory: Path) -> Path:
    """The package file, below the directory; rpmbuild is run once for each recipe."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{recipe.name}-{recipe.version}-{recipe.release}.{recipe.arch}.rpm"
    key = hashlib.sha256(pickle.dumps(recipe)).digest()
    if key in _BUILT:
        path.write_bytes(_BUILT[key])
    else:
        _run_rpmbuild(recipe, directory)
        _BUILT[key] = path.read_bytes()
    return path


def _run_rpmbuild(recipe: Recipe, directory: Path) -> None:
    top = directory / ".rpmbuild"
    tree = top / "tree"
    for path, content in recipe.files.items():
        target = tree / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    for path, to in recipe.links.items():
        target = tree / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(to)
    spec = top / "package.spec"
    spec.write_text(_spec(recipe, tree))
    macros = (
        f"_topdir {top}",
        f"_rpmdir {directory}",
        "_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
        f"_binary_payload {recipe.payload}",
    )
    defines = [word for macro in macros for word in ("--define", macro)]
    subprocess.run(
        ["rpmbuild", "-bb", "--quiet", "--target", recipe.arch, *defines, spec],
        check=True,
        capture_output=True,
        env={"PATH": os.environ["PATH"], "HOME": str(top), "LC_ALL": "C"},
    )
    subprocess.run(["rm", "-rf", top], check=True)


def _spec(recipe: Recipe, tree: Path) -> str:
    listed = "\n".join(f'"{path}"' for path in [*recipe.files, *recipe.links])
    return f"""
Name: {recipe.name}
Version: {recipe.version}
Release: {recipe.release}
Summary: A small kernel
License: GPL-2.0-only
AutoReqProv: no
%global debug_package %{{nil}}
%global _build_id_links none
%global __os_install_post %{{nil}}
%description
For tests.
%install
mkdir -p %{{buildroot}}
cp -a {tree}/. %{{buildroot}}/
%files
{listed}
"""

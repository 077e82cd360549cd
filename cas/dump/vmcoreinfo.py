"""VMCOREINFO: the KEY=value lines that a kernel leaves for readers of its dump.

Source: Documentation/admin-guide/kdump/vmcoreinfo.rst; kernel/crash_core.c for how each is printed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field

from cas.dump.memory import Absent
from cas.frozen import dataclass

TEXT_LIMIT = 1 << 16
"""VMCOREINFO_BYTES is a page, and pages are at most 64 KiB."""
_KEY_LIMIT = 128
_BUILD_ID = re.compile(r"[0-9a-f]{16,128}")
_ARCH_LINES = {
    "NUMBER(phys_base)": "x86_64",
    "NUMBER(kimage_voffset)": "aarch64",
    "SAMODE31": "s390x",
    "NUMBER(phys_ram_base)": "riscv64",
    "SYMBOL(mmu_vmemmap_psize)": "ppc64",
    "CONFIG_X86_PAE": "i686",
    "CONFIG_ARM_LPAE": "arm",
}
"""phys_base is told by its value since Linux 4.10 (401721ecd1dc), kimage_voffset since Linux 4.12
(20a166243328)."""


@dataclass(frozen=True, slots=True)
class VmcoreInfo:
    """The lines, with lookups by kind: addresses are hexadecimal, all else decimal."""

    lines: Mapping[str, str] = field(default_factory=dict)

    def symbol(self, name: str) -> int | None:
        """Address of a symbol, as the running kernel had it."""
        return self._integer(f"SYMBOL({name})", 16)

    def number(self, name: str) -> int | None:
        """A number; arm64 and riscv print some with ``0x``."""
        return self._integer(f"NUMBER({name})", 0)

    def size(self, name: str) -> int:
        """Size of a structure in bytes.

        :raises Absent: not told, or more than any structure has
        """
        return self._small(f"SIZE({name})")

    def offset(self, name: str) -> int:
        """Offset of a member in bytes; see `size`."""
        return self._small(f"OFFSET({name})")

    def hexadecimal(self, key: str) -> int | None:
        """A plain line such as ``KERNELOFFSET``, printed without ``0x``, since Linux 3.14
        (b6085a865762)."""
        return self._integer(key, 16)

    def decimal(self, key: str) -> int | None:
        """A plain line such as ``CRASHTIME``."""
        return self._integer(key, 10)

    def _small(self, key: str) -> int:
        value = self._integer(key, 10)
        if value is None or not 0 <= value <= 4096:
            raise Absent(f"VMCOREINFO has no usable {key}")
        return value

    def _integer(self, key: str, base: int) -> int | None:
        text = self.lines.get(key, "")
        try:
            return int(text, base) if len(text) < 32 else None
        except ValueError:
            return None


def parse_vmcoreinfo(text: bytes) -> VmcoreInfo:
    """The lines of a note or of the page in memory; what is no KEY=value line is skipped."""
    lines = text[:TEXT_LIMIT].split(b"\0")[0].decode("utf-8", "replace").split("\n")
    pairs = (line.partition("=") for line in lines)
    return VmcoreInfo(
        {key: value for key, equals, value in pairs if equals and len(key) < _KEY_LIMIT}
    )


def arch_told(info: VmcoreInfo) -> str | None:
    """The architecture that only one kind of kernel's lines tell; ``ppc64`` of both byte orders."""
    return next((arch for line, arch in _ARCH_LINES.items() if line in info.lines), None)


def build_id(info: VmcoreInfo) -> str | None:
    """The kernel's build-id in lower-case hex; ``None`` when it is absent, as before Linux 5.9
    (0935288c6e00), or no such thing."""
    value = info.lines.get("BUILD-ID", "").lower()
    return value if _BUILD_ID.fullmatch(value) else None

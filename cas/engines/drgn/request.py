"""What drgn's process is told of a case that it shall open."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from cas import elf
from cas.choices import Cause
from cas.errors import NotADump
from cas.model.case import Case
from cas.model.dump import Dump


def files_of(case: Case) -> tuple[Path, ...]:
    """The dump, the vmlinux, and the debug files of the kernel modules in their order."""
    return (case.dump.path, case.vmlinux, *case.kmods.values())


def open_request(case: Case) -> dict[str, Any]:
    """The worker's request to open it."""
    return {
        "names": [str(path.absolute()) for path in files_of(case)],
        "arch": case.dump.arch,
        "kmods": list(case.kmods),
        "vmcoreinfo": vmcoreinfo_text(case.dump),
        "known": facts_to_compare(case),
        "ahead": False,
    }


def unknown_case(dump: Path, vmlinux: Path) -> dict[str, Any]:
    """The same of two files of which nothing is known."""
    return {
        "names": [str(dump.absolute()), str(vmlinux.absolute())],
        "arch": None,
        "kmods": [],
        "vmcoreinfo": None,
        "known": {},
        "forced": False,
        "ahead": True,
    }


def vmcoreinfo_text(dump: Dump) -> str | None:
    """VMCOREINFO as it is known of the dump, which its headers may have otherwise."""
    lines = (f"{key}={text}\n" for key, text in dump.vmcoreinfo.items())
    return "".join(lines) or None


def foreseen_death(dump: Dump) -> str | None:
    """Why drgn shall not read a dump by itself where nobody can start it again."""
    if "KDUMP" in dump.format and any(lack.cause is Cause.CUT for lack in dump.missing):
        return "libkdumpfile dies of a page that crosses the end of a cut file"
    return None


def facts_to_compare(case: Case) -> dict[str, Any]:
    """What drgn must read through the vmlinux again, if that is the dump's kernel."""
    banner = case.dump.banner or None
    if banner is None:
        with suppress(NotADump):
            banner = elf.linux_banner(case.vmlinux)
    return {"banner": banner, "release": case.dump.osrelease}

"""Crashes in a site's archive, made of one shipped dump: each with another register note."""

from __future__ import annotations

from pathlib import Path

from installed import Site

_STATUS = b"\x05\0\0\0\x50\x01\0\0\x01\0\0\0CORE\0\0\0\0"
"""How the note NT_PRSTATUS of x86_64 begins: sizes of name and content, type, name."""
_SIGPEND = 16
"""Offset of ``pr_sigpend`` in ``struct elf_prstatus``, which no debugger looks at."""


def another_crash(vmcore: Path, number: int, path: Path) -> Path:
    """A copy of a dump that is of another crash, by what the first processor's note says."""
    data = bytearray(vmcore.read_bytes())
    at = data.index(_STATUS) + len(_STATUS) + _SIGPEND
    data[at : at + 8] = number.to_bytes(8, "little")
    path.write_bytes(data)
    return path


def archived(site: Site, dump: Path, ticket: str = "T-1") -> str:
    """The id of a dump's crash, once a job has brought it into the archive.

    The job waits for a kernel, and so ends in a moment: the site's catalogue is hidden from it.
    """
    settings = dict(site.settings)
    site.settings |= {"kernels": f"{site.directory}/none", "database": f"{site.directory}/jobs.db"}
    site.settings["debugs"] = f"{site.directory}/no-debugs"
    try:
        done = site.cas("-i", ticket, "-f", dump)
        assert done.returncode == 6, done.stderr
    finally:
        site.settings.clear()
        site.settings |= settings
    return site.cas("object", dump).stdout.strip()

"""An upload need not lie on the file system of the jobs."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from installed import Site

MEMORY = Path("/dev/shm")


def test_an_upload_on_another_file_system_is_copied(site: Site, vmcore: Path) -> None:
    if not MEMORY.is_dir() or MEMORY.stat().st_dev == site.directory.stat().st_dev:
        pytest.skip(f"{MEMORY} is no file system of its own here")
    site.settings["debugs"] = str(site.directory / "debugs")
    with tempfile.TemporaryDirectory(dir=MEMORY) as elsewhere:
        upload = Path(shutil.copy(vmcore, elsewhere))
        assert site.cas("-i", "T-1", "-f", upload).returncode == 6
    assert (site.job("T-1") / "vmcore" / "vmcore.elf").read_bytes() == vmcore.read_bytes()

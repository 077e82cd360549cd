"""A dump to which drgn alone is blind: CAS reads it, in the job and in the session."""

from __future__ import annotations

import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
from dump.rewritten import as_kdump_of_qemu

from installed import FIXTURES, Site


@pytest.mark.long
def test_an_arm64_dump_by_qemu_as_kdump_gives_what_the_elf_one_gives(
    site: Site, catalogued: Callable[[Site, str], Site], tmp_path: Path
) -> None:
    core, dump = tmp_path / "vmcore.elf", tmp_path / "vmcore.kdump"
    core.write_bytes(lzma.decompress((FIXTURES / "arm64" / "vmcore.elf.xz").read_bytes()))
    dump.write_bytes(as_kdump_of_qemu(core))
    site = catalogued(site, "arm64")
    site.keep_snippets("sys", "traceback")
    done = site.cas("-i", "T-1", "-f", dump)
    assert done.returncode == 0, done.stderr
    result = site.result("T-1")
    assert (result["verdict"], result["engine"]) == ("complete", "drgn")
    assert "CAS itself reads this dump, for drgn cannot" in "".join(result["remarks"])
    assert result["finding"]["where"].startswith("cas_balance [cas_oops] at ")
    assert result["answer"]["panic_task"]["comm"].startswith("kworker/1:")
    assert {section["status"] for section in result["sections"]} == {"ok"}
    assert "entry->account" in str(result["fault"])
    assert "cas_audit_ledger" in (site.job("T-1") / "traceback").read_text()
    assert "vmcore.kdump" in (site.job("T-1") / "sys").read_text()
    debugged = site.cas("debug", "--engine", "drgn", "T-1", input="mod\n")
    assert debugged.returncode == 0, debugged.stderr
    assert "nf_cas_dummy" in debugged.stdout
    assert "CAS itself reads this dump" in debugged.stderr

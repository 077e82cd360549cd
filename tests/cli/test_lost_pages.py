"""Pages of a KDUMP that were lost: a job never calls such a dump whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from installed import Site


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.long
def test_a_block_of_zeros_amid_the_pages_is_found_beside_the_debuggers(
    site_a: Site, converted: Callable[..., Path], tmp_path: Path
) -> None:
    site_a.settings["engine"] = "drgn"
    site_a.keep_snippets("sys")
    data = bytearray(converted("-c", "-d", "31").read_bytes())
    at = (len(data) // 2) & -4096
    data[at : at + 4096] = bytes(4096)
    (tmp_path / "upload").mkdir()
    spoilt = tmp_path / "upload" / "vmcore"
    spoilt.write_bytes(data)
    identity = site_a.cas("identify", spoilt)
    assert (identity.returncode, "pages checked)" in identity.stdout) == (0, True)  # no more was
    cut = site_a.cas("identify", written(tmp_path / "cut", data[:-5000]))
    assert cut.returncode == 3
    assert f"from byte {len(data) - 5000:,} on" in cut.stdout
    done = site_a.cas("-i", "T-1", "-f", spoilt)
    assert done.returncode == 3, done.stderr
    assert "the dump is damaged: " in done.stderr
    result = site_a.result("T-1")
    assert result["verdict"] == "partial"
    (missing,) = result["missing"]
    assert missing["what"].endswith(f"of {result['dump']['pages']} pages do not unpack")
    assert at - 4096 < missing["offset"] < at + 4096
    assert missing["cause"] == "pages"
    assert result["dump"]["checked"] == "pages"
    assert "not those that were written" in result["customer_note"]
    assert "dump damaged" in result["finding"]["confidence"]


@pytest.mark.long
def test_what_is_known_of_a_whole_dump_is_said(
    site_a: Site, converted: Callable[..., Path]
) -> None:
    site_a.settings["engine"] = "drgn"
    site_a.keep_snippets("sys")
    done = site_a.cas("-i", "T-1", "-f", converted("-c", "-d", "31"))
    assert done.returncode == 0, done.stderr
    result = site_a.result("T-1")
    assert (result["dump"]["format"], result["dump"]["checked"]) == ("KDUMP", "pages")
    assert any(frame["kmod"] == "cas_oops" for frame in result["answer"]["backtrace"])
    assert "whole, every page checked" in (site_a.job("T-1") / "report.txt").read_text()

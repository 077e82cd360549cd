"""What happens to dumps on their way: changed line ends, and files put together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from writer import Elf, Kdump, flattened, identified, info_note, kernel_memory

from cas.choices import Cause

from installed import Site

MEMORY, INFO = kernel_memory()
PAGES = {at // 4096 + n: data[4096 * n :][:4096] for at, data in MEMORY.items() for n in (0, 1)}
ELF = Elf(MEMORY, [info_note(INFO)]).build()
KDUMP = Kdump(PAGES, INFO).build()
SMALL = {"elf": ELF, "kdump": KDUMP, "flat": flattened(KDUMP)}
CHANGES = {
    "added": lambda data: data.replace(b"\n", b"\r\n"),
    "taken out": lambda data: data.replace(b"\r\n", b"\n"),
}


@pytest.fixture(params=["ELF", "-c", "-F"])
def dump(request: pytest.FixtureRequest, vmcore: Path, converted: Callable[..., Path]) -> bytes:
    """The shipped dump in a format, at most 16 MiB of it."""
    if request.param == "ELF":
        return vmcore.read_bytes()
    packed = converted("-c", "-d", "31").read_bytes()
    return flattened(packed, 1 << 16) if request.param == "-F" else packed


@pytest.mark.parametrize("done", CHANGES)
def test_line_ends_that_were_changed_are_told(dump: bytes, tmp_path: Path, done: str) -> None:
    changed = CHANGES[done](dump)
    found = identified(tmp_path, changed).missing[0]
    assert found.cause is Cause.CONVERTED
    assert f"they were {done} by a transfer in text mode" in found.what
    assert found.offset == (dump.index(b"\n") if done == "added" else None)


def test_a_dump_that_is_only_cut_was_not_in_text_mode(dump: bytes, tmp_path: Path) -> None:
    cut = identified(tmp_path, dump[:-100_000])
    assert cut.missing
    assert Cause.CONVERTED not in {lack.cause for lack in cut.missing}


@pytest.mark.parametrize("first", SMALL)
@pytest.mark.parametrize("second", SMALL)
def test_a_second_dump_in_the_file_is_told(first: str, second: str, tmp_path: Path) -> None:
    for gap in (0, -len(SMALL[first]) % 4096):
        dump = identified(tmp_path, SMALL[first] + bytes(gap) + SMALL[second])
        assert dump.is_whole
        at = len(SMALL[first]) + gap
        assert any(f"another dump begins at {at}," in remark for remark in dump.remarks)


@pytest.mark.parametrize("first", SMALL)
def test_bytes_behind_a_dump_are_told_unless_they_are_zeros(first: str, tmp_path: Path) -> None:
    padded = identified(tmp_path, SMALL[first] + bytes(100_000))
    assert (padded.missing, padded.remarks) == ((), ())
    followed = identified(tmp_path, SMALL[first] + b"what a partition held before" * 200)
    assert followed.is_whole
    assert "stand behind the end of the dump" in followed.remarks[0]


def test_text_mode_asks_for_the_dump_in_binary_mode(site: Site, vmcore: Path) -> None:
    spoilt = site.directory / "spoilt"
    spoilt.write_bytes(CHANGES["added"](vmcore.read_bytes()))
    site.settings["debugs"] = str(site.directory / "debugs")
    done = site.cas("-i", "T-1", "-f", spoilt)
    assert done.returncode == 6
    result = site.result("T-1")
    assert result["missing"][0]["cause"] == "converted"
    assert "in binary mode" in result["customer_note"]
    assert any("in binary mode" in step for step in result["finding"]["next_steps"])

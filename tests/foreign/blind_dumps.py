"""Real dumps to which drgn alone is blind, against the same guest's in a form that it reads."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from installed import Site

FOREIGN = Path(os.environ.get("CAS_FOREIGN", "/nowhere"))
FED = "CAS itself reads this dump, for drgn cannot: "
MOVED = "the dump's headers do not say how far the kernel was moved: by 0x"


@dataclass(frozen=True)
class Guest:
    """A guest that crashed, in two dumps."""

    directory: Path
    """Holds both, and its package."""
    blind: str
    seen: str
    why: str
    """What drgn alone says of the first."""
    remark: str = ""
    """What is said of both."""


GUESTS = (
    Guest(FOREIGN / "dump/arm64-16k", "vmcore.kdump", "vmcore.elf.xz", "Out-of-bounds PFN"),
    Guest(FOREIGN / "riscv64", "vmcore.elf", "vmcore.kdump", "could not find memory segment"),
    Guest(
        FOREIGN / "dump/i686",
        "vmcore-moved.elf.xz",
        "vmcore-moved.kdump",
        "could not find memory segment",
        MOVED,
    ),
)


@pytest.fixture(params=GUESTS, ids=lambda guest: str(guest.directory.name))
def guest(request: pytest.FixtureRequest) -> Guest:
    chosen: Guest = request.param
    assert (chosen.directory / chosen.blind).exists(), "start this with tests/foreign/run"
    return chosen


def job_on(site: Site, ticket: str, dump: Path) -> Mapping[str, Any]:
    done = site.cas("-i", ticket, "-f", dump, "--engine", "drgn", timeout=1800)
    assert done.returncode in (0, 3), done.stderr
    return site.result(ticket)


def gist(result: Mapping[str, Any]) -> dict[str, Any]:
    """What a dump that is made a second later tells, too."""
    answer = result["answer"]
    return {
        "title": result["finding"]["title"],
        "task": (answer["panic_task"]["comm"], answer["panic_task"]["address"]),
        "kmods": [(kmod["name"], kmod["address"], kmod["build_id"]) for kmod in answer["kmods"]],
        "backtrace": [frame["function"] for frame in answer["backtrace"]],
        "cpus": answer["cpus_online"],
        "sections": {each["name"]: each["status"] for each in result["sections"]},
    }


def test_a_blind_dump_gives_the_answer_of_its_twin(site: Site, guest: Guest) -> None:
    site.settings |= {
        "kernels": str(guest.directory),
        "debugs": str(site.directory / "debugs"),
    }
    assert site.admin("-b").returncode == 0
    blind = job_on(site, "T-1", guest.directory / guest.blind)
    seen = job_on(site, "T-2", guest.directory / guest.seen)
    told, plain = "\n".join(blind["remarks"]), "\n".join(seen["remarks"])
    assert FED in told and guest.why in told
    assert FED not in plain
    assert guest.remark in told and guest.remark in plain
    assert gist(blind) == gist(seen)
    assert gist(blind)["kmods"]


def test_a_riscv64_dump_that_tells_nothing_of_its_maps_gives_the_same(
    site: Site, tmp_path: Path
) -> None:
    """As kernels before Linux 6.2 have it."""
    directory = FOREIGN / "riscv64"
    site.settings |= {"kernels": str(directory), "debugs": str(site.directory / "debugs")}
    assert site.admin("-b").returncode == 0
    dump, untold = directory / "vmcore.elf", tmp_path / "vmcore"
    lines = "PAGE_OFFSET|phys_ram_base|KERNEL_LINK_ADDR|va_kernel_pa_offset|VA_BITS|MODULES_VADDR"
    pattern = rf"NUMBER\((?={lines})".encode()
    untold.write_bytes(re.sub(pattern, b"NUMBER{", dump.read_bytes()))
    assert gist(job_on(site, "T-1", untold)) == gist(job_on(site, "T-2", dump))


if __name__ == "__main__":
    sys.exit("start this with tests/foreign/run")

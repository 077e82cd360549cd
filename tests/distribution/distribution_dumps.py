"""Dumps of a distribution's kernel, in which disks, servers or a cgroup are stuck; see README."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from installed import Site

DIRECTORY = Path(os.environ.get("CAS_DISTRIBUTION", "/nowhere"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "cgroup",
            [
                "memory_groups cause cgroup /app.slice/x reached its limit of 64.0 MiB "
                r"\(it uses 6[34].\d MiB\)",
            ],
        ),
        (
            "io",
            [
                r"disks context sda \(SCSI 0:0:0:0\) is offline",
                r"disks context dm-0 \(data1\) is suspended",
                r"file_systems context ext4 on loop0 \(/frozen\) is frozen; init \(pid \d+\) waits",
                r"file_systems context ext4 on loop2 \(/error\) has given up its journal",
                r"requests context (nvme0n1|vda): a request has waited for \d+.* \(read, in flight",
                r"rpc context a call to the nfs server 10\.0\.2\.100 has no answer, for 4\d",
            ],
        ),
    ],
)
def test_what_is_stuck_is_named(site: Site, name: str, expected: list[str]) -> None:
    site.settings |= {"kernels": str(DIRECTORY / "kernels"), "engine": "drgn"}
    site.settings["debugs"] = str(DIRECTORY / "debugs")
    site.keep_snippets("sys")
    assert site.admin("-b").returncode == 0
    done = site.cas("-i", "T-1", "-f", DIRECTORY / f"{name}.vmcore", timeout=900)
    assert done.returncode in (0, 3), done.stderr
    found = site.result("T-1")["detections"]
    said = [
        f"{each['detector']} {evidence['weight']} {evidence['sentence']}"
        for each in found
        for evidence in each["evidence"]
    ]
    for words in expected:
        assert any(re.match(words, line) for line in said), (words, said)
    assert {each["status"] for each in found} <= {"ok", "skipped"}

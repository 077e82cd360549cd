"""The shipped analyzers, each on the shipped dump with its kernel and kernel modules."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cas.files.shipped import shipped

from installed import FIXTURES, Site


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, put_finished: Callable[[Path], Site]) -> Site:
    """A site whose archive has the crash of `finished`."""
    site = put_finished(tmp_path_factory.mktemp("archive"))
    assert site.admin("index").returncode == 0
    return site


SHIPPED: dict[str, tuple[list[str], dict[str, Any]]] = {
    "file-systems": ([], {}),
    "firmware": (["firmware: unknown microcode: 0x1000065"], {"microcode": "0x1000065"}),
    "foreign-modules": (
        ["cas_oops O", "cas_stuck O", "nf_cas_dummy O"],
        {"foreign_modules": ["cas_oops", "cas_stuck", "nf_cas_dummy"]},
    ),
    "glide": (["Linux 6.1.192-1.cas1.x86_64; modules: core, virtio"], {}),
    "hung-tasks": (
        ["cat (pid 47) is blocked in cas_stuck_read for 7.1 s, waiting for wait queue cas_queue"],
        {"hung": 1},
    ),
    "top-memory": (["1.6 MiB process 1 init"], {"top_process": "init"}),
    "signature": (
        ["c07e2c4b732e2de1 cas-guest NULL pointer dereference in cas_balance [cas_oops]"],
        {"signature": "c07e2c4b732e2de1"},
    ),
}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_analyzer_finds_what_the_shipped_dump_has(archive: Site, name: str) -> None:
    lines, properties = SHIPPED[name]
    done = archive.cas("analyze", "T-1", name)
    assert done.returncode == 0, (done.stdout, done.stderr)
    told = [" ".join(line.split()[1:]) for line in done.stdout.splitlines() if line[0] != " "]
    assert told[: len(lines)] == lines
    assert bool(told) == bool(lines)
    found = json.loads(archive.cas("info", "T-1").stdout)["properties"]
    assert {key: found[key] for key in properties} == properties


def test_what_is_shipped_is_documented() -> None:
    page = (FIXTURES.parents[2] / "man" / "cas.1").read_text()
    part = page.partition(".Ss Shipped analyzers")[2].partition(".Ss ")[0]
    assert sorted(re.findall(r"^\.It Cm (\S+)$", part, re.M)) == sorted(SHIPPED)
    assert sorted(path.name for path in shipped("analyzers").iterdir()) == sorted(SHIPPED)

"""Dumps of other architectures, opened by crash programs that really read them; see README.md."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from installed import FIXTURES, Site

FOREIGN = Path(os.environ.get("CAS_FOREIGN", "/nowhere"))
WELL_KNOWN = ("/usr", "/opt")
SLOW_S = 1800
"""An emulated crash needs a minute or two, beside others longer."""


@dataclass(frozen=True)
class Case:
    """An architecture, its dump, and the crash for it."""

    arch: str
    key: str
    program: Path
    directory: Path
    """Holds the dump and its package."""

    @property
    def dump(self) -> Path:
        return self.directory / "vmcore.elf.xz"


CASES = (
    Case("aarch64", "crash_aarch64", FOREIGN / "crash-aarch64", FIXTURES / "arm64"),
    Case("i686", "crash_32", FOREIGN / "crash-i686", FOREIGN / "dump/i686"),
)


@pytest.fixture(params=CASES, ids=lambda case: str(case.arch))
def case(request: pytest.FixtureRequest) -> Case:
    chosen: Case = request.param
    assert chosen.program.exists(), "start this with tests/foreign/run"
    return chosen


@pytest.fixture
def foreign(site: Site, case: Case) -> Site:
    """A site whose configuration names the crash for the dump's architecture."""
    site.settings |= {
        "kernels": str(case.directory),
        "debugs": str(site.directory / "debugs"),
        case.key: str(case.program),
        "watchdog": "120",
        "commandTimeout": "600",
        "startTimeout": "900",
    }
    if not FOREIGN.is_relative_to("/usr"):
        site.settings["sandbox"] = "none"
    done = site.admin("-b")
    assert done.returncode == 0, done.stderr
    return site


def sections(result: Mapping[str, list[Mapping[str, str]]]) -> dict[str, tuple[str, str]]:
    return {each["name"]: (each["engine"], each["status"]) for each in result["sections"]}


def test_the_configured_crash_runs_the_snippets(foreign: Site, case: Case) -> None:
    done = foreign.cas("-i", "T-1", "-f", case.dump, timeout=SLOW_S)
    assert done.returncode == 0, done.stderr
    result = foreign.result("T-1")
    assert (result["verdict"], result["engine"]) == ("complete", "crash"), done.stderr
    assert result["dump"]["arch"] == case.arch
    ran = sections(result)
    assert len(ran) > 10
    assert {engine for engine, _ in ran.values()} <= {"crash", "drgn"}
    assert [name for name in ("sys", "log", "traceback") if ran[name] != ("crash", "ok")] == []
    assert f"MACHINE: {case.arch}" in (foreign.job("T-1") / "sys").read_text()


def test_the_wrapper_opens_the_same_session(foreign: Site, case: Case) -> None:
    done = foreign.cas("-i", "T-1", "-f", case.dump, "--engine", "crash", timeout=SLOW_S)
    assert done.returncode == 0, done.stderr
    opened = subprocess.run(
        [foreign.job("T-1") / "crash"],
        input="sys\nexit\n",
        capture_output=True,
        text=True,
        timeout=SLOW_S,
        check=False,
    )
    assert f"MACHINE: {case.arch}" in opened.stdout, opened.stderr


def test_debug_takes_the_configured_crash(foreign: Site, case: Case) -> None:
    done = foreign.cas("-i", "T-1", "-f", case.dump, "--engine", "drgn", timeout=SLOW_S)
    assert done.returncode == 0, done.stderr
    debugged = foreign.cas("debug", "-c", "sys", "T-1", timeout=SLOW_S)
    assert debugged.returncode == 0, debugged.stderr
    assert f"MACHINE: {case.arch}" in debugged.stdout


if __name__ == "__main__":
    sys.exit("start this with tests/foreign/run")

"""A command that is started as users start it does what the tests see of its fork."""

from __future__ import annotations

import pytest

from installed import Site

COMMANDS = (
    "cas --version",
    "cas -i T-2 -f no-dump",
)
OTHERS = (
    "cas-admin -b",
    "cas identify no-dump",
    "cas-admin check",
    "cas debug T-1 --engine drgn -c log",
    "cas signature T-1",
    "cas -i T-1",
    "cas-admin host list",
    "cas-admin index",
    "cas-admin kernels",
    "cas-admin reprocess --dry-run",
    "cas-admin -p -n",
)


@pytest.mark.parametrize(
    "line", [*COMMANDS, *(pytest.param(line, marks=pytest.mark.long) for line in OTHERS)]
)
def test_a_started_command_says_what_its_fork_says(
    finished: Site, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    forked = finished.run(*line.split())
    monkeypatch.setenv("CAS_TESTS_START", "1")
    started = finished.run(*line.split())
    assert (started.stdout, started.stderr) == (forked.stdout, forked.stderr)
    assert started.returncode == forked.returncode

"""What a job loads before its first answer."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "late"),
    [
        # drgn's process is started before these are imported
        ("cas.commands.begin", {"cas.dump", "cas.engines.drgn.process", "cas.jobs.job", "msgspec"}),
        # drgn's process gets ready while the readers of dumps are imported
        ("cas.commands.submit", {"cas.dump", "cas.intake", "cas.triage.pipeline", "drgn"}),
        # a quarter of a second each, for some jobs only, or for the end of all
        ("cas.triage.pipeline", {"jinja2", "paramiko", "rich", "sqlalchemy"}),
        # while drgn opens the dump
        ("cas.triage.pipeline", {"cas.findings", "cas.engines.crash", "cas.snippets"}),
    ],
)
def test_nothing_is_loaded_that_is_not_needed_yet(module: str, late: set[str]) -> None:
    program = f"import sys, {module}; print(*({late!r} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []

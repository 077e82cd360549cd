"""What a job loads before its first answer."""

from __future__ import annotations

import subprocess
import sys

LATE = ("jinja2", "paramiko", "rich", "sqlalchemy")
"""Libraries of a quarter of a second together, which only some jobs, or only their ends, need."""


def test_the_steps_of_a_job_load_no_library_that_the_first_answer_does_not_need() -> None:
    program = f"import sys, cas.triage.pipeline; print(*({LATE!r} & sys.modules.keys()))"
    program = program.replace(repr(LATE), repr(set(LATE)))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []

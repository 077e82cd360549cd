"""Why kdump failed, by the log of its kernel."""

from __future__ import annotations

import pytest

from cas.findings import failure_paragraph, kdump_failure


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("[    3.1] Out of memory: Killed process 311 (makedumpfile)", "it ran out of memory"),
        ("kdump[512]: cp: error writing: No space left on device", "its target is full"),
        (
            "[    9.9] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block",
            "it did not reach its target",
        ),
        ("ssh: connect to host 10.0.0.1 port 22: No route to host", "it did not reach its target"),
    ],
)
def test_the_line_that_says_so_is_told_with_what_to_ask(line: str, what: str) -> None:
    failure = kdump_failure(f"[    1.0] a\n{line}\n[    9.9] reboot: Restarting system\n")
    assert failure is not None
    assert failure.what == what
    assert failure.line in line
    assert what in failure_paragraph(failure)
    assert failure.request in failure_paragraph(failure)


def test_a_log_of_a_kdump_that_went_well_gives_no_reason() -> None:
    assert kdump_failure("[    1.0] kdump: saving vmcore complete\n") is None

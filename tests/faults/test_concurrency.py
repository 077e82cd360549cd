"""Several runs at once: of one ticket, of one dump, for one kernel, beside the chores."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ready_commands import Started

from installed import Running, Site


@pytest.fixture
def cold(site_a: Site) -> Site:
    """A site whose cache of kernels is empty."""
    site_a.settings |= {"engine": "drgn", "debugs": str(site_a.directory / "debugs")}
    site_a.keep_snippets("sys", "traceback")
    return site_a


def ended(process: Running | Started) -> tuple[int, str, str]:
    said, complained = process.communicate(timeout=300)
    assert process.returncode is not None
    return process.returncode, said, complained


@pytest.mark.long
def test_runs_at_once_share_the_kernel_and_keep_their_jobs_apart(cold: Site, vmcore: Path) -> None:
    runs = [cold.start("cas", "-i", ticket, "-f", vmcore) for ticket in ("T-1", "T-1", "T-2")]
    chores = [cold.start("cas-admin", *words) for words in (["-b"], ["index"], ["-p", "--yes"])]
    finished = [ended(run) for run in runs]
    done = [ended(chore) for chore in chores]
    # the chores go on with unfinished jobs too: a run may find its job taken
    assert {status for status, _, _ in finished} <= {0, 75}, finished
    assert all("internal error" not in said for _, _, said in (*finished, *done))
    assert [status for status, _, _ in done] == [0, 0, 0], done
    directories = [*cold.job_directories("T-1"), *cold.job_directories("T-2")]
    verdicts = [
        json.loads((directory / "result.json").read_text())["verdict"] for directory in directories
    ]
    assert verdicts == ["complete"] * 3
    assert len(list((cold.directory / "debugs").glob("*/vmlinux"))) == 1
    assert cold.admin("check").stdout.splitlines()[-1] == "3 jobs checked: all is well"


@pytest.mark.long
def test_a_run_that_is_interrupted_says_so_in_its_job_and_is_gone_on_with(
    cold: Site, vmcore: Path
) -> None:
    with cold.start("cas", "-i", "T-1", "-f", vmcore) as run:
        assert run.stderr is not None
        for line in run.stderr:
            if "Extracting" in line:
                run.send_signal(signal.SIGINT)
        assert run.wait(60) == 130
    directory = cold.job("T-1")
    assert json.loads((directory / "job.json").read_text())["verdict"] == "interrupted"
    assert not (directory / "result.json").exists()
    done = cold.cas("-i", "T-1")
    assert (done.returncode, done.stdout) == (0, f"{directory}\n")
    cold.settings["sandbox"] = "none"  # that a machine has none would be told
    assert cold.admin("check").stdout == "1 job checked: all is well\n"


def test_a_job_that_another_run_has_is_left_to_it(site_a: Site, vmcore: Path) -> None:
    site_a.settings["engine"] = "drgn"
    site_a.keep_snippets("sys")
    with site_a.start("cas", "-i", "T-1", "-f", vmcore) as first:
        assert first.stderr is not None
        first.stderr.readline()
        second = site_a.cas("-i", "T-1")
        assert second.returncode == 75
        assert "another run of cas is working in" in second.stderr
        assert ended(first)[0] == 0
    third = site_a.cas("-i", "T-1")
    assert third.returncode == 2
    assert "no unfinished job" in third.stderr


@pytest.mark.long
@pytest.mark.parametrize("runs", [3])
def test_runs_beside_a_looping_build_lose_no_job(runs: int) -> None:
    bench = Path(__file__).parents[2] / "bench" / "many_runs.py"
    done = subprocess.run(
        [sys.executable, bench, "--runs", str(runs), "--only", "sys"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"complete: {runs}, lost: 0, 'database is locked': 0" in done.stdout, done.stderr
    assert done.returncode == 0, done.stdout

"""What check and demo say where they cannot set CAS up."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

FUNCTIONS = Path(__file__).parents[1] / "environment.sh"
MET = {
    "Max retries exceeded with url: /simple/drgn/ (Caused by NameResolutionError(": "reach",
    "Max retries exceeded with url: /simple/drgn/ (Caused by SSLError(SSLCertVerificationError(1, "
    "'[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed": "trust",
    "ERROR: No matching distribution found for drgn>=0.3.0": "install",
    "      ERROR: No matching distribution found for setuptools>=77\n"
    "error: subprocess-exited-with-error": "setuptools",
}


def run(script: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", f'. "$0"; {script}', FUNCTIONS],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("said", MET)
def test_what_pip_met_is_one_sentence(said: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(f"Collecting drgn\n{said}\n")
    done = run("why_not_fetched log", tmp_path)
    assert MET[said] in done.stdout
    assert done.stdout.count("\n") == 1


def test_a_failure_names_its_step_and_only_a_log_that_there_is(tmp_path: Path) -> None:
    (tmp_path / "other.log").touch()
    script = "trap told_of_failure EXIT; say baking"
    done = run(f"{script}; exit 3", tmp_path)
    assert "FAILED, with status 3, in this step: baking" in done.stderr
    assert "log" not in done.stderr
    assert "its log: other.log" in run(f"{script}; logs='*.log'; exit 3", tmp_path).stderr

"""An installation from a wheel works like the checkout: data files are found."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from installed import FIXTURES

TOP = Path(__file__).parents[2]
NOT_BUILT = (".*", "tests", "bench", "demo-data", "build", "dist", "*.egg-info", "__pycache__")
"""At the top of a checkout, and not needed for a wheel."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that holds CAS as pip installed it from a wheel."""
    directory = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    sources = directory / "sources"
    shutil.copytree(TOP, sources, ignore=shutil.ignore_patterns(*NOT_BUILT))
    subprocess.run([*pip, "wheel", "--no-deps", "-w", directory, sources], check=True)
    (wheel,) = directory.glob("*.whl")
    target = directory / "target"
    subprocess.run(
        [*pip, "install", "--no-deps", "--no-compile", "--target", target, wheel], check=True
    )
    return target


@pytest.mark.long
def test_the_main_job_runs_from_a_wheel(installed: Path, tmp_path: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": str(installed),
        "CAS_CONF": str(tmp_path / "cas.conf"),
    }
    (tmp_path / "cas.conf").write_text(f"[settings]\nkernels={FIXTURES / 'a'}\nengine=drgn\n")

    def run(module: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", module, *words],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    built = run("cas_admin", "-b")
    assert built.returncode == 0, built.stderr
    done = run("cas", "-i", "T-1", "-f", str(FIXTURES / "a" / "vmcore.elf.xz"))
    assert done.returncode == 0, done.stderr
    job = Path(done.stdout.strip())
    assert job.is_relative_to(tmp_path / ".local/share/cas/cores/T-1")
    assert (job / "traceback").stat().st_size > 0
    assert (job / "report.html").stat().st_size > 0
    schemas = {path.name for path in (installed / "share/cas/schemas").iterdir()}
    assert schemas == {path.name for path in (TOP / "schemas").iterdir()}

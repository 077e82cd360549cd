"""Spoilt dumps through the ``cas`` command on a site of its own, with their kernels catalogued."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fuzz.mutants import Mutant, mutant
from fuzz.seeds import FIXTURES, SEEDS
from fuzz.spoilt import Bench

from cas.errors import EXIT_CODES

from installed import Site

SEED_NAMES = ("real-kdump", "elf-x86_64", "real-flat", "kdump-zlib", "flat-shuffled", "kdump-part")
"""Of kernels that the site has packages of."""
_CRASH_SHARE = 4
"""Of so many runs one is with crash, where there is one; the others are quicker."""


@dataclass(frozen=True)
class Run:
    """One run of ``cas`` on a spoilt dump."""

    mutant: Mutant
    exit_code: int
    stderr: str
    result: dict[str, object] | None
    """Of ``result.json``; ``None`` where no job was made of the file."""

    @property
    def verdict(self) -> str:
        return str(self.result["verdict"]) if self.result else "no job"


def site(directory: Path) -> Site:
    """A site that knows the kernels of the shipped dumps."""
    (directory / "kernels").mkdir(parents=True)
    for name in ("a", "b", "arm64"):
        (directory / "kernels" / name).symlink_to(FIXTURES / name)
    made = Site(
        directory,
        {
            "kernels": str(directory / "kernels"),
            "workDirectory": str(directory / "cores"),
            "debugs": str(directory / "debugs"),
            "database": str(directory / "cas.db"),
        },
    )
    done = made.admin("-b")
    assert done.returncode == 0, done.stderr
    return made


def runs(where: Site, numbers: range, seeds: tuple[str, ...] = SEED_NAMES) -> Iterator[Run]:
    """A run for each number, the seeds in turn."""
    bench = Bench(where.directory / "bench")
    for number in numbers:
        spoilt = mutant(SEEDS[seeds[number % len(seeds)]], number)
        with bench.spoilt(spoilt) as path:
            yield run(where, spoilt, path)


def run(where: Site, spoilt: Mutant, path: Path) -> Run:
    """``cas`` on a file; its job is removed when it has been read."""
    ticket = f"F-{spoilt.number}"
    has_crash = spoilt.number % _CRASH_SHARE == 0 and shutil.which("crash")
    engine = "auto" if has_crash else "drgn"
    try:
        done = where.cas("-i", ticket, "-f", path, "--engine", engine)
    except subprocess.TimeoutExpired:
        return Run(spoilt, -1, "no end within the time limit", None)
    result = None
    for directory in where.job_directories(ticket):
        file = directory / "result.json"
        result = json.loads(file.read_text()) if file.exists() else {}
    shutil.rmtree(where.jobs / ticket, ignore_errors=True)
    return Run(spoilt, done.returncode, done.stderr, result)


def complaints(run: Run) -> Iterator[str]:
    """What is wrong with the outcome of a run."""
    words = (word for word in ("Traceback", "internal error") if word in run.stderr)
    yield from (f"says {word!r}: {run.stderr[-500:]}" for word in words)
    if not all(letter.isprintable() or letter == "\n" for letter in run.stderr):
        yield f"control characters came through: {run.stderr!r}"
    if run.exit_code not in EXIT_CODES or run.exit_code == 2:
        yield f"exit status {run.exit_code}: {run.stderr[-500:]}"
    if run.result is None:
        if run.exit_code not in (4, 5):
            yield f"no job, and exit status {run.exit_code}"
    else:
        yield from _result_complaints(run, run.result)


def _result_complaints(run: Run, result: dict[str, object]) -> Iterator[str]:
    verdict, stage, reason = (result.get(key) for key in ("verdict", "stage", "reason"))
    if EXIT_CODES.get(run.exit_code) != verdict:
        yield f"exit status {run.exit_code} with verdict {verdict}"
    if not isinstance(stage, str) or not stage:
        yield f"the stage is {stage!r}"
    if verdict != "complete" and not reason:
        yield f"{verdict} without a reason"
    if verdict == "complete" and (run.mutant.is_cut and run.mutant.lost_bytes):
        yield f"complete, though {run.mutant.lost_bytes} bytes are cut off"
    dump = result.get("dump")
    if verdict == "complete" and isinstance(dump, dict) and dump["missing"]:
        yield f"complete, though {dump['missing']} is missing"

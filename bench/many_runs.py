#!/usr/bin/env python3
"""Many runs of cas at the same time, beside a build of the catalogue that never rests.

Usage: many_runs.py [--runs 50] [--database URL] [--only SNIPPET ...]

All runs analyse the shipped dump, each for a ticket of its own, and share catalogue and cache of
kernels. Meanwhile packages come, go and are renamed, `cas-admin -b` runs again and again, and a
process builds the catalogue without a pause.
Prints how many jobs came to a complete report, how many were lost, and how often a program said
that the database was locked; status 1 unless none was lost and none said so.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

FIXTURE = Path(__file__).resolve().parent.parent / "tests" / "kernels" / "fixtures" / "a"
SNIPPETS = Path(__file__).resolve().parent.parent / "snippets" / "crash"
COMMANDS = Path(sys.executable).parent
COPIES = 8
RESTLESS = """
import select, sys
from pathlib import Path
from cas.catalogue.building.build import build
from cas.database.store import Store
from cas.progress import Silent
from cas.settings.rules import PackageRules
builds = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    build(Store(sys.argv[1]), Path(sys.argv[2]), PackageRules(), Silent())
    builds += 1
print(builds)
"""
LOCKED = "database is locked"


@dataclass
class Place:
    """A site of its own, and what its programs complained of."""

    directory: Path
    database: str
    only: Sequence[str] = ()
    """Of the shipped snippets; all of them where it is empty."""
    complaints: list[str] = field(default_factory=list)
    builds: int = 0

    @property
    def kernels(self) -> Path:
        return self.directory / "kernels"

    def prepare(self) -> None:
        """The package that stays, and the configuration."""
        self.kernels.mkdir()
        shutil.copy(self.package, self.kernels)
        settings = {
            "kernels": self.kernels,
            "workDirectory": self.directory / "cores",
            "debugs": self.directory / "debugs",
            "database": self.database,
            "engine": "drgn",
        }
        if self.only:
            settings["snippets"] = self._leave_out()
        lines = [f"{key} = {value}" for key, value in settings.items()]
        self.directory.joinpath("cas.conf").write_text("\n".join(("[settings]", *lines, "")))
        vmcore = lzma.decompress((FIXTURE / "vmcore.elf.xz").read_bytes())
        self.directory.joinpath("vmcore").write_bytes(vmcore)

    def _leave_out(self) -> Path:
        """A directory of empty snippets in the place of those that do not run."""
        directory = self.directory / "snippets"
        directory.mkdir()
        for path in SNIPPETS.iterdir():
            if path.name not in self.only:
                (directory / path.name).touch()
        return directory

    @property
    def package(self) -> Path:
        (found,) = FIXTURE.glob("*.rpm")
        return found

    def start(self, *words: str) -> subprocess.Popen[str]:
        program, *rest = words
        return subprocess.Popen(
            [COMMANDS / program, *rest],
            env={"PATH": os.environ["PATH"], "CAS_CONF": str(self.directory / "cas.conf")}
            | {"HOME": str(self.directory)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self, process: subprocess.Popen[str]) -> int:
        _, complained = process.communicate(timeout=3600)
        self.complaints += [line for line in complained.splitlines() if line.startswith("!")]
        self.complaints += [line for line in complained.splitlines() if LOCKED in line]
        return process.returncode

    def churn(self, stop: threading.Event) -> None:
        """Change the packages and build, until told to stop."""
        while not stop.is_set():
            slot = self.kernels / f"kernel-debuginfo-{self.builds % COPIES}.rpm"
            renamed = slot.with_name(f"kernel-debuginfo-9{slot.name[-5]}.rpm")
            if renamed.exists():
                renamed.unlink()
            elif slot.exists():
                slot.rename(renamed)
            else:
                shutil.copy(self.package, slot)
            self.end(self.start("cas-admin", "-b"))
            self.builds += 1


def verdicts(place: Place) -> list[str]:
    """Of all jobs; ``lost`` where there is no result."""
    found = []
    for job in (place.directory / "cores").glob("*/*/job.json"):
        result = job.with_name("result.json")
        found.append(json.loads(result.read_text())["verdict"] if result.exists() else "lost")
    return found


def measure(place: Place, runs: int) -> bool:
    place.prepare()
    place.end(place.start("cas-admin", "-b"))
    stop = threading.Event()
    builder = threading.Thread(target=place.churn, args=(stop,))
    builder.start()
    restless = subprocess.Popen(
        [sys.executable, "-c", RESTLESS, place.database, place.kernels],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    started_s = time.monotonic()
    dump = str(place.directory / "vmcore")
    running = [place.start("cas", "-i", f"T-{n}", "-f", dump) for n in range(runs)]
    statuses = [place.end(process) for process in running]
    took_s = time.monotonic() - started_s
    stop.set()
    builder.join()
    builds, failed = restless.communicate(".\n")
    place.complaints += failed.splitlines()
    place.end(place.start("cas-admin", "-b"))  # what waited comes to its end
    found = verdicts(place)
    complete, locked = found.count("complete"), sum(LOCKED in line for line in place.complaints)
    print(f"{runs} runs beside {place.builds} + {builds.strip()} builds in {took_s:.0f} s")
    print(f"statuses: { {status: statuses.count(status) for status in sorted(set(statuses))} }")
    print(f"complete: {complete}, lost: {runs - complete}, '{LOCKED}': {locked}")
    for line in sorted(set(place.complaints)):
        print(line)
    return complete == runs and not locked and not failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--database", default="", help="URL; a SQLite file by default")
    parser.add_argument("--only", nargs="+", default=(), help="these snippets; all by default")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cas-many-") as directory:
        place = Place(Path(directory), arguments.database or f"{directory}/cas.db", arguments.only)
        return 0 if measure(place, arguments.runs) else 1


if __name__ == "__main__":
    sys.exit(main())

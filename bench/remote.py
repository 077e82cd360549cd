#!/usr/bin/env python3
"""A job on an analysis host with shared storage, against crash alone on that host, in turns.

usage: bench/remote.py [--full DIRECTORY] [--rounds N], as root

The host is an sshd in a network namespace of this machine. Crash alone is the system's ssh that
runs crash there with the commands of the job's crash.in. Target: the job takes at most 1 s more.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "hosts")]

from three_hosts import HostInNamespace, three_hosts  # noqa: E402

from installed import FIXTURES, Site  # noqa: E402

QUIET = ("-F", "none", "-o", "BatchMode=yes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", type=Path, help="where bench/fullsize put its kernel")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        dump, package = material(arguments.full, directory)
        site = Site(
            directory,
            {
                "kernels": str(package.parent),
                "workDirectory": str(directory / "cores"),
                "debugs": str(directory / "debugs"),
                "database": str(directory / "cas.db"),
            },
        )
        with three_hosts(directory / "hosts", directory, count=1) as (host,):
            for words in (("-b",), ("host", "add", host.name)):
                checked(site.admin(*words))
            measure(site, host, dump, arguments.rounds)


def material(full: Path | None, scratch: Path) -> tuple[Path, Path]:
    """A plain dump and its package."""
    if full:
        return full / "vmcore.elf", next((full / "rpm-xz").glob("*.rpm"))
    dump = scratch / "vmcore.elf"
    dump.write_bytes(lzma.decompress((FIXTURES / "a/vmcore.elf.xz").read_bytes()))
    return dump, next((FIXTURES / "a").glob("*.rpm"))


def measure(site: Site, host: HostInNamespace, dump: Path, rounds: int) -> None:
    job(site, "WARM", dump, "never")
    commands = (site.job("WARM") / "crash.in").read_text()
    (vmlinux,) = (site.directory / "debugs").glob("*/vmlinux")
    bare, there, here = [], [], []
    stages: dict[str, list[float]] = {}
    for number in range(rounds):
        bare.append(alone(site, host, [vmlinux, dump], commands))
        there.append(job(site, f"THERE-{number}", dump, "first"))
        here.append(job(site, f"HERE-{number}", dump, "never"))
        result = site.result(f"THERE-{number}")
        assert result["host"], json.dumps(result["reason"])  # noqa: S101
        for stage, seconds in result["seconds"].items():
            stages.setdefault(stage, []).append(seconds)
    over = [ours - theirs for ours, theirs in zip(there, bare, strict=True)]
    print(f"load {os.getloadavg()[0]:.1f}, {dump.name}, medians of {rounds} rounds")
    print(f"crash alone on the host   {statistics.median(bare):8.3f} s")
    print(f"job on the host           {statistics.median(there):8.3f} s")
    print(f"job on this machine       {statistics.median(here):8.3f} s")
    print(
        f"job on the host - crash alone there (<= 1 s): {statistics.median(over):.3f} s "
        f"(best round {min(over):.3f})"
    )
    for stage, seconds in stages.items():
        print(f"  {stage:16} {statistics.median(seconds):8.3f} s")
    login = statistics.median(alone_true(site, host) for _ in range(rounds))
    print(f"`ssh HOST true`           {login:8.3f} s")


def alone(site: Site, host: HostInNamespace, files: list[Path], commands: str) -> float:
    words = ("cd $(mktemp -d) && exec crash --no_crashrc -s", *map(str, files))
    return timed(site, host, " ".join(words), commands)


def alone_true(site: Site, host: HostInNamespace) -> float:
    return timed(site, host, "true", "")


def timed(site: Site, host: HostInNamespace, command: str, text: str) -> float:
    ssh = site.directory / ".ssh"
    known = f"UserKnownHostsFile={ssh}/known_hosts"
    argv = ["ssh", *QUIET, "-i", ssh / "id_ed25519", "-o", known, f"root@{host.address}", command]
    begun = time.perf_counter()
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begun
    if done.returncode == 255:
        sys.exit(done.stderr)
    return seconds


def job(site: Site, ticket: str, dump: Path, hosts: str) -> float:
    site.settings["hosts"] = hosts
    begun = time.perf_counter()
    checked(site.cas("-i", ticket, "-f", dump))
    return time.perf_counter() - begun


def checked(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode not in (0, 3):
        sys.exit(done.stderr)


if __name__ == "__main__":
    main()

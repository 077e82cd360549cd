#!/usr/bin/env python3
"""Sweeps of three hosts with a thousand dumps each, beside sftp that fetches the new ones.

usage: bench/sweep.py [--dumps 1000] [--new 10] [--mb 32] [--rounds 3] [--hosts 3] [DIRECTORY]

The hosts are sshds on loopback. All dumps are fetched once, so that they are known. Then it is told
what each known one costs: by the notes of the last sweep, and by its id where these are lost. In
turns, so many new dumps come to each host, and are fetched by three `sftp` at a time and by a
sweep. At the end one host is stopped, one has an unknown key, one a dump for which there is no
room, and the others have new dumps.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "dump")]

from ssh_servers import Sshd, sshd  # noqa: E402
from writer import Elf, info_note, vmcoreinfo  # noqa: E402

from cas.database.store import Store  # noqa: E402
from cas.model.host import Host  # noqa: E402

from installed import Site  # noqa: E402

REGISTERS = "CORE", 1, bytes(range(1, 113)) * 3
LEAST = 64 << 10
"""Bytes of a known dump that may be read."""


@dataclass
class There:
    """A host, and how many dumps it has."""

    name: str
    server: Sshd
    directory: Path
    dumps: list[Path] = field(default_factory=list)

    def add(self, number: int, size: int, *, is_sparse: bool = False) -> None:
        """One more dump, of a crash of its own."""
        place = self.directory / f"127.0.0.1-{number}"
        place.mkdir()
        info = info_note(vmcoreinfo(CRASHTIME=str(1_700_000_000 + number)))
        memory = b"" if is_sparse else os.urandom(size)
        content = Elf({1 << 20: memory}, (REGISTERS, info)).build()
        dump = place / "vmcore"
        dump.write_bytes(content)
        if is_sparse:
            os.truncate(dump, size)
        self.dumps.append(dump)


@dataclass
class Bench:
    """The site, and its hosts."""

    site: Site
    hosts: list[There]
    count: int = 0

    def add(self, there: There, dumps: int, size: int) -> list[Path]:
        """So many more dumps on a host."""
        for _ in range(dumps):
            self.count += 1
            there.add(self.count, size)
        return there.dumps[-dumps:]

    def sweep(self, *words: str) -> tuple[float, dict[str, Any]]:
        """How long a sweep takes, and what it tells of each host."""
        begun = time.monotonic()
        done = self.site.admin("sweep", "--json", "--fetch", *words, timeout=7200)
        took = time.monotonic() - begun
        if done.returncode not in (0, 1):
            raise SystemExit(done.stderr)
        return took, {each["host"]: each for each in json.loads(done.stdout)["hosts"]}

    def by_sftp(self, new: dict[str, list[Path]], into: Path) -> float:
        """How long it takes `sftp` to fetch these, a process for each host at the same time."""
        home = self.hosts[0].server.home
        begun, running = time.monotonic(), []
        for name, dumps in new.items():
            target = into / name
            target.mkdir(parents=True)
            gets = (f"get {dump} {target}/{number}" for number, dump in enumerate(dumps))
            batch = into / f"{name}.batch"
            batch.write_text("\n".join(gets))
            argv = ["sftp", "-q", "-F", home / ".ssh/config", "-i", home / ".ssh/id_ed25519"]
            argv += ["-o", f"UserKnownHostsFile={home}/.ssh/known_hosts", "-b", batch, name]
            running.append(subprocess.Popen(argv, stdout=subprocess.DEVNULL))
        if any(process.wait() for process in running):
            raise SystemExit("sftp has failed")
        took = time.monotonic() - begun
        shutil.rmtree(into)
        return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dumps", type=int, default=1000)
    parser.add_argument("--new", type=int, default=10)
    parser.add_argument("--mb", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--hosts", type=int, default=3)
    parser.add_argument("directory", type=Path, nargs="?")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as scratch, ExitStack() as stack:
        bench = prepared(Path(scratch), options.hosts, stack)
        measure(bench, options)
        go_wrong(bench, options)


def prepared(directory: Path, hosts: int, stack: ExitStack) -> Bench:
    """A site and hosts without dumps."""
    home = directory / "home"
    paths = {"kernels": "kernels", "workDirectory": "cores", "debugs": "debugs"}
    settings = {key: str(directory / name) for key, name in paths.items()}
    settings["database"] = str(directory / "cas.db")
    site = Site(directory, settings, {"HOME": str(home)}, "[sweep]\nanswerTime = 0.001\n")
    found = []
    for number in range(hosts):
        name = f"db{number + 1:02}"
        there = directory / "hosts" / name
        (there / "crash").mkdir(parents=True)
        server = stack.enter_context(sshd(there / "ssh", home))
        server.know()
        with (home / ".ssh/config").open("a") as config:
            config.write(f"Host {name}\n  HostName 127.0.0.1\n  Port {server.port}\n")
        site.sections += f"[sweep {name}]\ndirectories = {there / 'crash'}\n"
        Store(settings["database"]).hosts.put_host(Host(name, is_swept=True))
        found.append(There(name, server, there / "crash"))
    return Bench(site, found)


def measure(bench: Bench, options: argparse.Namespace) -> None:
    for there in bench.hosts:
        bench.add(there, options.dumps, 16 << 10)
    took, told = bench.sweep()
    every = sum(len(host["missing"]) for host in told.values())
    print(
        f"load {os.getloadavg()[0]:.1f}; {every} dumps fetched for the first time in {took:.0f} s"
    )
    took, told = bench.sweep()
    tell_known("known by the notes of the last sweep", took, told)
    shutil.rmtree(bench.site.jobs / ".archive/swept")
    took, told = bench.sweep()
    tell_known("known by their ids", took, told)
    theirs, ours, fetching = [], [], []
    for number in range(options.rounds):
        new = {there.name: bench.add(there, options.new, options.mb << 20) for there in bench.hosts}
        theirs.append(bench.by_sftp(new, bench.site.directory / "by-sftp"))
        took, told = bench.sweep()
        if any(len(host["missing"]) != options.new for host in told.values()):
            raise SystemExit(f"round {number}: not all were fetched: {told}")
        ours.append(took)
        fetching.append(max(host["fetch_seconds"] for host in told.values()))
        known = sum(host["known"] for host in told.values())
        read = sum(host["read_bytes"] for host in told.values())
        print(
            f"round {number + 1}: sftp {theirs[-1]:.1f} s; sweep {took:.1f} s, of which it fetched"
            f" for {fetching[-1]:.1f} s; {known} known; {read / options.new / len(told):.0f} bytes"
            " read of each new one to know it"
        )
    ratios = [mine / its for mine, its in zip(fetching, theirs, strict=True)]
    print(f"fetching / sftp, median: {statistics.median(ratios):.2f} (target 1.1)")


def tell_known(how: str, took: float, told: dict[str, Any]) -> None:
    known = sum(host["known"] for host in told.values())
    read = sum(host["read_bytes"] for host in told.values())
    missing = sum(len(host["missing"]) for host in told.values())
    each = read / max(known, 1)
    verdict = "ok" if each <= LEAST and not missing else "NOT REACHED"
    print(f"{known} {how}: {took:.1f} s, {each:.0f} bytes read of each (target {LEAST}): {verdict}")


def go_wrong(bench: Bench, options: argparse.Namespace) -> None:
    """One host is stopped, one has another key, for one dump there is no room here."""
    if len(bench.hosts) < 3:
        return
    directory, home = bench.site.directory, bench.hosts[0].server.home
    with ExitStack() as stack:
        more = prepared_more(directory, home, bench, stack)
        known = home / ".ssh/known_hosts"
        unknown = f"]:{bench.hosts[-2].server.port} "
        lines = known.read_text().splitlines(keepends=True)
        known.write_text("".join(line for line in lines if unknown not in line))
        bench.count += 1
        bench.hosts[-1].add(bench.count, 1 << 39, is_sparse=True)
        for there in bench.hosts[:3]:
            bench.add(there, options.new, 1 << 20)
        more.server.stop()
        try:
            took, told = bench.sweep()
        finally:
            more.server.cont()
    done = all(len(told[there.name]["missing"]) == options.new for there in bench.hosts[:3])
    print(f"with three of six hosts of no use: {took:.1f} s, the others complete: {done}")
    for host in told.values():
        print(f"  {host['host']}: {host['problem'] or 'complete'}")


def prepared_more(directory: Path, home: Path, bench: Bench, stack: ExitStack) -> There:
    """Three more hosts, the first of which is given back."""
    found = []
    for name in ("stopped", "unknown", "full"):
        there = directory / "hosts" / name
        (there / "crash").mkdir(parents=True)
        server = stack.enter_context(sshd(there / "ssh", home))
        server.know()
        with (home / ".ssh/config").open("a") as config:
            config.write(f"Host {name}\n  HostName 127.0.0.1\n  Port {server.port}\n")
        bench.site.sections += f"[sweep {name}]\ndirectories = {there / 'crash'}\nbytes = 16T\n"
        Store(bench.site.settings["database"]).hosts.put_host(Host(name, is_swept=True))
        found.append(There(name, server, there / "crash"))
    bench.hosts += found
    return found[0]


if __name__ == "__main__":
    main()

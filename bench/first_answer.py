#!/usr/bin/env python3
"""The first answer: of a dump beside us and on a server, of a kernel log, and what it costs.

usage: bench/first_answer.py [--full DIRECTORY] [--dump NAME] [--delay S] [--rounds N] [NAME…]

Without --full it takes the shipped dump, with it the full-size one that bench/fullsize put into
DIRECTORY. All is measured in turns with its peer, in the same run: what lies beside us by
bench/measure.py (in-place, kdump, sparse, kernel-log, new-kernel-log, fed, memory), what lies
elsewhere (http, s3, sftp) against the same dump beside us. A server of ours answers each request of
http and s3 after the delay; sshd answers at once. NAME chooses some.
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
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "fetch")]

import measure  # noqa: E402
from fetch_servers import Parts, Web, web  # noqa: E402
from ssh_servers import sshd  # noqa: E402
from store_servers import BUCKET, know_store  # noqa: E402

from installed import COMMANDS, FIXTURES, Site  # noqa: E402

ANSWERED = "* in "
"""How the line begins that says where it crashed."""


LOCAL = ("in-place", "kdump", "sparse", "kernel-log", "new-kernel-log", "fed", "memory")
"""What bench/measure.py measures."""


@dataclass
class Timed:
    """Runs of one case."""

    seconds: list[float] = field(default_factory=list)
    requests: int = 0
    early: int = 0
    """Requests that were made until it was told where it crashed, where our server counts them."""
    size_bytes: int = 0
    peak_kib: int = 0
    """Resident memory of cas itself until then."""

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", type=Path, help="where bench/fullsize put its kernel")
    parser.add_argument("--dump", default="vmcore.full.elf", help="which of its dumps")
    parser.add_argument("--delay", type=float, default=0.02, help="seconds before each answer")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("names", nargs="*", metavar="NAME", help="which cases")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        prepared = material(options.full, options.dump, Path(scratch))
        print(
            f"== {prepared.dump.name}, load {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors"
        )
        for name in LOCAL:
            if not options.names or name in options.names:
                for line in measure.MEASUREMENTS[name](prepared, options.rounds):
                    print(f"   {line}", flush=True)
        site = Site(
            prepared.site,
            {
                "kernels": str(prepared.package.parent),
                "workDirectory": str(prepared.site / "cores"),
                "debugs": str(prepared.site / "debugs"),
                "database": str(prepared.site / "cas.db"),
                "privateAddresses": "yes",
                "engine": "drgn",
            },
        )
        site.keep_snippets("sys")
        for name, case in CASES.items():
            if not options.names or name in options.names:
                with case(site, prepared.dump, options.delay) as (url, server):
                    beside_us(site, prepared.dump, name, (url, server), options.rounds)


def material(full: Path | None, name: str, scratch: Path) -> measure.Material:
    """A plain dump and a site that has its kernel in the cache."""
    if full:
        return measure.prepare("site", full / name, measure.packages_of(full)[0], scratch)
    dump = scratch / "vmcore"
    dump.write_bytes(lzma.decompress((FIXTURES / "a/vmcore.elf.xz").read_bytes()))
    return measure.prepare("site", dump, next((FIXTURES / "a").glob("*.rpm")), scratch)


Place = tuple[str, Web | None]
"""A dump's URL, and the server of it that counts its requests."""


@contextmanager
def by_http(site: Site, dump: Path, delay_s: float) -> Iterator[Place]:
    with web() as server:
        server.files["/vmcore"] = Parts(dump, delay_s=delay_s)
        yield server.url("/vmcore"), server


@contextmanager
def in_store(site: Site, dump: Path, delay_s: float) -> Iterator[Place]:
    """A server that gives an object's ranges and looks at no signature.

    moto reads all of the object for each range: the time for that would be its own.
    """
    with web() as server:
        server.files[f"/{BUCKET}/vmcore"] = Parts(dump, delay_s=delay_s)
        know_store(site, server.address)
        yield f"s3://{BUCKET}/vmcore", server


@contextmanager
def by_sftp(site: Site, dump: Path, _: float) -> Iterator[Place]:
    with sshd(site.directory / "sshd", site.directory / "home") as server:
        server.know()
        site.environment["HOME"] = str(server.home)
        yield server.url(dump), None


CASES: dict[str, Callable[[Site, Path, float], AbstractContextManager[Place]]] = {
    "http": by_http,
    "s3": in_store,
    "sftp": by_sftp,
}


def beside_us(site: Site, dump: Path, name: str, place: Place, rounds: int) -> None:
    """Print what a case took, beside the same dump on this machine."""
    local, far, (url, server) = Timed(), Timed(), place
    run(site, dump, Timed())  # the cache is warm then
    for _ in range(rounds):
        run(site, dump, local)
        run(site, url, far, "--fetch", "answer", server=server)
    size, best = dump.stat().st_size, min(far.seconds) / min(local.seconds)
    early = f", {far.early} of them until it was told" if server else ""
    share = f"{100 * far.size_bytes / size:.2f} % of {size:,}"
    print(
        f"   {name} {far.median:.3f} s, beside us {local.median:.3f} s: ratio"
        f" {far.median / local.median:.2f} (best of both {best:.2f});"
        f" {far.requests} requests{early}, {far.size_bytes:,} bytes: {share};"
        f" resident memory of cas itself {far.peak_kib >> 10} MiB (<= 150)",
        flush=True,
    )


def run(
    site: Site, upload: Path | str, timed: Timed, *words: str, server: Web | None = None
) -> None:
    """Measure from the start of the command to the line that says where it crashed."""
    ticket = f"T-{time.monotonic_ns()}"
    environment = site.prepared()
    argv = [COMMANDS / "cas", "-i", ticket, "-f", upload, *words]
    before = len(server.requests) if server else 0
    begun, answered = time.perf_counter(), 0.0
    with subprocess.Popen(
        argv, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stderr is not None  # noqa: S101
        said = ""
        for line in process.stderr:
            said += line
            if line.startswith(ANSWERED) and not answered:
                answered = time.perf_counter() - begun
                timed.early = len(server.requests) - before if server else 0
                status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
                peaks = (int(each.split()[1]) for each in status if each.startswith("VmHWM"))
                timed.peak_kib = max(timed.peak_kib, *peaks)
    if process.returncode not in (0, 3) or not answered:
        sys.exit(f"{argv}: exit status {process.returncode}\n{said}")
    timed.seconds.append(answered)
    if (
        told := json.loads((site.job(ticket) / "result.json").read_text())["by_ranges"]
    ) is not None:
        timed.requests, timed.size_bytes = told["requests"], told["size_bytes"]
    subprocess.run(["rm", "-rf", site.jobs / ticket], check=True)


if __name__ == "__main__":
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    main()

#!/usr/bin/env python3
"""The first answer of a dump that lies on a server, against that of the same dump beside us.

usage: bench/first_answer.py [--full DIRECTORY] [--dump NAME] [--delay S] [--rounds N] [NAME…]

Without --full it takes the shipped dump, with it the full-size one that bench/fullsize put into
DIRECTORY. Each remote case is measured in turns with the local one, in the same run. An http server
of ours answers each request after the delay; moto and sshd answer at once. NAME chooses some of the
cases: http, s3, sftp.
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

from fetch_servers import Parts, web  # noqa: E402
from ssh_servers import sshd  # noqa: E402
from store_servers import BUCKET, know_store, store_with  # noqa: E402

from installed import COMMANDS, FIXTURES, Site  # noqa: E402

ANSWERED = "* in "
"""How the line begins that says where it crashed."""


MOTO_BYTES = 64 << 20


@dataclass
class Timed:
    """Runs of one case."""

    seconds: list[float] = field(default_factory=list)
    requests: int = 0
    size_bytes: int = 0

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
        directory = Path(scratch)
        dump, kernels = material(options.full, options.dump, directory)
        site = Site(
            directory,
            {
                "kernels": str(kernels),
                "workDirectory": str(directory / "cores"),
                "debugs": str(directory / "debugs"),
                "database": str(directory / "cas.db"),
                "privateAddresses": "yes",
                "engine": "drgn",
            },
        )
        checked(site.admin("-b"))
        site.keep_snippets("sys")
        for name, case in CASES.items():
            if name == "s3" and dump.stat().st_size > MOTO_BYTES:
                print(f"{name:5} left out: moto reads all of the object for each range")
            elif not options.names or name in options.names:
                with case(site, dump, options.delay) as url:
                    measure(site, dump, name, url, options.rounds)


def material(full: Path | None, name: str, scratch: Path) -> tuple[Path, Path]:
    """A plain dump, and where its kernel is."""
    if full:
        return full / name, full / "debug"
    dump = scratch / "vmcore"
    dump.write_bytes(lzma.decompress((FIXTURES / "a/vmcore.elf.xz").read_bytes()))
    return dump, FIXTURES / "a"


def checked(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode not in (0, 3):
        sys.exit(f"{done.args}: exit status {done.returncode}\n{done.stderr}")


@contextmanager
def by_http(site: Site, dump: Path, delay_s: float) -> Iterator[str]:
    with web() as server:
        server.files["/vmcore"] = Parts(dump, delay_s=delay_s)
        yield server.url("/vmcore")


@contextmanager
def in_store(site: Site, dump: Path, _: float) -> Iterator[str]:
    with store_with(dump, "vmcore") as endpoint:
        know_store(site, endpoint)
        yield f"s3://{BUCKET}/vmcore"


@contextmanager
def by_sftp(site: Site, dump: Path, _: float) -> Iterator[str]:
    with sshd(site.directory / "sshd", site.directory / "home") as server:
        server.know()
        site.environment["HOME"] = str(server.home)
        yield server.url(dump)


CASES: dict[str, Callable[[Site, Path, float], AbstractContextManager[str]]] = {
    "http": by_http,
    "s3": in_store,
    "sftp": by_sftp,
}


def measure(site: Site, dump: Path, name: str, url: str, rounds: int) -> None:
    """Print what a case took, beside the same dump on this machine."""
    local, far = Timed(), Timed()
    run(site, dump, Timed())  # the cache is warm then
    for _ in range(rounds):
        run(site, dump, local)
        run(site, url, far, "--fetch", "answer")
    size = dump.stat().st_size
    print(
        f"{name:5} {far.median:6.2f} s, beside us {local.median:6.2f} s:"
        f" {far.median / local.median:5.2f} x; {far.requests} requests,"
        f" {far.size_bytes:,} bytes: {100 * far.size_bytes / size:.2f} % of {size:,}",
        flush=True,
    )


def run(site: Site, upload: Path | str, timed: Timed, *words: str) -> None:
    """Measure from the start of the command to the line that says where it crashed."""
    ticket = f"T-{time.monotonic_ns()}"
    environment = site.prepared()
    argv = [COMMANDS / "cas", "-i", ticket, "-f", upload, *words]
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

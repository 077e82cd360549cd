"""Jobs on three hosts while one host at a time fails, and what must hold afterwards."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from three_hosts import HostInNamespace

from installed import Site

KEEPALIVE_S = 5
NAP_S = 2
SNIPPETS = {"traceback": "bt", "nap": f"!sleep {NAP_S} && echo rested", "modules": "mod"}
"""Few, one of them slow, so that a job is hit in the middle and this machine is not overworked."""
SETTINGS = {
    "engine": "auto",
    "hosts": "first",
    "hostKeepalive": str(KEEPALIVE_S),
    "hostJobs": "2",
    "hostWait": "300",
    "startTimeout": "60",
    "commandTimeout": "30",
    "stopInterval": "2",
}
CLEAN_S = 60.0
"""For what a lost session left to end by itself, once its host is well again."""
WRITE_RATE_S = 0.2

Fault = tuple[Callable[[HostInNamespace], None], Callable[[HostInNamespace], None]]
FAULTS: Mapping[str, Fault] = {
    "link": (HostInNamespace.cut, HostInNamespace.mend),
    "sshd": (HostInNamespace.kill_sshd, HostInNamespace.start_sshd),
    "stop": (HostInNamespace.stop, HostInNamespace.cont),
    "disk": (HostInNamespace.fill_disk, HostInNamespace.free_disk),
}


@dataclass(frozen=True)
class Trial:
    """A job that was run, and what was wrong with it."""

    ticket: str
    seconds: float
    verdict: str
    engine: str
    places: int
    """Hosts that it was given to, one after another; busy ones count too."""
    complaints: tuple[str, ...]


@dataclass
class Tally:
    """What was done to the hosts."""

    faults: list[tuple[str, str]] = field(default_factory=list)
    """Kind and host."""


class SharedSite(Site):
    """A site whose commands run side by side: its configuration is written only to change it."""

    _written: Mapping[str, str] | None = None

    def configure(self) -> None:
        if self.settings != self._written:
            super().configure()
            self._written = dict(self.settings)


def prepare(site: Site, hosts: Sequence[HostInNamespace], dump: Path) -> Mapping[str, bytes]:
    """Register the hosts, and run a job here; its sections are what every job must have."""
    snippets = site.directory / "snippets"
    snippets.mkdir()
    shipped = Path(__file__).parents[2] / "snippets/crash"
    for name in {path.name for path in shipped.iterdir()} | set(SNIPPETS):
        (snippets / name).write_text(f"{SNIPPETS[name]}\n" if name in SNIPPETS else "")
    site.settings |= {**SETTINGS, "snippets": str(snippets), "hosts": "never"}
    done = site.cas("-i", "HERE", "-f", dump)
    assert done.returncode == 0, done.stderr
    expected = sections(site.job("HERE"))
    site.settings["hosts"] = "first"
    for host in hosts:
        added = site.admin("host", "add", host.name)
        assert added.returncode == 0, added.stderr
    return expected


def sections(job: Path) -> dict[str, bytes]:
    return {name: (job / name).read_bytes() for name in SNIPPETS}


def run_job(site: Site, ticket: str, dump: Path, expected: Mapping[str, bytes]) -> Trial:
    """A job through the command, and what its directory says."""
    begun = time.monotonic()
    done = site.cas("-i", ticket, "-f", dump, timeout=900)
    seconds = time.monotonic() - begun
    jobs = site.job_directories(ticket)
    if len(jobs) != 1 or not (jobs[0] / "result.json").exists():
        said = done.stderr.strip().rpartition("\n")[2]
        what = f"{len(jobs)} job directories, status {done.returncode}: {said}"
        return Trial(ticket, seconds, "none", "none", 0, (what,))
    result = json.loads((jobs[0] / "result.json").read_text())
    complaints = list(_complaints(jobs[0], result, expected))
    if done.returncode not in (0, 3):
        complaints.append(f"status {done.returncode}")
    places = len(set(re.findall(r"^\* Using \S+ on (\S+)", done.stderr, re.MULTILINE)))
    engine = str(result["engine"])
    return Trial(ticket, seconds, str(result["verdict"]), engine, places, tuple(complaints))


def _complaints(
    job: Path, result: Mapping[str, Any], expected: Mapping[str, bytes]
) -> Iterator[str]:
    names = [section["name"] for section in result["sections"]]
    if sorted(names) != sorted(expected):
        yield f"sections {names}"
        return
    for section in result["sections"]:
        content = (job / section["name"]).read_bytes()
        if section["status"] != "ok":
            yield f"{section['name']}: {section['status']}"
        elif section["engine"] == "crash" and content != expected[section["name"]]:
            yield f"{section['name']}: {len(content)} bytes that are not those of a quiet run"


@contextmanager
def disturbed(
    hosts: Sequence[HostInNamespace], kinds: Sequence[str], hold_s: float, rest_s: float
) -> Iterator[Tally]:
    """One host at a time fails for some seconds, in turn, until the block is left."""
    tally, is_over = Tally(), threading.Event()

    def disturb() -> None:
        turn = 0
        while not is_over.wait(rest_s):
            host, kind = hosts[turn % len(hosts)], kinds[turn % len(kinds)]
            begin, end = FAULTS[kind]
            begin(host)
            tally.faults.append((kind, host.name))
            is_over.wait(hold_s)
            end(host)
            turn += 1

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        yield tally
    finally:
        is_over.set()
        thread.join()


def run_jobs(
    site: Site, tickets: Sequence[str], dump: Path, expected: Mapping[str, bytes], at_a_time: int
) -> Iterator[Trial]:
    site.configure()
    with ThreadPoolExecutor(at_a_time) as pool:
        yield from pool.map(lambda ticket: run_job(site, ticket, dump, expected), tickets)


def left_behind(host: HostInNamespace) -> list[str]:
    """What the sessions of a host have left, once they have had time to end."""
    deadline = time.monotonic() + CLEAN_S
    while (left := _left(host)) and time.monotonic() < deadline:
        time.sleep(WRITE_RATE_S)
    return left


def _left(host: HostInNamespace) -> list[str]:
    directory = host.home / ".cache/cas/sessions"
    kept = [f"sessions/{path.name}" for path in directory.iterdir()] if directory.is_dir() else []
    return host.processes() + kept

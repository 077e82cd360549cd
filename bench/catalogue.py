#!/usr/bin/env python3
"""How fast the catalogue is built, brought up to date and asked; beside rpm and createrepo_c.

usage: bench/catalogue.py [--packages 10000] [--kernels 200000] [--scratch DIRECTORY] [NAME…]

NAME chooses some of: scan, rescan, lookup. The packages are made by bench/packages.py, 1.4 MB on
the disk for each, and removed at the end. Everything is read once before it is timed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import packages as generated

from cas.catalogue import Catalogue
from cas.database.connection import Database
from cas.database.store import Store
from cas.database.tables import kernels, packages
from cas.model.kernel import KernelIdentity

COMMANDS = Path(sys.executable).parent
FORMAT = r"[%{FILENAMES} %{FILELINKTOS}\n]"
BUILDS_OF_A_RELEASE = 4
LOOKUPS = 200
NEW = 10
MOMENT = datetime(2026, 1, 1)


@dataclass(frozen=True)
class Site:
    """A directory of packages, and an installation that catalogues it."""

    scratch: Path
    count: int

    @property
    def kernels(self) -> Path:
        return self.scratch / "kernels"

    @property
    def files(self) -> list[Path]:
        return sorted(self.kernels.rglob("*.rpm"))

    def prepare(self) -> None:
        settings = {"kernels": self.kernels, "workDirectory": self.scratch / "cores"}
        settings |= {"debugs": self.scratch / "debugs", "database": self.scratch / "cas.db"}
        lines = [f"{key} = {value}\n" for key, value in settings.items()]
        (self.scratch / "cas.conf").write_text("[settings]\n" + "".join(lines))
        generated.make(self.kernels, range(self.count))

    def forget(self) -> None:
        for path in self.scratch.glob("cas.db*"):
            path.unlink()

    def cas_admin(self) -> Cost:
        environment = {**os.environ, "CAS_CONF": str(self.scratch / "cas.conf")}
        return timed([COMMANDS / "cas-admin", "-b"], env=environment)


@dataclass(frozen=True)
class Cost:
    """What a command took, in seconds: until it ended, and of processors."""

    wall: float
    cpu: float

    def of(self, other: Cost) -> str:
        """As a sentence beside another's."""
        return (
            f"{self.wall:.2f} s, {self.wall / other.wall:.2f} x as long (cpu {self.cpu:.1f} s, "
            f"{self.cpu / other.cpu:.2f} x)"
        )


def timed(argv: list[str | Path], **how: object) -> Cost:
    before, begun = os.times(), time.perf_counter()
    done = subprocess.run(  # type: ignore[call-overload]
        argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False, **how
    )
    wall, after = time.perf_counter() - begun, os.times()
    if done.returncode or b"arning" in done.stderr:
        sys.exit(f"{argv[:3]}: exit status {done.returncode}\n{done.stderr.decode()[-2000:]}")
    cpu = after.children_user + after.children_system
    return Cost(wall, cpu - before.children_user - before.children_system)


class Memory:
    """The largest sum of the peaks of all processes below this one, while it is watched."""

    def __init__(self) -> None:
        self.kib = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            self.kib = max(self.kib, sum(peak(pid) for pid in descendants(os.getpid())))


def descendants(pid: int) -> Iterator[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(word) for task in tasks for word in (task / "children").read_text().split()]
    except OSError:
        return
    for child in children:
        yield child
        yield from descendants(child)


def peak(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(found[0]) if found else 0


def scan(site: Site) -> None:
    """From an empty catalogue to the first whole one."""
    for path in site.files:
        with path.open("rb") as file:
            file.read(2 << 20)
    listing = site.scratch / "list"
    listing.write_text("".join(f"{path.relative_to(site.kernels)}\n" for path in site.files))
    rpm = timed(["rpm", "-qp", "--qf", FORMAT, *site.files])
    site.forget()
    with Memory() as memory:
        ours = site.cas_admin()
    each = ours.wall / site.count * 1e3
    said("scan", f"{site.count} packages, cas-admin -b: {ours.wall:.2f} s, {each:.2f} ms each")
    said("", f"rpm -qp: {rpm.of(ours)}; target 2")
    said("memory", f"{memory.kib / 1024:.0f} MiB, all processes together (target 200)")
    repository = createrepo(site, listing)
    said("", f"createrepo_c: {repository.of(ours)}; target 1")


def createrepo(site: Site, listing: Path) -> Cost:
    """Its quickest: two workers, no databases, every file's checksum known from a run before."""
    argv: list[str | Path] = ["createrepo_c", "--quiet", "--workers=2", "--no-database"]
    argv += ["--general-compress-type=gz", f"--cachedir={site.scratch / 'checksums'}"]
    argv += [f"--pkglist={listing}", f"--outputdir={site.scratch / 'repository'}", site.kernels]
    (site.scratch / "repository").mkdir()
    timed(argv)
    return timed(argv)


def rescan(site: Site) -> None:
    """With a catalogue that is whole but for a few packages, or for none."""
    site.cas_admin()
    unchanged = [site.cas_admin().wall for _ in range(5)]
    new = []
    for turn in range(3):
        first = site.count + NEW * turn
        generated.make(site.kernels, range(first, first + NEW))
        new.append(site.cas_admin().wall)
    seconds = statistics.median(unchanged)
    said("rescan", f"{site.count} packages, nothing new: {seconds:.2f} s (target 0.55 for 10,000)")
    said("", f"with {NEW} new ones: {statistics.median(new):.2f} s (target 1)")


def lookup(site: Site, count: int) -> None:
    """One kernel of very many."""
    site.forget()
    name = site.scratch / "cas.db"
    fill(Database(str(name), 60.0), site.scratch, count)
    catalogue = Catalogue(Store(name))
    catalogue.store.open()
    step = max(1, count // LOOKUPS)
    asked = range(0, count, step)
    for number in asked:
        for sibling in siblings(number, count):
            package(site.scratch, sibling).touch()
    by_build_id = [times(catalogue, site, number, build_id=identity(number)) for number in asked]
    by_banner = [times(catalogue, site, number, banner=banner(number)) for number in asked]
    for what, seconds, target in (("build-id", by_build_id, 5), ("banner", by_banner, 10)):
        middle, last = statistics.median(seconds) * 1e3, sorted(seconds)[-len(seconds) // 50] * 1e3
        said("lookup", f"by {what} in {count}: {middle:.2f} ms, 98 % below {last:.2f} ms")
        said("", f"(target {target} ms)")


def times(catalogue: Catalogue, site: Site, number: int, **facts: str) -> float:
    identity = KernelIdentity("x86_64", release(number), **facts)
    begun = time.perf_counter()
    match = catalogue.find(identity, root=site.scratch)
    seconds = time.perf_counter() - begun
    if match.kernel.source != package(site.scratch, number):
        sys.exit(f"kernel {number}: found {match.kernel.source}")
    return seconds


def fill(database: Database, scratch: Path, count: int) -> None:
    """A catalogue of so many kernels, several builds of each release."""
    for first in range(0, count, 10_000):
        some = range(first, min(first + 10_000, count))
        with database.writing() as connection:
            connection.execute(packages.insert(), [package_row(scratch, each) for each in some])
            connection.execute(kernels.insert(), [kernel_row(each) for each in some])


def package_row(scratch: Path, number: int) -> dict[str, object]:
    columns = {"id": number + 1, "path": str(package(scratch, number)), "state": "ok"}
    columns |= {"name": "kernel-debuginfo", "arch": "x86_64", "scanned_at": MOMENT}
    return columns | {"size_bytes": 1, "mtime_ns": number, "inode": number, "kind": "rpm"}


def kernel_row(number: int) -> dict[str, object]:
    columns = {"package_id": number + 1, "release": release(number), "arch": "x86_64"}
    columns |= {"flavour": "", "member": "/vmlinux", "build_id": identity(number)}
    return columns | {"banner": banner(number), "examined": True, "size_bytes": 1}


def siblings(number: int, count: int) -> range:
    first = number - number % BUILDS_OF_A_RELEASE
    return range(first, min(first + BUILDS_OF_A_RELEASE, count))


def package(scratch: Path, number: int) -> Path:
    return scratch / f"{number}.rpm"


def release(number: int) -> str:
    return f"5.14.0-{number // BUILDS_OF_A_RELEASE}.el9.x86_64"


def identity(number: int) -> str:
    return generated.Kernel(number).hexadecimal("id", 40, 1)[0]


def banner(number: int) -> str:
    built = f"Mon Mar  3 10:{number % BUILDS_OF_A_RELEASE:02}:00 UTC 2025"
    return f"Linux version {release(number)} (mock@build) (gcc) #1 SMP {built}"


def said(name: str, text: str) -> None:
    print(f"{name:8} {text}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the catalogue.")
    parser.add_argument("--packages", type=int, default=10_000)
    parser.add_argument("--kernels", type=int, default=200_000)
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=words.scratch, prefix="bench-catalogue-") as scratch:
        site = Site(Path(scratch), words.packages)
        parts: dict[str, Callable[[], None]] = {
            "scan": lambda: scan(site),
            "rescan": lambda: rescan(site),
            "lookup": lambda: lookup(site, words.kernels),
        }
        wanted = [name for name in parts if name in (words.names or parts)]
        if wanted != ["lookup"]:
            site.prepare()
        said("load", f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
        for name in wanted:
            parts[name]()
        said("load", f"{os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()

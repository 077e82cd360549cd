#!/usr/bin/env python3
"""Cataloguing a Debian package against unpacking it as far as needed, in turns in the same run.

usage: bench/deb_packages.py [--rounds N] PACKAGE.deb…

The peer is `dpkg-deb --fsys-tarfile PACKAGE | head -c N`, where N is the offset in the tar at which
the notes of the package's vmlinux end; N is found first, by a way of its own. Ours is
`package_kinds.read_package` in a process of its own that has been started already (`read`), and
once more with the start of Python and the imports (`whole`). The times are seconds of wall clock,
the ratios those of the medians; target of `read`: 1.1 at most. Memory is the peak (VmHWM) of ours.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cas import elf

BEGINNING_BYTES = 96 << 20
OURS = """
import json, sys, time
from pathlib import Path
from cas.catalogue.packages import package_kinds
begun = time.perf_counter()
package = package_kinds.read_package(Path(sys.argv[1]))
elapsed = time.perf_counter() - begun
(kernel,) = package.kernels
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([elapsed, int(peak.split()[1]), kernel.build_id, kernel.banner]))
"""


def notes_end(package: Path) -> int:
    """Offset in the package's tar at which the notes of its vmlinux end."""
    argv = ["dpkg-deb", "--fsys-tarfile", package]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
            member = next(m for m in tar if m.isreg() and "/vmlinux" in m.name)
            content = tar.extractfile(member)
            assert content is not None  # noqa: S101
            read = elf.reader(content.read(BEGINNING_BYTES))
        process.kill()
    ends = [s.offset + s.filesz for s in elf.segments(read, elf.header(read)) if s.type == 4]
    return member.offset_data + max(ends)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one run, in seconds."""

    wall: float
    processor: float
    """Of all its processes and threads, in user and in system mode."""


def timed(run: Callable[[], object]) -> Cost:
    """What the child processes of a call cost."""
    before, begun = os.times(), time.perf_counter()
    run()
    wall, after = time.perf_counter() - begun, os.times()
    return Cost(
        wall,
        after.children_user + after.children_system - before.children_user - before.children_system,
    )


def peer(package: Path, size: int) -> None:
    """Have dpkg-deb give so many bytes of the tar."""
    argv = ["dpkg-deb", "--fsys-tarfile", package]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as dpkg:
        head = ["head", "-c", str(size)]
        subprocess.run(head, stdin=dpkg.stdout, stdout=subprocess.DEVNULL, check=True)


def ours(package: Path) -> tuple[float, int, str]:
    """Seconds of reading alone, peak in KiB, build-id."""
    argv = [sys.executable, "-c", OURS, package]
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=True, text=True)
    elapsed, peak_kib, build_id, banner = json.loads(done.stdout)
    if not build_id or not banner:
        raise SystemExit(f"{package}: build-id {build_id}, banner {banner}")
    return elapsed, peak_kib, build_id


def measure(package: Path, rounds: int) -> None:
    """Print the figures of one package."""
    size = notes_end(package)
    peer(package, size)  # now all of it is in memory
    told = ours(package)
    theirs, reads, wholes = [], [], []
    for _ in range(rounds):
        theirs.append(timed(lambda: peer(package, size)))
        wholes.append(timed(lambda: reads.append(ours(package)[0])))
    wall = statistics.median(cost.wall for cost in theirs)
    print(f"{package.name}: N = {size:,}, build-id {told[2]}")
    print(f"  dpkg-deb | head  {wall:.3f} s")
    for name, times in (("read", reads), ("whole", [cost.wall for cost in wholes])):
        print(f"  {name:<16} {statistics.median(times):.3f} s", end="")
        print(f", ratio {statistics.median(times) / wall:.2f}")
    for name, costs in (("dpkg-deb | head", theirs), ("whole", wholes)):
        median = statistics.median(cost.processor for cost in costs)
        print(f"  processor time of {name:<16} {median:.3f} s")
    print(f"  peak {told[1] / 1024:.0f} MiB")


def main(words: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("package", type=Path, nargs="+")
    options = parser.parse_args(words)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs, {options.rounds} rounds")
    for package in options.package:
        measure(package, options.rounds)


if __name__ == "__main__":
    main(sys.argv[1:])

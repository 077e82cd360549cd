#!/usr/bin/env python3
"""Figures of the deep trace, and its values against crash's; see README.md.

usage: bench/glide.py time DIRECTORY [ROUNDS]
       bench/glide.py values DUMP VMLINUX [EACH]
"""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TOP), str(TOP / "tests"), str(TOP / "tests" / "engines")]

from crash_values import chosen, compared, printed_by_crash  # noqa: E402

from cas.engines.drgn.child.glide.modules import Source  # noqa: E402
from cas.engines.drgn.child.glide.trace import Glide, Wanted  # noqa: E402
from cas.engines.drgn.child.limits import raise_late_on_alarm  # noqa: E402
from cas.engines.drgn.child.target import File, Request, Target  # noqa: E402
from cas.engines.drgn.glide import glide_modules  # noqa: E402

EACH = 250
WAYS = {
    "every task, depth 0 (<= 2 s)": Wanted(tasks="all", panic_depth=0, depth=0),
    "panic task and CPUs, depth 2 (<= 0.5 s)": Wanted(tasks="cpus", panic_depth=2, depth=2),
    "as cas glide does": Wanted(),
}


def opened(dump: Path, vmlinux: Path) -> Target:
    files = [File(str(path), os.open(path, os.O_RDONLY)) for path in (dump, vmlinux)]
    return Target(Request(*files, platform.machine()))


def one(directory: Path, way: str) -> None:
    """A trace in a process of its own: seconds, seconds of a processor, MiB, what it told."""
    raise_late_on_alarm()
    target = opened(directory / "vmcore.kdump", directory / "vmlinux")
    sources = tuple(
        Source(each.name, str(each.path), each.text, each.kmods)
        for each in glide_modules([TOP / "glide"])
    )
    wanted = WAYS[way]
    begun, used = time.perf_counter(), time.process_time()
    records = list(
        Glide(target, Wanted(wanted.tasks, wanted.panic_depth, wanted.depth, 60, sources)).records()
    )
    seconds, processor = time.perf_counter() - begun, time.process_time() - used
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    end = records[-1]
    print(seconds, processor, peak_mib, end["tasks"], end["frames"], end["values"])


def times(directory: Path, rounds: int) -> None:
    load = os.getloadavg()[0]
    print(f"median of {rounds}, load {load:.1f}; peak memory, dump and vmlinux included")
    for way in WAYS:
        told = [
            subprocess.run(
                [sys.executable, __file__, "one", directory, way],
                capture_output=True,
                text=True,
                check=True,
            ).stdout.split()
            for _ in range(rounds)
        ]
        seconds, processor, peak = (
            statistics.median(float(each[column]) for each in told) for column in range(3)
        )
        tasks, frames, values = told[0][3:]
        print(
            f"{way:42} {seconds:.2f} s, {processor:.2f} s of a processor, {peak:.0f} MiB;"
            f" {tasks} tasks, {frames} frames, {values} values"
        )


def values(dump: Path, vmlinux: Path, each: int) -> None:
    target = opened(dump, vmlinux)
    found = list(chosen(target.prog, each))
    kinds = {one.type_.type_name() for one in found}
    with tempfile.TemporaryDirectory() as directory:
        texts = printed_by_crash(found, vmlinux, dump, Path(directory))
    result = compared(target, found, texts)
    print(
        f"{len(found):,} structures of {len(kinds)} types, {result.leaves:,} values,"
        f" {len(result.differences):,} differences"
    )
    print("\n".join(result.differences[:100]))


def main() -> None:
    match sys.argv[1:]:
        case ["one", directory, way]:
            one(Path(directory), way)
        case ["time", directory, *rounds]:
            times(Path(directory), int(rounds[0]) if rounds else 5)
        case ["values", dump, vmlinux, *each]:
            values(Path(dump), Path(vmlinux), int(each[0]) if each else EACH)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()

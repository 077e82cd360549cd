#!/usr/bin/env python3
"""``cas analyze`` over many small dumps: one processor, two, and bare drgn on each dump.

    bench/analyze.py [CRASHES] [DIRECTORY]

makes so many crashes (200) of the smaller shipped dump, each with another register note, puts them
into an archive in DIRECTORY, and runs an analyzer of one line on all of them. DIRECTORY is kept
and used again.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "analyzers"))
sys.path.insert(0, str(ROOT / "tests"))
from archived_crashes import another_crash  # noqa: E402

FIXTURES = ROOT / "tests" / "kernels" / "fixtures"
COMMANDS = Path(sys.executable).parent
ANALYZER = "print(prog['jiffies'].value_())\n"
BARE = (
    "import sys, drgn; prog = drgn.Program(); prog.set_enabled_debug_info_finders([]); "
    "prog.set_core_dump(sys.argv[1]); "
    "module = next(each for each, _ in prog.loaded_modules()); module.try_file(sys.argv[2]); "
    "print(prog['jiffies'].value_())"
)
LEAST_BARE = 20


def run(directory: Path, *words: str, conf: str = "cas.conf", text: str | None = None) -> str:
    environment = {**os.environ, "CAS_CONF": str(directory / conf), "HOME": str(directory)}
    argv = [str(COMMANDS / words[0]), *words[1:]]
    done = subprocess.run(
        argv, env=environment, input=text, capture_output=True, text=True, check=True
    )
    return done.stdout


def fill(directory: Path, crashes: int) -> None:
    directory.mkdir(parents=True)
    # uploads whose kernel nobody has end in a moment
    (directory / "no").mkdir()
    for name, kernels, rest in (("cas", FIXTURES / "b", "cas"), ("none", directory / "no", "no")):
        lines = {
            "kernels": kernels,
            "workDirectory": directory / "cores",
            "debugs": directory / f"debugs-{rest}",
            "database": directory / f"{rest}.db",
            "engine": "drgn",
        }
        text = "".join(f"{key} = {value}\n" for key, value in lines.items())
        (directory / f"{name}.conf").write_text(f"[settings]\n{text}")
    run(directory, "cas-admin", "-b")
    dumps = []
    for number in range(crashes):
        path = directory / f"dump{number}"
        dumps.append(str(another_crash(FIXTURES / "b" / "vmcore.kdump", number, path)))
    run(directory, "cas", "upload", *dumps, conf="none.conf")
    run(directory, "cas-admin", "index")
    run(directory, "cas", "analyzer", "jiffies", text=ANALYZER)


def seconds(directory: Path, crashes: int, *options: str) -> float:
    begun = time.monotonic()
    lines = run(directory, "cas", "analyze", *options, "type=crash", "jiffies").splitlines()
    taken = time.monotonic() - begun
    if len(lines) != crashes:
        raise SystemExit(f"{len(lines)} lines of {crashes}")
    return taken


def bare_seconds(directory: Path, crashes: int) -> float:
    (vmlinux,) = directory.glob("debugs-cas/*/vmlinux")
    taken = []
    for number in range(min(crashes, LEAST_BARE)):
        begun = time.monotonic()
        argv = [sys.executable, "-c", BARE, str(directory / f"dump{number}"), str(vmlinux)]
        subprocess.run(argv, check=True, capture_output=True)
        taken.append(time.monotonic() - begun)
    return statistics.median(taken)


def main() -> None:
    crashes = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    given = sys.argv[2] if len(sys.argv) > 2 else ROOT / "bench" / ".cache" / "analyze"
    directory = Path(given).absolute()
    if not directory.exists():
        fill(directory, crashes)
    seconds(directory, crashes)
    bare = bare_seconds(directory, crashes)
    one = seconds(directory, crashes, "--jobs", "1")
    two = seconds(directory, crashes, "--jobs", "2")
    again = bare_seconds(directory, crashes)
    bare = min(bare, again)
    print(f"bare drgn            {bare:.3f} s a dump")
    print(f"cas analyze --jobs 1 {one / crashes:.3f} s a dump: {one / crashes / bare:.2f} times")
    print(
        f"cas analyze --jobs 2 {two / crashes:.3f} s a dump: {one / two:.2f} times as fast as one"
    )
    print("load:", *os.getloadavg())


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Our unpacking against the usual programs, file to file, in turns in the same run.

usage: bench/unpack.py [--rounds N] [--scratch DIRECTORY] [--zeros GIB] DUMP…

Every DUMP is packed in each format, and unpacked by each program into a file and by
cas.intake.Storing in a process of its own; no one calls fsync. Ours and the best of the others are
compared by their medians. Programs that are missing are left out and named.
With --zeros an ELF dump of so many GiB of zeros is unpacked once from gzip and once from zstd, and
the peak memory of the process (VmHWM) is told; DUMP is then the source of its notes.
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
import zlib
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACK = {
    "gzip": ("gzip", "-c"),
    "gzip -1": ("gzip", "-1", "-c"),
    "zstd": ("zstd", "-q", "-c"),
    "xz -T2": ("xz", "-c", "-T2"),
    "xz -1 -T2": ("xz", "-1", "-c", "-T2"),
    "xz -T1": ("xz", "-c", "-T1", "-2"),
    "bzip2": ("lbzip2", "-c"),
    "lz4": ("lz4", "-q", "-c"),
    "lzop": ("lzop", "-c"),
    "compress": ("compress", "-f", "-c"),
}
PEERS = {
    "gzip": (("pigz", "-dc"), ("rapidgzip", "-qdc"), ("gzip", "-dc")),
    "zstd": (("zstd", "-qdc", "-T0"),),
    "xz": (("xz", "-dc", "-T0"),),
    "bzip2": (("lbzip2", "-dc"), ("bzip2", "-dc")),
    "lz4": (("lz4", "-qdc"),),
    "lzop": (("lzop", "-dc"),),
    "compress": (("gzip", "-dc"),),
}
OURS = """
import json, sys, time
from pathlib import Path
from cas.settings.rules import IntakeLimits
from cas.dump import kind_of
from cas.intake import Intake, Storing
from cas.progress import Silent
begun = time.perf_counter()
storing = Storing([Path(sys.argv[1])], Path(sys.argv[2]), Intake(IntakeLimits(), kind_of), Silent())
with storing:
    storing.head()
    head = time.perf_counter() - begun
    stored = storing.stored()
    spent = time.perf_counter() - begun
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
print(json.dumps([spent, head, peak, stored.vmcore.stat().st_blocks * 512, len(stored.missing)]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dump", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--zeros", type=int)
    arguments = parser.parse_args()
    os.environ["PATH"] += f":{Path(sys.executable).parent}"
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as directory:
        scratch = Path(directory)
        for dump in arguments.dump:
            if arguments.zeros:
                measure_zeros(dump, arguments.zeros, scratch)
            else:
                measure(dump, arguments.rounds, scratch)


def measure(dump: Path, rounds: int, scratch: Path) -> None:
    print(f"== {dump.name}, {dump.stat().st_size >> 20} MiB, load {os.getloadavg()[0]:.1f}")
    for name, argv in PACK.items():
        if shutil.which(argv[0]) is None:
            print(f"{name:10} left out: there is no {argv[0]}")
            continue
        packed = scratch / "packed"
        with dump.open("rb") as source, packed.open("wb") as target:
            subprocess.run(argv, stdin=source, stdout=target, check=True)
        compare(name, packed, rounds, scratch)


def compare(name: str, packed: Path, rounds: int, scratch: Path) -> None:
    runs: dict[str, Callable[[], float]] = {"cas": lambda: ours(packed, scratch)[0]}
    for argv in PEERS[name.partition(" ")[0]]:
        if shutil.which(argv[0]):
            runs[" ".join(argv)] = lambda argv=argv: peer(argv, packed, scratch)  # type: ignore[misc]
    times: dict[str, list[float]] = {run: [] for run in runs}
    for _ in range(rounds):
        for run, measured in runs.items():
            times[run].append(measured())
    medians = {run: statistics.median(values) for run, values in times.items()}
    best = min((run for run in runs if run != "cas"), key=medians.__getitem__)
    # pair by pair, so that a busy machine hits both
    pairs = zip(times["cas"], times[best], strict=True)
    ratio = statistics.median(own / other for own, other in pairs)
    others = ", ".join(f"{run} {medians[run]:.3f}" for run in runs if run != "cas")
    print(
        f"{name:10} cas {medians['cas']:7.3f} s  ratio {ratio:5.2f} to {best}  ({others})",
        flush=True,
    )


def ours(packed: Path, scratch: Path) -> list[float]:
    job = scratch / "job"
    shutil.rmtree(job, ignore_errors=True)
    job.mkdir()
    argv = [sys.executable, "-c", OURS, packed, job]
    values: list[float] = json.loads(subprocess.check_output(argv))
    return values


def peer(argv: tuple[str, ...], packed: Path, scratch: Path) -> float:
    target = scratch / "unpacked"
    target.unlink(missing_ok=True)
    with packed.open("rb") as source, target.open("wb") as file:
        words = [*argv, packed] if argv[0] == "rapidgzip" else [*argv]
        begun = time.perf_counter()
        subprocess.run(words, stdin=source, stdout=file, check=True)
    return time.perf_counter() - begun


def measure_zeros(dump: Path, gib: int, scratch: Path) -> None:
    sparse = scratch / "sparse.elf"
    subprocess.run([HERE / "sparse_vmcore.py", sparse, str(gib), dump], check=True)
    for name, pack in {"gzip": pack_gzip, "zstd": pack_zstd}.items():
        packed = scratch / f"packed.{name}"
        pack(sparse, packed)
        spent, head, peak, stored, missing = ours(packed, scratch)
        speed = gib / spent
        print(
            f"{gib} GiB of zeros from {name} ({packed.stat().st_size >> 10} KiB): {spent:.1f} s, "
            f"{speed:.2f} GiB/s, readable after {head:.2f} s, peak {peak / 1024:.0f} MiB, "
            f"{stored / 1024:.0f} KiB on disk, {missing:.0f} missing",
            flush=True,
        )


def pack_gzip(source: Path, target: Path) -> None:
    """One gzip member; the zeros are packed once a MiB and repeated, as deflate allows."""
    size, head_bytes, step = source.stat().st_size, 1 << 20, 1 << 20
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    with source.open("rb") as file:
        head = file.read(head_bytes)
    zeros = bytes(step)
    crc = zlib.crc32(head)
    with target.open("wb") as file:
        file.write(b"\x1f\x8b\x08\0\0\0\0\0\0\3")
        file.write(packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH))
        piece = packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)
        rest = size - len(head)
        for _ in range(rest // step):
            file.write(piece)
            crc = zlib.crc32(zeros, crc)
        last = bytes(rest % step)
        file.write(packer.compress(last) + packer.flush())
        crc = zlib.crc32(last, crc)
        file.write(crc.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little"))


def pack_zstd(source: Path, target: Path) -> None:
    """A frame for the beginning, and one of a GiB of zeros, repeated."""
    size, step = source.stat().st_size, 1 << 30
    with source.open("rb") as file, target.open("wb") as packed:
        packed.write(zstd_frame(file.read(size % step)))
        zeros = zstd_frame(bytes(step))
        for _ in range(size // step):
            packed.write(zeros)


def zstd_frame(data: bytes) -> bytes:
    argv = ["zstd", "-q", "-1", "-T0", "-c"]
    return subprocess.run(argv, input=data, stdout=subprocess.PIPE, check=True).stdout


if __name__ == "__main__":
    main()

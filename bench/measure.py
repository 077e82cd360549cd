#!/usr/bin/env python3
"""Speed and memory as ratios against a named peer, both measured in turns in the same run.

usage: bench/measure.py [--full DIRECTORY] [--rounds N] [NAME…]

Without --full the shipped dump is measured; with it also the full-size kernel that bench/fullsize
put into DIRECTORY. NAME chooses some of the measurements (see MEASUREMENTS below).
"""

from __future__ import annotations

import argparse
import lzma
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
COMMANDS = Path(sys.executable).parent
EXTRACT_TARGETS = {"rpm-zstd": " (<= 1.0)", "rpm-xz": " (<= 0.6)"}
"""By what packed the package; the shipped ones are too small to have one."""
NINE = "bt\nbt -a\nsys\nlog\nmod\nkmem -i\nkmem -f\nps\nexit\n"


@dataclass(frozen=True)
class Material:
    """A dump, its package, and a site on which a first job has warmed the cache."""

    name: str
    dump: Path
    package: Path
    site: Path

    def environment(self) -> dict[str, str]:
        return {**os.environ, "CAS_CONF": str(self.site / "cas.conf")}

    def cas(self, *words: str | Path) -> list[str | Path]:
        return [COMMANDS / "cas", *words]

    @property
    def vmlinux(self) -> Path:
        (vmlinux,) = (self.site / "debugs").glob("*/vmlinux")
        return vmlinux

    @property
    def job(self) -> Path:
        """The first job, the one that warmed the cache."""
        return min((self.site / "cores" / "WARM").iterdir())


def prepare(name: str, dump: Path, package: Path, scratch: Path) -> Material:
    site = scratch / name
    site.mkdir()
    settings = {"kernels": package.parent, "workDirectory": site / "cores"}
    settings |= {"debugs": site / "debugs", "database": site / "cas.db"}
    lines = [f"{key} = {value}\n" for key, value in settings.items()]
    (site / "cas.conf").write_text("[settings]\n" + "".join(lines))
    material = Material(name, dump, package, site)
    run([COMMANDS / "cas-admin", "-b"], material.environment())
    run(material.cas("-i", "WARM", "-f", dump), material.environment())
    return material


def run(argv: list[str | Path], environment: dict[str, str], **how: object) -> None:
    done = subprocess.run(argv, env=environment, capture_output=True, check=False, **how)  # type: ignore[call-overload]
    if done.returncode not in (0, 3):
        sys.exit(f"{argv}: exit status {done.returncode}\n{done.stderr.decode()}")


def timed(argv: list[str | Path], environment: dict[str, str], **how: object) -> float:
    begun = time.perf_counter()
    run(argv, environment, **how)
    return time.perf_counter() - begun


def bare_crash(material: Material, commands: str) -> float:
    """crash -s -i, in an empty directory with an empty HOME, as the job runs it."""
    with tempfile.TemporaryDirectory() as room:
        script = Path(room) / "commands"
        script.write_text(commands)
        environment = {"PATH": os.environ["PATH"], "HOME": room, "TERM": "dumb"}
        argv = ["crash", "--no_crashrc", "-s", "-i", script, material.vmlinux, material.dump]
        return timed(argv, environment, cwd=room)


def first_answer(material: Material) -> float:
    """Seconds from starting cas to the line that says what crashed."""
    begun = time.perf_counter()
    with subprocess.Popen(
        material.cas("-i", "ANSWER", "-f", material.dump),
        env=material.environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stderr is not None  # noqa: S101
        for line in process.stderr:
            if line.startswith("* in "):
                answered = time.perf_counter() - begun
        process.wait()
    return answered


def ratio(ours: Callable[[], float], peer: Callable[[], float], rounds: int) -> str:
    pairs = [(ours(), peer()) for _ in range(rounds)]
    mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    best = min(own / other for own, other in pairs)
    return f"{mine:8.3f} s {theirs:8.3f} s   ratio {mine / theirs:.3f} (best round {best:.3f})"


def measure_first_answer(material: Material, rounds: int) -> Iterator[str]:
    yield "first answer / crash with nine commands (<= 0.15): " + ratio(
        lambda: first_answer(material), lambda: bare_crash(material, NINE), rounds
    )


OPEN_VMLINUX = """
import sys
sys.path += sys.argv[2:]
from drgn import Program
prog = Program()
prog.set_enabled_debug_info_finders([])
prog.extra_module("kernel", create=True).try_file(sys.argv[1], force=True)
print(prog.type("struct task_struct").size)
"""


def bare_drgn(script: str, *files: Path) -> float:
    """drgn imported as our child does it, without the hooks of other packages."""
    from cas.engines.drgn.starting import ENVIRONMENT, home_of_drgn

    argv = [sys.executable, "-I", "-S", "-c", script, *files, home_of_drgn()]
    return timed(argv, {**os.environ, **ENVIRONMENT})


def measure_in_place(material: Material, rounds: int) -> Iterator[str]:
    """A dump of 1 GiB and more on another file system, where one in memory is there."""
    with elsewhere() as room:
        large = room / "vmcore"
        shutil.copy(material.dump, large)
        with large.open("ab") as file:
            for _ in range(16 if large.stat().st_size < 1 << 30 else 0):
                file.write(os.urandom(64 << 20))
        told = "first answer, a dump of 1 GiB elsewhere / drgn with bt (<= 1.4): "
        yield told + beside_drgn(material, large, rounds)


def measure_kdump(material: Material, rounds: int) -> Iterator[str]:
    """The same dump, as makedumpfile compresses it."""
    with elsewhere() as room:
        compressed = room / "vmcore"
        run(["makedumpfile", "-f", "-c", "-d", "31", material.dump, compressed], dict(os.environ))
        told = "first answer of a KDUMP elsewhere / drgn with bt (<= 1.4): "
        yield told + beside_drgn(material, compressed, rounds)


def measure_sparse(material: Material, rounds: int) -> Iterator[str]:
    """The same dump, made 64 GiB long by a hole."""
    sparse = material.site / "sparse"
    shutil.copy(material.dump, sparse)
    os.truncate(sparse, 64 << 30)
    told = "first answer of 64 GiB, sparse / drgn with bt (<= 1.6): "
    yield told + beside_drgn(material, sparse, rounds)
    sparse.unlink()


@contextmanager
def elsewhere() -> Iterator[Path]:
    """A directory on another file system than the jobs', where there is one in memory."""
    memory = Path("/dev/shm")  # noqa: S108
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as room:
        yield Path(room)


def beside_drgn(material: Material, dump: Path, rounds: int) -> str:
    """The first answer of a dump in turns with bare drgn on it."""
    return ratio(
        lambda: first_answer(replace(material, dump=dump)),
        lambda: bare_drgn(BARE_DRGN, dump, material.vmlinux),
        rounds,
    )


def measure_kernel_log(material: Material, rounds: int) -> Iterator[str]:
    """The log of the first job, in place of its dump."""
    log = replace(material, dump=material.job / "log")
    yield "kernel log with file and line / drgn opening the vmlinux (<= 2): " + ratio(
        lambda: first_answer(log), lambda: bare_drgn(OPEN_VMLINUX, material.vmlinux), rounds
    )


def measure_new_kernel_log(material: Material, rounds: int) -> Iterator[str]:
    """The log of the first job, of which nobody has extracted the kernel yet."""
    log = replace(material, dump=material.job / "log")

    def answered() -> float:
        for cached in material.vmlinux.parents[1].iterdir():
            shutil.rmtree(cached, ignore_errors=True)
        return first_answer(log)

    yield "kernel log, vmlinux not in the cache / its extraction (<= 1.2): " + ratio(
        answered, partial(extraction, material, material.site / "bench-debugs"), rounds
    )


def measure_whole_job(material: Material, rounds: int) -> Iterator[str]:
    commands = (material.job / "crash.in").read_text()
    yield "whole job / bare crash run of its crash.in (<= 1.10): " + ratio(
        lambda: timed(material.cas("-i", "JOB", "-f", material.dump), material.environment()),
        lambda: bare_crash(material, commands),
        rounds,
    )


def measure_identify(material: Material, rounds: int) -> Iterator[str]:
    code = (
        "import sys, time, pathlib; from cas.dump import identify; begun = time.perf_counter();"
        "identify(pathlib.Path(sys.argv[1])); print(time.perf_counter() - begun)"
    )
    sparse = material.site / "sparse"
    script = HERE / "sparse_vmcore.py"
    run([sys.executable, script, sparse, "64", material.dump], dict(os.environ))
    for name, dump in (("the dump", material.dump), ("64 GiB sparse", sparse)):
        argv = [sys.executable, "-c", code, dump]
        inside = [float(subprocess.check_output(argv)) for _ in range(rounds)]
        argv = [COMMANDS / "cas", "identify", dump]
        whole = [timed(argv, dict(os.environ)) for _ in range(rounds)]
        yield (
            f"identify {name} (<= 0.100 s): {statistics.median(inside):.3f} s; "
            f"`cas identify` with Python's start-up {statistics.median(whole):.3f} s"
        )


def extraction(material: Material, cache: Path) -> float:
    """Seconds for the vmlinux out of its package, verified and on the disk."""
    code = (
        "import sys, time, pathlib; from cas.catalogue import Catalogue;"
        "from cas.catalogue.extraction import extract; from cas.database.store import Store;"
        "from cas.dump import identify; from cas.progress import Silent;"
        "found = identify(pathlib.Path(sys.argv[2])).identity;"
        "match = Catalogue(Store(sys.argv[1])).find(found);"
        "begun = time.perf_counter();"
        "extract.extract_vmlinux(match, pathlib.Path(sys.argv[3]), Silent());"
        "print(time.perf_counter() - begun)"
    )
    shutil.rmtree(cache, ignore_errors=True)
    argv = [sys.executable, "-c", code, material.site / "cas.db", material.dump, cache]
    return float(subprocess.check_output(argv))


def measure_extract(material: Material, rounds: int) -> Iterator[str]:
    ours = partial(extraction, material, material.site / "bench-debugs")

    def peer(*, durable: bool) -> float:
        target = material.site / "bench-vmlinux"
        target.unlink(missing_ok=True)
        begun = time.perf_counter()
        with target.open("wb") as file:
            argv = ["bsdtar", "-xOf", material.package, "*/vmlinux"]
            subprocess.run(argv, stdout=file, check=True)
            if durable:
                os.fsync(file.fileno())
        return time.perf_counter() - begun

    kind = material.package.parent.name
    target = EXTRACT_TARGETS.get(kind, "")
    # ours is verified and on the disk when it ends; bsdtar leaves that to the next one who syncs
    for durable, name in ((False, f"bsdtar -xOf{target}"), (True, "bsdtar -xOf and fsync")):
        yield f"vmlinux out of {kind} / {name}: " + ratio(
            ours, partial(peer, durable=durable), rounds
        )


def measure_start_up(material: Material, rounds: int) -> Iterator[str]:
    for option in ("--version", "--help"):
        times = [timed(material.cas(option), material.environment()) for _ in range(rounds)]
        yield f"cas {option} (<= 0.2 s): {statistics.median(times):.3f} s"
    bare = [timed([sys.executable, "-c", "pass"], dict(os.environ)) for _ in range(rounds)]
    yield f"python -c pass: {statistics.median(bare):.3f} s"


def measure_memory(material: Material, rounds: int) -> Iterator[str]:
    told = "resident memory of cas itself in a whole job"
    yield f"{told} (<= 150 MiB): {peak_mib(material):.0f} MiB"
    for cached in (material.site / "debugs").iterdir():
        shutil.rmtree(cached, ignore_errors=True)
    yield f"{told} that extracts the vmlinux (<= 150 MiB): {peak_mib(material):.0f} MiB"


def peak_mib(material: Material) -> float:
    """The peak resident memory of cas itself in a job, without its child processes."""
    process = subprocess.Popen(
        material.cas("-i", "MEMORY", "-f", material.dump),
        env=material.environment(),
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    peak = 0
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        peak = max(
            [peak, *(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line)]
        )
        time.sleep(0.02)
    return peak / 1024


BARE_DRGN = """
import sys
sys.path += sys.argv[3:]
from drgn import Program
from drgn.helpers.linux.sched import cpu_curr
prog = Program()
prog.set_enabled_debug_info_finders([])
prog.set_core_dump(sys.argv[1])
module, = (module for module, _ in prog.loaded_modules())
module.try_file(sys.argv[2])
print(prog.stack_trace(cpu_curr(prog, prog["panic_cpu"].counter.value_())))
"""
WITH_DETECTORS = """
import sys, time
from pathlib import Path
from cas import findings
from cas.dump import identify
from cas.engines.drgn.process import Worker
from cas.model.case import Case
from cas.settings.rules import Supervision
from cas.supervise import Confinement
dump = identify(Path(sys.argv[1]))
begun = time.perf_counter()
with Worker(Confinement(Path(sys.argv[3]), Supervision())) as worker:
    answer = worker.answer(Case(dump, Path(sys.argv[2])), 60)
    answered = time.perf_counter()
    kind = findings.find(dump, answer, None).kind
    begun += time.perf_counter() - answered
    answered = time.perf_counter()
    found = worker.detect(answer, kind)
    ended = time.perf_counter()
    status = Path(f"/proc/{worker.pid}/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
slowest = max(found, key=lambda each: each.seconds)
statuses = {each.status.value for each in found}
print(answered - begun, ended - begun, peak / 1024, slowest.seconds, slowest.detector)
print(len(found), *sorted(statuses))
"""


def measure_detectors(material: Material, rounds: int) -> Iterator[str]:
    ours = [sys.executable, "-c", WITH_DETECTORS, material.dump, material.vmlinux, material.site]
    firsts, wholes, peaks, slowest = [], [], [], []
    for _ in range(rounds):
        peer = bare_drgn(BARE_DRGN, material.dump, material.vmlinux)
        told, ended = subprocess.check_output(ours, text=True).splitlines()
        first, whole, peak, longest, name = told.split()
        firsts.append(float(first) / peer)
        wholes.append(float(whole) / peer)
        peaks.append(float(peak))
        slowest.append((float(longest), name))
    longest, name = statistics.median_low(slowest)
    yield f"bare drgn (import, open, bt), the last round: {peer:.3f} s"
    yield f"drgn's answer / bare drgn (<= 1.45): {statistics.median(firsts):.2f}"
    yield f"and all detectors / bare drgn (<= 3): {statistics.median(wholes):.2f}"
    yield f"resident memory of drgn's process (<= 400 MiB): {max(peaks):.0f} MiB"
    yield f"slowest of the detectors (<= 0.3 s): {longest:.3f} s ({name}); all: {ended}"


ANSWERED = """
import sys, time
from pathlib import Path
from cas.dump import identify
from cas.dump.source import opened_source
from cas.engines.drgn.process import Worker
from cas.model.case import Case
from cas.settings.rules import Supervision
from cas.supervise import Confinement
dump = identify(Path(sys.argv[1]))
begun = time.perf_counter()
room = Confinement(Path(sys.argv[3]), Supervision())
with opened_source(dump.path) as source, Worker(room) as worker:
    if sys.argv[4] == "fed":
        worker.serve(dump.path, source)
    answer = worker.answer(Case(dump, Path(sys.argv[2])), 60)
    seconds = time.perf_counter() - begun
    status = Path(f"/proc/{worker.pid}/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
assert answer.backtrace and not answer.problems, answer.problems
print(seconds, peak / 1024)
"""


def measure_fed(material: Material, rounds: int) -> Iterator[str]:
    """drgn's process fed by our readers over a socket, against the same that reads by itself."""
    compressed = material.site / "fed.kdump"
    run(["makedumpfile", "-f", "-c", "-d", "31", material.dump, compressed], dict(os.environ))
    peaks = dict.fromkeys(("fed", "alone"), 0.0)

    def answered(dump: Path, way: str) -> float:
        argv = [sys.executable, "-c", ANSWERED, dump, material.vmlinux, material.site, way]
        seconds, peak = map(float, subprocess.check_output(argv).split())
        peaks[way] = max(peaks[way], peak)
        return seconds

    for kind, dump in (("ELF", material.dump), ("KDUMP", compressed)):
        yield f"drgn's answer of {kind}, fed / by itself (<= 1.2): " + ratio(
            partial(answered, dump, "fed"), partial(answered, dump, "alone"), rounds
        )
    yield "resident memory of drgn's process, fed / by itself (<= 32 MiB more): " + " / ".join(
        f"{peak:.0f} MiB" for peak in peaks.values()
    )


MEASUREMENTS = {
    "detectors": measure_detectors,
    "first-answer": measure_first_answer,
    "whole-job": measure_whole_job,
    "identify": measure_identify,
    "extract": measure_extract,
    "fed": measure_fed,
    "start-up": measure_start_up,
    "memory": measure_memory,
    "in-place": measure_in_place,
    "kdump": measure_kdump,
    "sparse": measure_sparse,
    "kernel-log": measure_kernel_log,
    "new-kernel-log": measure_new_kernel_log,
}


def materials(full: Path | None, scratch: Path) -> Iterator[Material]:
    fixtures = HERE.parent / "tests" / "kernels" / "fixtures" / "a"
    dump = scratch / "vmcore.elf"
    dump.write_bytes(lzma.decompress((fixtures / "vmcore.elf.xz").read_bytes()))
    yield prepare("shipped", dump, next(fixtures.glob("*.rpm")), scratch)
    if full:
        for package in packages_of(full):
            yield prepare(f"full-size-{package.parent.name}", full / "vmcore.elf", package, scratch)


def packages_of(full: Path) -> list[Path]:
    """The full-size kernel's packages: as RPM, else that of Debian."""
    made = [*full.glob("rpm-*/*.rpm")]
    return sorted(made) or [*full.glob("packages/*-dbg_*.deb")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scratch", type=Path, help="a directory on the disk to measure")
    parser.add_argument("name", nargs="*", choices=[[], *MEASUREMENTS])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        for material in materials(arguments.full, Path(scratch)):
            print(f"== {material.name}: {material.dump.name}, load {os.getloadavg()[0]:.1f}")
            for name in arguments.name or MEASUREMENTS:
                for line in MEASUREMENTS[name](material, arguments.rounds):
                    print(f"   {line}", flush=True)


if __name__ == "__main__":
    main()

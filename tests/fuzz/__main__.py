"""The commands of `README.md`: ``PYTHONPATH=tests python -m fuzz WHAT``."""

from __future__ import annotations

import argparse
import lzma
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from fuzz import command, detecting, gliding, intact, sweeps
from fuzz.mutants import mutant
from fuzz.seeds import SEEDS
from fuzz.spoilt import Bench
from fuzz.sweeps import Tally, tally
from fuzz.trial import tried
from fuzz.worker import trials


def _mutate(asked: argparse.Namespace, scratch: Path) -> Iterator[Tally]:
    if asked.only is not None:
        yield from _replay(asked, scratch)
        return
    tasks = sweeps.mutations(asked.count, asked.seed, asked.first)
    yield _told(sweeps.spoil(tasks, scratch), "mutation")


def _replay(asked: argparse.Namespace, scratch: Path) -> Iterator[Tally]:
    """One mutation in this process, so that a debugger can look on; the file can be kept."""
    for name in asked.seed:
        spoilt = mutant(SEEDS[name], asked.only)
        places = [(offset, len(piece)) for offset, piece in spoilt.edits]
        print(f"{name} {asked.only}: {spoilt.kinds}, edits at {places}, size {spoilt.size}")
        with Bench(scratch).spoilt(spoilt) as path:
            if asked.keep:
                asked.keep.write_bytes(lzma.compress(path.read_bytes(), preset=9))
            outcome = tried(path, seed=asked.only)
        print(f"{outcome.verdict} at {outcome.offset}: {outcome.reason}")
        print(*outcome.complaints, sep="\n")
        yield Tally(1, defects=outcome.complaints)


def _cut(asked: argparse.Namespace, scratch: Path) -> Iterator[Tally]:
    for name in asked.seed or SEEDS:
        sizes = sweeps.cuts(name, asked.every)
        print(f"{name}: {len(sizes)} cuts of {len(SEEDS[name].data)} bytes")
        yield _told(sweeps.cut(name, sizes, scratch), f"{name} cut to")


def _pages(asked: argparse.Namespace, _: Path) -> Iterator[Tally]:
    tasks = range(asked.first, asked.first + asked.count)
    yield _told(zip(tasks, trials(tasks, sweeps.page_trial), strict=True), "page")


def _elf(asked: argparse.Namespace, _: Path) -> Iterator[Tally]:
    tasks = range(asked.first, asked.first + asked.count)
    for path in asked.file:
        trial = sweeps.elf_trial(path.read_bytes())
        yield _told(zip(tasks, trials(tasks, trial), strict=True), path.name)


def _detect(asked: argparse.Namespace, scratch: Path) -> Iterator[Tally]:
    dump, vmlinux = scratch / "vmcore", scratch / "vmlinux"
    given = asked.file or (None, None)
    dump.write_bytes(detecting.as_elf(given[0]) if given[0] else SEEDS["real-elf"].data)
    vmlinux.write_bytes(given[1].read_bytes() if given[1] else detecting.vmlinux_of_a())
    if asked.what == "glide":
        subject: detecting.Subject = gliding.opened(dump, vmlinux, asked.file[2:])
    else:
        subject = detecting.opened(dump, vmlinux, asked.arch)
    if asked.only is not None:
        places = subject.edits(asked.only)
        print(f"edits: {[(at, word.hex()) for at, word in places]}")
        said = subject.trial(asked.only)
        print(*said, sep="\n")
        yield Tally(1, defects=[each for each in said if not each.startswith("=")])
        return
    tasks = range(asked.first, asked.first + asked.count)
    yield _told(zip(tasks, trials(tasks, subject.trial), strict=True), "mutation")


def _intact(asked: argparse.Namespace, scratch: Path) -> Iterator[Tally]:
    found = Tally()
    for name, said in intact.everything(scratch, asked.file, asked.convert):
        found.add(name, sweeps.Result(0, ("=alarm" if said else "=whole", *said)))
        if said:
            print(f"{name}: {said}", flush=True)
    print(found)
    yield found


def _cas(asked: argparse.Namespace, scratch: Path) -> Iterator[Tally]:
    found, begun = Tally(), time.monotonic()
    where = command.site(scratch / "site")
    for run in command.runs(where, range(asked.first, asked.first + asked.count)):
        said = tuple(command.complaints(run))
        name = f"{run.mutant.seed} {run.mutant.number}"
        found.add(name, sweeps.Result(0, (f"={run.exit_code} {run.verdict}", *said)))
        if said:
            print(f"{name} {run.mutant.kinds}: {said}", flush=True)
        if time.monotonic() - begun > asked.seconds:
            break
        if found.count % 50 == 0:
            print(found, file=sys.stderr, flush=True)
    print(found)
    yield found


def _told(results: Iterator[tuple[object, sweeps.Result]], name: str) -> Tally:
    """Defects as they come."""

    def seen() -> Iterator[tuple[object, sweeps.Result]]:
        for number, (task, result) in enumerate(results, 1):
            for said in result.complaints:
                if not said.startswith("="):
                    print(f"{name} {task}: {said}", flush=True)
            if number % 5000 == 0:
                print(f"{number} done", file=sys.stderr, flush=True)
            yield task, result

    found = tally(seen(), name)
    print(found, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    verbs = {
        "mutate": _mutate,
        "cut": _cut,
        "intact": _intact,
        "cas": _cas,
        "pages": _pages,
        "elf": _elf,
        "detect": _detect,
        "glide": _detect,
    }
    for name in verbs:
        verb = commands.add_parser(name)
        verb.add_argument("--seed", action="append", default=[], choices=SEEDS, metavar="NAME")
        verb.add_argument("--count", type=int, default=50_000)
        verb.add_argument("--first", type=int, default=0, help="number of the first mutation")
        verb.add_argument("--only", type=int, help="this mutation, replayed and explained")
        verb.add_argument("--keep", type=Path, help="where the replayed file goes, as xz")
        verb.add_argument("--every", type=int, default=1, help="bytes between two cuts")
        verb.add_argument("--seconds", type=float, default=1e9, help="begin no run after so many")
        verb.add_argument("--arch", default="x86_64", help="of the dump given to `detect`")
        verb.add_argument("--file", type=Path, action="append", default=[])
        verb.add_argument("--convert", type=Path, action="append", default=[])
    asked = parser.parse_args()
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as scratch:
        found = list(verbs[asked.what](asked, Path(scratch)))
    sys.exit(any(tally.defects for tally in found))


if __name__ == "__main__":
    main()

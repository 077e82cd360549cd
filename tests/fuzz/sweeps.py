"""The sweeps in this process's workers: spoilt dumps, cut dumps, spoilt vmlinux files and pages."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fuzz.mutants import known, mutant
from fuzz.seeds import COMPRESSORS, SEEDS
from fuzz.spoilt import Bench
from fuzz.trial import Outcome, judged, tried
from fuzz.worker import Result, trials

from cas import elf
from cas.dump import pages
from cas.errors import CasError

CUT_BYTES = 64 << 10
_LARGE_SHARE = 40
"""Of so many mutants one is of a large seed."""

Mutation = tuple[str, int]
"""Name of a seed, and the mutation's number."""


@dataclass
class Tally:
    """What a sweep found."""

    count: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    defects: list[str] = field(default_factory=list)
    cpu_s: float = 0.0
    wall_s: float = 0.0
    peak_bytes: int = 0
    """The largest of any trial; the same for the seconds."""
    slowest: str = ""
    largest: str = ""

    def add(self, name: str, result: Result) -> None:
        """One trial's result; verdicts come along as complaints that begin with ``=``."""
        self.count += 1
        if result.peak_bytes > self.peak_bytes:
            self.largest = name
        if result.cpu_s > self.cpu_s:
            self.slowest = name
        self.cpu_s = max(self.cpu_s, result.cpu_s)
        self.wall_s = max(self.wall_s, result.wall_s)
        self.peak_bytes = max(self.peak_bytes, result.peak_bytes)
        for said in result.complaints:
            if said.startswith("="):
                self.verdicts[said[1:]] += 1
            else:
                self.defects.append(f"{name}: {said}")

    def __str__(self) -> str:
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in self.verdicts.items())
        found = f"{self.count} tried ({verdicts}): {len(self.defects)} defects"
        if not self.peak_bytes:
            return found
        return (
            f"{found}; the most was {self.cpu_s:.2f} s of CPU ({self.slowest}),"
            f" {self.wall_s:.2f} s in all, {self.peak_bytes >> 20} MiB ({self.largest})"
        )


def mutations(count: int, names: Sequence[str] = (), first: int = 0) -> list[Mutation]:
    """So many mutations, the seeds in turn."""
    chosen = list(names) or [name for name, seed in SEEDS.items() if not seed.is_large]
    rounds = ((chosen[at % len(chosen)], first + at // len(chosen)) for at in range(count))
    large = [name for name, seed in SEEDS.items() if seed.is_large and not names]
    return [
        (large[at // _LARGE_SHARE % len(large)], first + at // _LARGE_SHARE)
        if large and at % _LARGE_SHARE == _LARGE_SHARE - 1
        else mutation
        for at, mutation in enumerate(rounds)
    ]


def spoil(tasks: Sequence[Mutation], directory: Path) -> Iterator[tuple[Mutation, Result]]:
    """Mutated dumps through all readers."""
    bench = Bench(directory)
    for name in {name for name, _ in tasks}:
        known(name)  # once for all workers

    def trial(task: Mutation) -> list[str]:
        spoilt = mutant(SEEDS[task[0]], task[1])
        with bench.spoilt(spoilt) as path:
            outcome = tried(path, seed=task[1])
        if spoilt.is_cut and spoilt.lost_bytes:
            outcome.complaints += cut_complaints(outcome)
        return [f"={outcome.verdict}", *outcome.complaints]

    for task, result in zip(tasks, trials(tasks, trial), strict=True):
        if result.peak_bytes == 0:
            bench.forget(task[0])
        yield task, result


def cut_complaints(outcome: Outcome) -> Iterator[str]:
    """A dump whose end is cut off is known to be one, and where."""
    if outcome.is_complete:
        yield "a cut dump is called complete"
    elif outcome.error is None and outcome.offset is None:
        yield f"nothing tells where the cut is: {outcome.reason}"


def cuts(name: str, every: int = 1) -> list[int]:
    """Sizes to which a seed is cut, falling: its first 64 KiB, its end, and between."""
    size = len(SEEDS[name].data)
    chance = random.Random(name)  # noqa: S311
    head = range(0, min(CUT_BYTES, size - 1) + 1, every)
    tail = range(max(size - 4096, 0), size, every)
    between = (chance.randrange(size) for _ in range(2000 // every))
    return sorted({*head, *tail, *between, size - 1}, reverse=True)


def cut(name: str, sizes: Sequence[int], directory: Path) -> Iterator[tuple[int, Result]]:
    """One seed cut to falling sizes, each through `identify`."""
    path = directory / f"cut-{name}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(SEEDS[name].data)

    def trial(size: int) -> list[str]:
        with path.open("r+b") as file:
            file.truncate(size)
        outcome = judged(path)
        return [f"={outcome.verdict}", *outcome.complaints, *cut_complaints(outcome)]

    yield from zip(sizes, trials(sizes, trial), strict=True)
    path.unlink()


def page_trial(number: int) -> list[str]:
    """A spoilt page of a KDUMP gives a page or `CasError`."""
    chance = random.Random(number)  # noqa: S311
    name = chance.choice(list(COMPRESSORS))
    flag, compress = COMPRESSORS[name]
    size = chance.choice((4096, 65536))
    data = bytearray(compress(chance.randbytes(chance.choice((0, 16, 900))).ljust(size, b"\0")))
    for _ in range(chance.randint(0, 4)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    if chance.random() < 0.3:
        del data[chance.randrange(len(data)) :]
    if chance.random() < 0.1:
        flag = chance.getrandbits(32)
    try:
        page = pages.inflate_page(bytes(data), flag, size)
    except CasError:
        return ["=refused page"]
    return ["=page"] if len(page) == size else [f"a page of {len(page)} bytes"]


def elf_trial(data: bytes) -> Callable[[int], list[str]]:
    """Reads spoilt copies of an ELF file: facts or `CasError`."""

    def trial(number: int) -> list[str]:
        read = elf.reader(_spoilt(data, random.Random(number)))  # noqa: S311
        verdicts = [f"={_said(read, reader)}" for reader in (elf.build_id_of, elf.linux_banner_of)]
        return verdicts

    return trial


def _said(read: elf.Read, reader: Callable[[elf.Read], str | None]) -> str:
    try:
        return "told" if reader(read) else "untold"
    except CasError:
        return "no ELF"


def _spoilt(data: bytes, chance: random.Random) -> bytes:
    """Mostly in the headers, which stand at both ends of a vmlinux."""
    spoilt = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        where = chance.choice((64, 1024, len(data)))
        at = chance.choice((chance.randrange(where), len(data) - 1 - chance.randrange(where)))
        value = chance.choice((b"\0", b"\xff", b"\xff" * 8, bytes(8), chance.randbytes(4)))
        spoilt[at : at + len(value)] = value
    if chance.random() < 0.2:
        del spoilt[chance.randrange(len(spoilt)) :]
    return bytes(spoilt)


def tally(results: Iterable[tuple[object, Result]], name: str) -> Tally:
    """All results together."""
    found = Tally()
    for task, result in results:
        found.add(f"{name} {task}", result)
    return found

"""One file through everything that reads dumps in this process, and what must hold of the outcome.

An outcome is a `Dump` or a `CasError`; anything else is left to the caller. What is said about
either must be fit for a report: a verdict, the stage, a reason, and offsets that the file has.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cas import findings
from cas.dump import flattened, glance, identify, is_dump, kind_of, reassemble, recognise_file
from cas.dump.elf_core import open_core
from cas.dump.flattened import Flattened
from cas.dump.kdump import open_kdump
from cas.dump.memory import Image, Source
from cas.dump.source import opened_source
from cas.errors import EXIT_CODES, CasError
from cas.klog.named_kmods import kmods_in_traces
from cas.model.dump import Dump

STAGES = {"recognise", "identify", "memory", "reassemble"}
_HEAD = 128 << 10
_READS = 24
_CHUNKS = 64
_EDGES = (0, 1, 4095, 0x100000, 1 << 32, (1 << 52) - 1, (1 << 64) - 4096, (1 << 64) - 1)


@dataclass
class Outcome:
    """What a file gave, and what is wrong with that."""

    dump: Dump | None = None
    error: CasError | None = None
    stage: str = "recognise"
    """The last one that was reached."""
    complaints: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether nothing told that something is missing."""
        return self.dump is not None and self.dump.is_whole

    @property
    def verdict(self) -> str:
        if self.error is not None:
            return self.error.verdict
        return "complete" if self.is_complete else "partial"

    @property
    def reason(self) -> str:
        if self.error is not None:
            return str(self.error)
        return "; ".join(lost.what for lost in self.dump.missing) if self.dump else ""

    @property
    def offset(self) -> int | None:
        """Where the damage begins, if that is known."""
        if self.error is not None:
            return self.error.offset
        told = (lost.offset for lost in self.dump.missing) if self.dump else ()
        return next((offset for offset in told if offset is not None), None)


def tried(path: Path, *, seed: int = 0, search_bytes: int | None = None) -> Outcome:
    """A file through every reader.

    :raises Exception: what is not a `CasError`: a defect
    """
    outcome = Outcome()
    _recognise(path, outcome)
    _identify(path, outcome, search_bytes)
    _remember(path, seed, outcome)
    _join(path, outcome)
    outcome.complaints += _complaints(outcome, path.stat().st_size)
    return outcome


def judged(path: Path) -> Outcome:
    """A file through `identify` alone."""
    outcome = Outcome()
    _identify(path, outcome, None)
    outcome.complaints += _complaints(outcome, path.stat().st_size)
    return outcome


def _recognise(path: Path, outcome: Outcome) -> None:
    with path.open("rb") as file:
        head = file.read(_HEAD)
    is_dump(head[:512])
    kind_of(head)
    seen = glance(path)
    if seen is not None and not isinstance(seen, Dump):
        outcome.complaints.append(f"glance gave a {type(seen).__name__}")
    try:
        recognise_file(path)
    except CasError as error:
        outcome.error = error


def _identify(path: Path, outcome: Outcome, search_bytes: int | None) -> None:
    outcome.error, outcome.stage = None, "identify"
    try:
        how = () if search_bytes is None else (search_bytes,)
        outcome.dump = identify(path, *how)
        finding = findings.find(outcome.dump, None, None)
        kmods_in_traces(outcome.dump.dmesg)
        if not finding.what:
            outcome.complaints.append("the finding says nothing")
    except CasError as error:
        outcome.error = error


def _remember(path: Path, seed: int, outcome: Outcome) -> None:
    """Read the memory here and there: all that is asked for, or `CasError`."""
    try:
        with opened_source(path) as file:
            outcome.complaints += _memory(_image(file), random.Random(seed))  # noqa: S311
    except CasError:
        return


def _image(file: Source) -> Image:
    stream: Source = Flattened(file) if file.read(0, 16) == flattened.MAGIC else file
    return open_core(stream) if stream.read(0, 4) == b"\x7fELF" else open_kdump(stream)


def _memory(image: Image, chance: random.Random) -> Iterator[str]:
    held: list[int] = []
    for number, (address, data) in enumerate(image.memory.chunks(0, 1 << 64)):
        held.append(address)
        if not data or number >= _CHUNKS:
            break
    for number in range(_READS):
        address = chance.choice(held or _EDGES) if number % 2 else chance.choice(_EDGES)
        address += chance.choice((0, 0, -1, 1, 4095, 1 << 20)) * (address > 0)
        size = chance.choice((0, 1, 8, 4096, 3 * 4096))
        try:
            data = image.memory.read(address, size)
        except CasError:
            continue
        if len(data) != size:
            yield f"{len(data)} bytes instead of {size} at physical {address:#x}"


def _join(path: Path, outcome: Outcome) -> None:
    if not (outcome.dump and outcome.dump.missing and "part" in outcome.dump.missing[0].what):
        return
    target = path.with_suffix(".joined")
    try:
        reassemble([path], target)
        identify(target)
    except CasError as error:
        outcome.complaints += _error_complaints(error)
    finally:
        target.unlink(missing_ok=True)


def _complaints(outcome: Outcome, size: int) -> Iterator[str]:
    if outcome.error is not None:
        yield from _error_complaints(outcome.error)
    elif outcome.dump is None:
        yield "neither a dump nor an error"
    else:
        yield from _dump_complaints(outcome.dump, size)


def _error_complaints(error: CasError) -> Iterator[str]:
    text = str(error)
    if not text or text != text.strip():
        yield f"the reason is {text!r}"
    if not all(letter.isprintable() for letter in text + error.hint):
        yield f"the reason cannot be printed: {text!r}"
    if error.exit_code not in EXIT_CODES or EXIT_CODES[error.exit_code] != error.verdict:
        yield f"exit {error.exit_code} with verdict {error.verdict}"
    if error.offset is not None and not 0 <= error.offset < 1 << 64:
        yield f"the damage begins at {error.offset}"


def _dump_complaints(dump: Dump, size: int) -> Iterator[str]:
    if dump.size_bytes != size:
        yield f"the size is {dump.size_bytes} instead of {size}"
    for lost in dump.missing:
        if not lost.what or not lost.what.isprintable():
            yield f"missing is {lost.what!r}"
        if lost.offset is not None and not 0 <= lost.offset <= size:
            yield f"{lost.what!r} begins at {lost.offset} of {size}"
    for remark in dump.remarks:
        if not remark:
            yield "an empty remark"
    try:
        json.dumps(asdict(dump), default=str, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        yield f"has no place in result.json: {error}"

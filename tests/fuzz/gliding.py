"""The deep trace of a dump whose memory was spoilt: words where it reads, and bytes anywhere."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from fuzz.detecting import LIMIT_S, Subject

from cas.engines.drgn.child.glide.modules import Source
from cas.engines.drgn.child.glide.trace import Glide, Wanted
from cas.engines.drgn.child.limits import raise_late_on_alarm
from cas.engines.drgn.child.target import File, Request, Target
from cas.engines.drgn.glide import glide_modules
from cas.engines.drgn.glide_text import lines_of_record
from cas.files.shipped import shipped
from cas.text import printable

FLIPPED = (1, 4, 64, 1024)
"""Bytes that are changed somewhere in the dump's pages."""
SHIPPED = tuple(
    Source(each.name, str(each.path), each.text, each.kmods)
    for each in glide_modules([shipped("glide")])
)


class Gliding(Subject):
    """A dump that is traced after each mutation."""

    def edits(self, number: int) -> list[tuple[int, bytes]]:
        """Words of the kernel's structures, or any bytes, in turns."""
        if number % 2 == 0:
            return super().edits(number)
        chance = random.Random(f"glide/{number}")  # noqa: S311
        return [self._flipped(chance) for _ in range(chance.choice(FLIPPED))]

    def _flipped(self, chance: random.Random) -> tuple[int, bytes]:
        load = chance.choices(self._loads, [each.filesz for each in self._loads])[0]
        return load.offset + chance.randrange(load.filesz), chance.randbytes(1)

    def _complaints(self, kind: str) -> Iterator[str]:
        """What is wrong with the trace; how it ended, behind ``=``."""
        begun = time.process_time()
        wanted = Wanted("all", panic_depth=2, depth=2, sources=SHIPPED)
        records = list(Glide(self.target, wanted).records())
        if (seconds := time.process_time() - begun) > LIMIT_S:
            yield f"the trace took {seconds:.1f} s of a processor"
        json.dumps(records)
        lines = [line for record in records for line in lines_of_record(record)]
        if any("Traceback" in printable(line) for line in lines):
            yield "a traceback stands in the trace"
        if records[-1]["kind"] != "end":
            yield f"it ends with {records[-1]}"
        yield "=cut" if records[-1]["cut"] else "=whole"


def opened(dump: Path, vmlinux: Path, debug: Iterable[Path] = ()) -> Gliding:
    """A whole dump, to be spoilt; warmed up, so that no trial pays for what is read once.

    :param debug: debug files of kernel modules
    """
    raise_late_on_alarm()
    files = [_opened_file(path) for path in (dump, vmlinux)]
    kmods = {path.name.partition(".ko")[0].replace("-", "_"): _opened_file(path) for path in debug}
    subject = Gliding(Target(Request(*files, "x86_64", kmods=kmods)), dump, "x86_64")
    list(subject._complaints(""))
    return subject


def _opened_file(path: Path) -> File:
    return File(str(path), os.open(path, os.O_RDONLY))

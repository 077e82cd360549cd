"""The deep trace of a job's dump: the task that panicked and what was on the CPUs, within bounds.

It is no part of the verdict: a trace that fails, is cut or kills drgn costs nothing but itself.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from cas.choices import Engine, SectionStatus
from cas.engines.drgn.glide import GlideOrder, headed, usable_modules
from cas.engines.drgn.glide_text import lines_of_record
from cas.engines.drgn.process import Worker, WorkerEnded
from cas.errors import EngineError
from cas.files.whole import writing_below
from cas.jobs.layout import DEEP_TRACE
from cas.model.answer import FirstAnswer
from cas.model.kernel import Match
from cas.model.snippet import Section
from cas.text import json_text
from cas.triage.context import Context
from cas.triage.kmods import Kmods
from cas.units import human_size

NAME, TITLE = "glide", "Deep trace: the task that panicked, and what was on the CPUs"
TIME_S = 10.0
"""Of which the last are left to modules."""
TEXT_BYTES = 1 << 20
RECORDS_BYTES = 4 << 20
"""What is kept of a trace; `cas glide` tells all of it."""


def deep_trace(
    answer: FirstAnswer, match: Match | None, worker: Worker, kmods: Kmods, context: Context
) -> Section:
    """The trace of the dump that drgn has open, in its two files."""
    modules = usable_modules(context.config.glide, context.remark)
    if match is not None:
        named = {name for module in modules for name in module.kmods}
        kmods.supply_cached(answer, match, named)
    order = GlideOrder("cpus", timeout_s=TIME_S, modules=modules)
    text, records = (context.directory / name for name in DEEP_TRACE)
    name = f"{context.directory.parent.name}/{context.directory.name}"
    begun, status, error = time.monotonic(), SectionStatus.OK, None
    with context.timed(NAME), context.progress.bar("Tracing the tasks", None):
        try:
            with writing_below(context.directory):
                error = _write(name, worker, order, text, records)
        except WorkerEnded as ended:
            status, error = ended.status, str(ended)
        except EngineError as failure:
            status, error = SectionStatus.NOT_RUN, str(failure)
    if status is not SectionStatus.OK:
        context.progress.note(f"the deep trace: {error}")
    size = text.stat().st_size if text.exists() else 0
    seconds = time.monotonic() - begun
    return Section(NAME, TITLE, status, Engine.DRGN, text, seconds, size, error)


def _write(name: str, worker: Worker, order: GlideOrder, text: Path, records: Path) -> str | None:
    """Write a trace as text and as records; why not all of it is there."""
    with ExitStack() as files:
        lines = _Bounded(files.enter_context(text.open("wb")), TEXT_BYTES)
        objects = _Bounded(files.enter_context(records.open("wb")), RECORDS_BYTES)
        for record in headed(worker.glide(order), name):
            is_end = record["kind"] == "end"
            cut = record["cut"] if is_end else None
            if is_end and (objects.is_full or lines.is_full):
                size = human_size(TEXT_BYTES if lines.is_full else RECORDS_BYTES)
                cut = f"it has more than {size}; all of it: cas glide"
                ending = {**record, "cut": cut}
                objects.end(f"{json_text(ending)}\n".encode())
                lines.end("".join(f"{line}\n" for line in lines_of_record(ending)).encode())
                continue
            objects.add(f"{json_text(record)}\n".encode())
            lines.add("".join(f"{line}\n" for line in lines_of_record(record)).encode())
    return f"cut: {cut}" if cut else None


class _Bounded:
    """A file that takes whole records, as long as it has room."""

    def __init__(self, file: BinaryIO, room_bytes: int) -> None:
        self._file, self._room_bytes = file, room_bytes
        self.is_full = False

    def add(self, record: bytes) -> None:
        """Write it, unless one before it had no room."""
        self._room_bytes -= len(record)
        self.is_full = self.is_full or self._room_bytes < 0
        if not self.is_full:
            self._file.write(record)

    def end(self, record: bytes) -> None:
        """Write the last record, whether there is room or not."""
        self._file.write(record)

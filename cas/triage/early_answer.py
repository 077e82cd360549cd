"""The first answer of a dump of which not all is at hand yet: on its server, or in its wrapping.

All of it is judged anew once it is there, and only then counts.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Protocol

from cas.choices import EngineChoice, Fetch
from cas.engines.drgn.process import Worker
from cas.errors import CasError, TryAgain
from cas.jobs.layout import DOWNLOAD
from cas.model.case import Case
from cas.model.dump import Dump
from cas.model.finding import Finding
from cas.model.report import ByRanges
from cas.triage.by_ranges import (
    DumpByRanges,
    identified,
    is_better_whole,
    opened_far,
    opened_inside,
    tell_fetched,
)
from cas.triage.context import Context
from cas.triage.telling import Announcer
from cas.triage.upload import Arrival
from cas.units import human_size


class Judging(Protocol):
    """Who judges what was read, and tells it at once."""

    def judge_part(self, dump: Dump, begun: Callable[[Case], None]) -> Finding | None:
        """What crashed, of a dump of which some bytes can be had.

        :param begun: called when drgn has begun to open it
        :raises CasError: its kernel is not to be had, or it cannot be read
        """

    def disown(self) -> None:
        """Take back all that was said of the dump."""


class EarlyAnswer:
    """Reads what can be read already."""

    def __init__(
        self,
        arrival: Arrival,
        context: Context,
        worker: Worker,
        tell: Announcer,
        judging: Judging,
    ) -> None:
        """Nothing is opened yet."""
        self._arrival = arrival
        self._context = context
        self._worker = worker
        self._tell = tell
        self._judging = judging

    def by_ranges(self) -> ByRanges | None:
        """What was asked of the server until it was told what crashed.

        :return: ``None``: nothing is told, and the dump is to be fetched
        :raises CasError: it cannot be fetched either, or not now
        """
        context = self._context
        with ExitStack() as stack:
            far = opened_far(self._arrival, context, stack)
            if far is None:
                return None
            try:
                self._answer_from(far)
                far.require_sound()
            except CasError as raised:
                error = far.failure or raised
                is_for_whole = is_better_whole(error)
                is_last = context.fetch is Fetch.ANSWER or isinstance(error, TryAgain)
                if is_last and not is_for_whole:
                    raise error from raised
                self._judging.disown()
                self._tell.retract()
                if is_for_whole:
                    tell_fetched(str(error), context)
                return None
            context.progress.say(far.told())
            return far.spent

    def before_unpacked(self) -> Finding | None:
        """What crashed, of an upload that is still being unpacked, where that can be read already.

        It is judged anew when all is unpacked: of a damaged upload that may be less.
        """
        with ExitStack() as stack:
            packed = opened_inside(self._arrival, stack)
            if packed is None:
                return None
            try:
                finding = self._answer_from(packed)
                packed.require_sound()
                self._context.progress.say(packed.told())
                return finding
            except CasError as error:
                self._tell.retract()
                told = packed.failure or error
                self._context.progress.note(f"not read before it is unpacked: {told}")
                return None
            finally:
                self._judging.disown()

    def _answer_from(self, source: DumpByRanges) -> Finding | None:
        """Identity, kernel and first answer, each told at once."""
        context = self._context
        with context.timed("identify"), context.progress.bar("Reading the dump by ranges", None):
            dump = identified(source)
        self._worker.serve(source.path, source.source)

        def read_ahead(case: Case) -> None:
            source.read_ahead(case.dump, case.vmlinux)

        return self._judging.judge_part(dump, read_ahead)


def leave_rest(dump: Dump, spent: ByRanges, context: Context) -> None:
    """Say what of a dump on a server nobody has looked at."""
    from cas.triage.crash_run import leave_wrapper  # and how crash is started

    read, whole = human_size(spent.size_bytes), human_size(dump.size_bytes)
    context.degrade(
        f"only what the first answer takes was read of the dump, {read} of {whole}: no detector"
        " and no snippet ran"
    )
    leave_wrapper(context, EngineChoice.DRGN)
    with suppress(OSError):  # of a run before
        (context.directory / DOWNLOAD).rmdir()

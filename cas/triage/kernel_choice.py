"""Which kernel a dump is read through: the one that its headers name, else that of its memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from cas.dump import SEARCH_BYTES, identify
from cas.engines.drgn.process import FIRST_ANSWER_S, NOTHING, Worker
from cas.errors import EngineError, KernelMisfit, KernelNotFound
from cas.model.case import Case
from cas.model.dump import Dump
from cas.model.kernel import Match
from cas.triage.context import Context
from cas.triage.kernel import KernelSupply
from cas.triage.kmods import Kmods
from cas.triage.upload import Arrival

GLANCE_BYTES = 256 << 20
"""Of memory that are searched for another VMCOREINFO while nobody has the kernel of the headers."""


class KernelChoice:
    """Reads through a kernel what the dump says itself, and tries another where they differ.

    What was found stands in its attributes, also where it comes to no case.
    """

    def __init__(
        self,
        context: Context,
        worker: Worker,
        supply: KernelSupply,
        kmods: Kmods,
        arrival: Arrival | None,
    ) -> None:
        """Nothing is looked for yet.

        :param arrival: keeps the dump that a debugger is given; ``None``: it lies on a server, and
            its memory is not searched
        """
        self._context = context
        self._worker = worker
        self._supply = supply
        self._kmods = kmods
        self._arrival = arrival
        self.dump: Dump | None = None
        """As those words describe it that are believed."""
        self.match: Match | None = None
        self.vmlinux: Path | None = None
        self.misfit: KernelMisfit | None = None
        """Why nothing that is read through the kernel can be believed."""

    def fitting_case(
        self, dump: Dump, early: Match | None, meanwhile: Callable[[Case], Iterator[None]]
    ) -> Case:
        """The dump with the kernel that fits it; `misfit` says whether there was one.

        Where nobody has the one that the headers name, or it does not fit, that which memory
        names is tried.

        :param early: the kernel that was found for the beginning of the dump
        :param meanwhile: what to do while drgn opens the dump for the first time, step by step
        :raises KernelNotFound: nobody has it
        """
        self.dump = dump
        is_early = early is not None and early.kernel.build_id == dump.build_id
        try:
            case = self._case(dump, early if is_early else None)
        except KernelNotFound as lack:
            return self._case_by_memory(dump, lack)
        misfit = self._misfit_of(case, partial(meanwhile, case))
        return self._other_case(case, misfit) if misfit else case

    def _case(self, dump: Dump, match: Match | None = None) -> Case:
        """The dump with the kernel that its words name, and what else drgn needs."""
        context, kmods = self._context, self._kmods
        if match is None:
            with context.timed("match"):
                match = self._supply.find(dump)
        self.match = match
        for remark in match.remarks:
            context.remark(remark)
        self.match, extraction = self._supply.extract(dump, match, kmods.foreseen(dump))
        self.vmlinux = extraction.vmlinux
        kmods.take_foreseen(dump, extraction.found)
        path = self._arrival.readable(dump.path) if self._arrival else dump.path
        kept = replace(dump, path=path)
        return Case(kept, extraction.vmlinux, kmods.traced(dump, extraction.found))

    def _misfit_of(
        self, case: Case, meanwhile: Callable[[], Iterator[None]] = lambda: NOTHING
    ) -> KernelMisfit | None:
        """Why what is read through a vmlinux is not what the dump says itself.

        A case that drgn cannot open fits as far as is known: the first answer says what is wrong.
        """
        context = self._context
        try:
            with context.timed("first answer"), context.progress.bar("Opening it with drgn", None):
                remarks = self._worker.fit(case, FIRST_ANSWER_S, meanwhile)
        except KernelMisfit as error:
            return error
        except EngineError as error:
            context.progress.note(f"drgn: {error}")
            return None
        for remark in remarks:
            context.remark(remark)
        return None

    def _case_by_memory(self, dump: Dump, lack: KernelNotFound) -> Case:
        """The dump with the kernel that its memory names, in place of one that nobody has."""
        found = self._described_by_memory(dump, GLANCE_BYTES) if dump.build_id else None
        if found is None:
            raise lack
        for remark in found.remarks:
            if remark not in dump.remarks:
                self._context.remark(remark)
        try:
            case = self._case(found)
        except KernelNotFound:
            raise lack from None
        if self._misfit_of(case):
            raise lack
        self.dump = found
        return case

    def _other_case(self, case: Case, misfit: KernelMisfit) -> Case:
        """The dump with the kernel that its memory names, in place of one that does not fit."""
        progress = self._context.progress
        limit_bytes = self._context.config.buffer_size_bytes or SEARCH_BYTES
        found = self._described_by_memory(case.dump, limit_bytes)
        if found is None:
            self.misfit = misfit
            return case
        progress.warn(str(misfit))
        self.dump = found
        for remark in found.remarks:
            progress.warn(remark)
        try:
            other = self._case(found)
        except KernelNotFound as lack:
            raise KernelNotFound(f"{misfit}; {lack}", hint=lack.hint) from lack
        self.misfit = self._misfit_of(other)
        return other

    def _described_by_memory(self, dump: Dump, limit_bytes: int) -> Dump | None:
        """The dump as the VMCOREINFO in its memory describes it, if that is something else.

        :param limit_bytes: of memory that are searched for it
        """
        if self._arrival is None:
            return None
        with self._context.progress.bar("Looking for the kernel's own words", None):
            found = identify(dump.path, limit_bytes, is_header_wrong=True)
        return None if found.vmcoreinfo == dump.vmcoreinfo else found

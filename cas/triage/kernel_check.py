"""Whether a run's kernel is the dump's, found out before anything is believed of it."""

from __future__ import annotations

from collections.abc import Callable

from cas.dump import SEARCH_BYTES, identify
from cas.engines.drgn.process import Worker
from cas.errors import EngineError, KernelMisfit, KernelNotFound
from cas.model import Case, Dump
from cas.triage.context import Run
from cas.triage.kmods import FIRST_ANSWER_S

GLANCE_BYTES = 256 << 20
"""Of memory that are searched for another VMCOREINFO while nobody has the kernel of the headers."""


Choose = Callable[[Dump], Case]
"""Gives a dump with the kernel that its words name; raises `KernelNotFound`."""


class Fitting:
    """Reads through a kernel what the dump says itself, and tries another where they differ."""

    def __init__(self, run: Run, worker: Worker) -> None:
        """Nothing is opened yet."""
        self._run = run
        self._worker = worker
        self.misfit: KernelMisfit | None = None
        """Why nothing that drgn reads can be believed."""

    def fitted(self, dump: Dump, choose: Choose) -> Case:
        """The dump with the kernel that fits it; `misfit` says whether there was one.

        Where nobody has the one that the headers name, or it does not fit, that which memory
        names is tried.

        :raises KernelNotFound: nobody has it
        """
        try:
            case = choose(dump)
        except KernelNotFound as lack:
            return self._instead(dump, lack, choose)
        try:
            self._require_fit(case)
        except KernelMisfit as error:
            return self._other(case, error, choose)
        return case

    def _require_fit(self, case: Case) -> None:
        """:raises KernelMisfit: what is read through the vmlinux is not what the dump says"""
        run = self._run
        try:
            with run.timed("first answer"), run.progress.bar("Opening it with drgn", None):
                remarks = self._worker.fit(case, FIRST_ANSWER_S)
        except KernelMisfit:
            raise
        except EngineError as error:  # the first answer says that drgn is of no use
            run.progress.note(f"drgn: {error}")
            return
        for remark in remarks:
            run.remark(remark)

    def _instead(self, dump: Dump, lack: KernelNotFound, choose: Choose) -> Case:
        """The dump with the kernel that its memory names, in place of one that nobody has."""
        there = self._by_memory(dump, GLANCE_BYTES) if dump.build_id else None
        if there is None:
            raise lack
        remarks = [remark for remark in there.remarks if remark not in dump.remarks]
        for remark in remarks:
            self._run.remark(remark)
        try:
            case = choose(there)
            self._require_fit(case)
        except (KernelNotFound, KernelMisfit):
            raise lack from None
        self._run.know(dump=there)
        return case

    def _other(self, case: Case, error: KernelMisfit, choose: Choose) -> Case:
        """The dump with the kernel that its memory names, in place of one that does not fit."""
        run = self._run
        dump = self._by_memory(case.dump, run.config.buffer_size_bytes or SEARCH_BYTES)
        if dump is None:
            self.misfit = error
            return case
        run.progress.warn(str(error))
        run.know(dump=dump)
        for remark in dump.remarks:
            run.progress.warn(remark)
        try:
            other = choose(dump)
        except KernelNotFound as lack:
            raise KernelNotFound(f"{error}; {lack}", hint=lack.hint) from lack
        try:
            self._require_fit(other)
        except KernelMisfit as second:
            self.misfit = second
        return other

    def _by_memory(self, dump: Dump, limit_bytes: int) -> Dump | None:
        """What the VMCOREINFO in memory says of the dump, if that is something else."""
        with self._run.progress.bar("Looking for the kernel's own words", None):
            there = identify(dump.path, limit_bytes, is_header_wrong=True)
        return None if there.vmcoreinfo == dump.vmcoreinfo else there

"""Whether a run's kernel is the dump's, found out before anything is believed of it."""

from __future__ import annotations

import logging
from collections.abc import Callable

from cas.dump import SEARCH_BYTES, identify
from cas.engines.drgn import Opened, Worker
from cas.errors import EngineError, KernelMisfit, KernelNotFound
from cas.kmods import FIRST_ANSWER_S
from cas.model import Dump
from cas.run import Run

log = logging.getLogger("cas")
Chosen = Callable[[Dump], Opened]
"""A dump with the kernel that its words name; raises `KernelNotFound`."""


class Fitting:
    """Reads through a kernel what the dump says itself, and tries another where they differ."""

    def __init__(self, run: Run, worker: Worker) -> None:
        """Nothing is opened yet."""
        self._run = run
        self._worker = worker
        self.misfit: KernelMisfit | None = None
        """Why nothing that drgn reads can be believed."""

    def fitted(self, opened: Opened, choose: Chosen) -> Opened:
        """The dump with the kernel that fits it, where there is one: the given, or another.

        Where the headers name a wrong one, that which memory names is tried.

        :param choose: finds that one
        :raises KernelNotFound: nobody has it
        """
        try:
            self._require_fit(opened)
        except KernelMisfit as error:
            return self._other(opened, error, choose)
        return opened

    def _require_fit(self, opened: Opened) -> None:
        """:raises KernelMisfit: what is read through the vmlinux is not what the dump says"""
        run = self._run
        try:
            with run.timed("first answer"), run.progress.bar("Opening it with drgn", None):
                remarks = self._worker.fit(opened, FIRST_ANSWER_S)
        except KernelMisfit:
            raise
        except EngineError as error:  # the first answer says that drgn is of no use
            log.info("drgn: %s", error)
            return
        for remark in remarks:
            run.remark(remark)

    def _other(self, opened: Opened, error: KernelMisfit, choose: Chosen) -> Opened:
        run = self._run
        limit_bytes = run.config.buffer_size_bytes or SEARCH_BYTES
        with run.progress.bar("Looking for the kernel's own words", None):
            dump = identify(opened.dump.path, limit_bytes, is_header_wrong=True)
        if dump.vmcoreinfo == opened.dump.vmcoreinfo:
            self.misfit = error
            return opened
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

"""What the fault itself gives away: the code that was stopped, the bad pointer, its source."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from cas import findings
from cas.catalogue.extraction.source_packages import Search, Wanted, is_built_with
from cas.catalogue.source_lines import source_lines
from cas.engines.drgn.process import Worker
from cas.errors import EngineError
from cas.fault_reading import Reading
from cas.klog.named_kmods import out_of_tree_kmods
from cas.model.answer import FirstAnswer
from cas.model.dump import Dump
from cas.model.fault import Fault
from cas.model.kernel import Match
from cas.triage.context import Context
from cas.triage.kmods import Kmods


class FaultReader:
    """Reads a fault through drgn; packages are searched for its source meanwhile."""

    def __init__(self, context: Context, worker: Worker, kmods: Kmods) -> None:
        """Nothing is read yet."""
        self._context = context
        self._worker = worker
        self._kmods = kmods
        self._source_search: Search | None = None

    def fault(self, dump: Dump, answer: FirstAnswer | None, match: Match | None) -> Fault | None:
        """The fault of a crash, with the lines of its source where a configured tree has them.

        Else packages are looked into while others work, see `finish_source`.

        :return: ``None``: no code was stopped, or nothing is known of it
        """
        case = findings.fault_case(dump, answer)
        if case is None:
            return None
        with self._context.timed("fault"):
            reading = self._reading(case, dump, answer) if case.was_stopped else None
            fault = case.explained(reading)
            if fault is not None:
                fault = with_line_of_log(fault, dump)
            at = next((each for each in fault.code if each.is_fault), None) if fault else None
            if fault is None or at is None or self._is_foreign(fault, dump, answer, match):
                return fault
            release = match.kernel.release if match else dump.osrelease
            lines = source_lines(self._context.config.sources, release, at.file, at.line)
            if lines is not None:
                return findings.with_source(fault, lines)
            if match and at.file and at.line:
                wanted = Wanted(match.kernel, dump.banner, at.file, at.line)
                self._source_search = Search(wanted, self._context.catalogue.doubt)
            return fault

    def finish_source(self, fault: Fault | None) -> Fault | None:
        """The fault with the lines of its source that packages had."""
        search, context = self._source_search, self._context
        if search is None or fault is None:
            return fault
        with ExitStack() as shown:
            if search.is_slow():
                shown.enter_context(context.timed("source"))
                shown.enter_context(context.progress.bar("Looking for the source", None))
            found = search.finish(context.config.packages.timeout_s)
        for text in found.remarks:
            context.remark(text)
        return findings.with_source(fault, found.lines) if found.lines else fault

    def _is_foreign(
        self, fault: Fault, dump: Dump, answer: FirstAnswer | None, match: Match | None
    ) -> bool:
        """Whether the code is a kmod's that was not built together with the kernel.

        Its source may have the name of a file of the kernel, as of a driver that it replaces. A log
        does not tell the build.
        """
        if dump.is_log:
            return fault.kmod in out_of_tree_kmods(dump.dmesg)
        kmods = answer.kmods if answer else ()
        if not any(kmod.name == fault.kmod and "O" in kmod.taint for kmod in kmods):
            return False
        file = self._kmods.files.get(fault.kmod or "")
        timeout_s = self._context.config.packages.timeout_s
        return not (match and file and is_built_with(match.kernel, file, timeout_s))

    def _reading(
        self, case: findings.FaultCase, dump: Dump, answer: FirstAnswer | None
    ) -> Reading | None:
        """What the dump has of the fault, else what the code in the kernel log gives."""
        problem = None
        if answer is not None:
            try:
                return self._worker.fault(case.wanted())
            except EngineError as error:
                problem = str(error)
                self._context.progress.note(problem)
        code = case.code()
        if code is None:
            return None
        try:
            named = (at.place for at in dump.locations)
            places = (at for at in named if f"{at.function}+{at.offset:#x}" == case.place)
            reading = self._worker.decode(code, next(places, None))
        except EngineError as error:
            self._context.progress.note(str(error))
            return None
        return replace(reading, problems=(*reading.problems, *([problem] if problem else [])))


def with_line_of_log(fault: Fault, dump: Dump) -> Fault:
    """A fault whose instruction has the line that was found for it in a kernel log's vmlinux."""
    places = {f"{at.place.function}+{at.place.offset:#x}": at.exact for at in dump.locations}
    code = tuple(
        replace(each, file=lines[0].file, line=lines[0].line)
        if each.is_fault and each.file is None and (lines := places.get(each.place))
        else each
        for each in fault.code
    )
    return replace(fault, code=code)

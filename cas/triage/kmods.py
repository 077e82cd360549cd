"""Kernel modules' files for a run: which modules need one, and getting exactly the right builds."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from cas.catalogue.extraction.kmod_cache import Wanted
from cas.catalogue.extraction.kmod_search import Found, in_cache
from cas.catalogue.packages.kmod_files import kernel_spelling
from cas.engines.drgn.process import FIRST_ANSWER_S, Worker
from cas.errors import CasError, EngineError
from cas.klog.named_kmods import kmods_in_list, kmods_in_traces
from cas.model.answer import FirstAnswer
from cas.model.dump import Dump
from cas.model.kernel import FOR_DETECTORS, Match
from cas.triage.context import Context

FOR_DRGN = 700
"""Debug files that drgn's process can hold open; distribution kernels load a few hundred."""
DEBUG_TREE = "usr/lib/debug/lib/modules"
_SUSE = re.compile(r".+\d-(?P<flavour>default|preempt|azure|rt|64kb|longterm)")
NAMED = 20
"""Kernel modules, at most, in one sentence."""


class Kmods:
    """What a run has found of its dump's kernel modules."""

    def __init__(self, context: Context, worker: Worker) -> None:
        """Nothing is known yet."""
        self._context = context
        self._worker = worker
        self.files: Mapping[str, Path] = {}
        """All files that were found, those of the traces first; more of them are another value."""
        self.certain: Mapping[str, Path] = {}
        """Those of the build that was loaded for sure: crash takes others without a word."""
        self._for_detectors: Mapping[str, Path] = {}

    def foreseen(self, dump: Dump) -> tuple[str, ...]:
        """The kmods to be extracted in one pass with the vmlinux: the log's, and the detectors'."""
        return tuple(dict.fromkeys((*self._named(dump), *FOR_DETECTORS)))

    def _named(self, dump: Dump) -> tuple[str, ...]:
        names = kmods_in_traces(dump.dmesg)
        if self._context.order.wants_kmods:
            names += kmods_in_list(dump.dmesg)
        return tuple(dict.fromkeys(map(kernel_spelling, names)))

    def take_foreseen(self, dump: Dump, found: Found) -> None:
        """Keep what that pass gave; crash gets what the log names."""
        named = set(self._named(dump))
        of_traces = {kmod: path for kmod, path in found.files.items() if kmod in named}
        self.files = {**self.files, **of_traces}
        files = found.debug_files.items()
        self._for_detectors = {kmod: path for kmod, path in files if kmod in FOR_DETECTORS}

    def supply_detectors(self, answer: FirstAnswer) -> None:
        """Give drgn the debug files in which detectors look, of the kmods that were loaded."""
        loaded = {kmod.name for kmod in answer.kmods if not kmod.has_debuginfo}
        files = {kmod: path for kmod, path in self._for_detectors.items() if kmod in loaded}
        try:
            self._worker.supply(files)
        except EngineError as error:
            self._context.progress.note(f"no detector sees {', '.join(files)}: {error}")

    def supply_cached(self, answer: FirstAnswer, match: Match, names: Collection[str]) -> None:
        """Give drgn debug files that the cache has already, of some kmods that were loaded."""
        lacking = {kmod.name: kmod.build_id for kmod in answer.kmods if not kmod.has_debuginfo}
        wanted = {kmod: build_id for kmod, build_id in lacking.items() if kmod in names}
        if not wanted:
            return
        found = in_cache(match.kernel, wanted, self._context.config.debugs)
        try:
            self._worker.supply(found.debug_files)
        except EngineError as error:
            self._context.progress.note(f"kernel modules, for the deep trace: {error}")

    def traced(self, dump: Dump, found: Found) -> dict[str, Path]:
        """The debug files that a first answer may need; many more would only delay it."""
        names = set(map(kernel_spelling, kmods_in_traces(dump.dmesg)))
        return {kmod: path for kmod, path in found.debug_files.items() if kmod in names}

    def look_closer(self, answer: FirstAnswer, match: Match) -> FirstAnswer:
        """The answer with the lines of kmods whose debug files were not at hand at first."""
        found = self._find(in_traces(answer), match)
        lines = {kmod.name for kmod in answer.kmods if kmod.has_debuginfo}
        more = {kmod: path for kmod, path in found.debug_files.items() if kmod not in lines}
        if not more:
            return answer
        try:
            with self._context.timed("first answer"):
                return self._worker.answer_again(answer, more, FIRST_ANSWER_S)
        except EngineError as error:
            self._context.progress.note(f"drgn, with more kernel modules: {error}")
            return answer

    def extract_all(
        self, dump: Dump, match: Match, answer: FirstAnswer | None
    ) -> FirstAnswer | None:
        """The debuginfo of every loaded kmod, below ``usr`` in the job directory.

        :return: the answer that knows which kmods have debug information by now
        """
        names = dict.fromkeys(kmods_in_list(dump.dmesg))
        wanted: Wanted = loaded(answer) if answer and answer.kmods else names
        with self._context.timed("kmods"):
            found = self._find(wanted, match, is_asked_for=True)
        directory = self._context.directory / DEBUG_TREE / match.kernel.release
        directory.mkdir(parents=True, exist_ok=True)
        for path in found.files.values():
            target = directory / path.name
            target.unlink(missing_ok=True)
            try:
                target.hardlink_to(path)
            except OSError:  # another file system than the cache's
                shutil.copy(path, target)
        if absent := sorted(set(wanted) - set(found.debuginfo)):
            self._context.progress.warn(_absence(absent, answer, match))
        had = {kmod.name for kmod in answer.kmods if kmod.has_debuginfo} if answer else set()
        more = {kmod: path for kmod, path in found.debug_files.items() if kmod not in had}
        try:
            self._worker.supply(dict(list(more.items())[:FOR_DRGN]))
        except EngineError as error:
            self._context.progress.warn(str(error))
        if answer is None:
            return None
        known = had | set(found.debuginfo)
        kmods = (replace(kmod, has_debuginfo=kmod.name in known) for kmod in answer.kmods)
        return replace(answer, kmods=tuple(kmods))

    def _find(self, wanted: Wanted, match: Match, *, is_asked_for: bool = False) -> Found:
        """Files of the wanted builds, from wherever one is; a failure is told, and costs these."""
        context = self._context
        if not wanted:
            return Found()
        try:
            found = context.catalogue.kmods(
                match, wanted, cache=context.config.debugs, progress=context.progress
            )
        except CasError as error:
            tell = context.degrade if is_asked_for else context.progress.warn
            tell(f"the kernel modules cannot be extracted: {error}")
            return Found()
        self.files = {**self.files, **found.files}
        certain = {kmod: path for kmod, path in found.files.items() if wanted[kmod]}
        self.certain = {**self.certain, **certain}
        for remark in found.remarks:
            context.remark(remark)
        return found


def loaded(answer: FirstAnswer) -> Wanted:
    """All kernel modules that were loaded, with their build-ids."""
    return {kmod.name: kmod.build_id for kmod in answer.kmods}


def in_traces(answer: FirstAnswer) -> Wanted:
    """Those whose code is in a backtrace: of the log, or of the task that panicked."""
    traced = set(map(kernel_spelling, kmods_in_traces(answer.dmesg)))
    traced |= {frame.kmod for frame in answer.backtrace if frame.kmod}
    return {kmod: build_id for kmod, build_id in loaded(answer).items() if kmod in traced}


def lacks_lines_of_kmods(answer: FirstAnswer) -> bool:
    """Whether the backtrace goes through kmods of which a debug file may show more."""
    return any(frame.kmod and not frame.file for frame in answer.backtrace)


def _absence(absent: Collection[str], answer: FirstAnswer | None, match: Match) -> str:
    """Which kmods have no debuginfo, and where that is to be had."""
    taints: Mapping[str, str] = {kmod.name: kmod.taint for kmod in answer.kmods} if answer else {}
    foreign = [kmod for kmod in absent if {"O", "P"} & set(taints.get(kmod, ""))]
    own = [kmod for kmod in absent if kmod not in foreign]
    sentences = [f"no debuginfo for the kernel modules {_named(absent)}"]
    if foreign:
        sentences.append(f"{_named(foreign)} did not come with the kernel: ask the vendor for it")
    suse = _SUSE.fullmatch(match.kernel.release)
    if own and suse is not None:
        name = f"kernel-{suse['flavour']}"
        sentences.append(f"{name}-extra-debuginfo or {name}-optional-debuginfo may have it")
    elif own and match.kernel.member is not None:
        sentences.append(f"{match.kernel.source.name} lacks it")
    elif own:
        from cas.catalogue.advice import package_hint  # few jobs want them all

        kernel = match.kernel
        sentences.append(package_hint(kernel.release, kernel.arch, kernel.banner))
    return "; ".join(sentences)


def _named(kmods: Collection[str]) -> str:
    more = f" and {len(kmods) - NAMED} more" if len(kmods) > NAMED else ""
    return ", ".join(list(kmods)[:NAMED]) + more

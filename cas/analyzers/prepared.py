"""What an analyzer is run on: a crash of the archive, its best file, and that one's kernel."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cas.archive.archive import Archive
from cas.archive.record import Info
from cas.archive.shown import shown_info
from cas.catalogue import Catalogue
from cas.catalogue.extraction.kmod_cache import Wanted
from cas.catalogue.extraction.kmod_search import in_cache
from cas.catalogue.packages.kmod_files import kernel_spelling
from cas.catalogue.suppliers import Sought
from cas.choices import Presence
from cas.dump import (
    SEARCH_BYTES,
    identify,
    identify_by_ranges,
    is_for_ranges,
    require_modest,
)
from cas.errors import CasError, UsageError
from cas.frozen import dataclass
from cas.klog.named_kmods import kmods_in_traces
from cas.model.case import Case
from cas.model.dump import KERNEL_LOG, Dump
from cas.model.kernel import FOR_DETECTORS, Kernel, KernelIdentity, Match
from cas.progress import Progress
from cas.report.result import load as load_result
from cas.settings.config import Config
from cas.text import json_text

if TYPE_CHECKING:
    from cas.dump.memory import Source

HAVING_DUMP = frozenset({Presence.HERE, Presence.TRUNCATED, Presence.ELSEWHERE})
"""Where a best file is that can be read, if it is on this machine."""


@dataclass(frozen=True, slots=True)
class PreparedCrash:
    """A crash that analyzers are run on."""

    info: Info
    dump: Path
    shown: Mapping[str, Any]
    """What ``cas info`` prints of it."""
    arch: str | None
    osrelease: str | None
    vmlinux: Path | None
    """``None``: there is no kernel for it, see `why_no_kernel`."""
    why_no_kernel: CasError | None = None
    case: Case | None = None
    """For a debugger, with the kernel modules' files that have debug information."""
    kmods: Mapping[str, Path] = field(default_factory=dict)
    """Files of the loaded builds, also those without: crash takes them, too."""
    source: Source | None = None
    """The dump, where it is not on this machine."""

    @property
    def why_no_case(self) -> str:
        """Why no debugger can open it."""
        if self.why_no_kernel:
            return str(self.why_no_kernel)
        return "it is a kernel log, in which a debugger has nothing to open"

    @property
    def id(self) -> str:
        """The crash's."""
        return self.info.id

    @property
    def json(self) -> str:
        """The object that ``cas info`` prints."""
        return json_text(dict(self.shown), indent=4) + "\n"


class PreparedCrashes:
    """Makes subjects of crashes; each kernel is looked for once, and kept to the end."""

    def __init__(
        self, archive: Archive, config: Config, progress: Progress, leases: ExitStack
    ) -> None:
        """Prepare; nothing is looked for yet.

        :param leases: until its end the cache keeps the kernels
        """
        self._archive = archive
        self._config = config
        self._progress = progress
        self._leases = leases
        self._catalogue = Catalogue.of(config, archive.store)
        self._kernels: dict[KernelIdentity, tuple[Match, Path] | CasError] = {}
        self._asked: dict[Kernel, set[tuple[str, str | None]]] = {}
        """Kernel modules of each kernel whose files were looked for."""

    def opened_far(self, info: Info, directory: Path, opened: ExitStack) -> Source | None:
        """The dump of a crash, where the archive has moved it; ``None``: it is nowhere.

        :param directory: where what is read of it may take room
        :param opened: closes it
        :raises CasError: it cannot be read there
        """
        best = info.best_file
        if best is None or not best.is_moved or best.purged_s is not None:
            return None
        from cas.archive.stored_copy import CopyReader
        from cas.fetch.ranged_file import HEAD_BYTES
        from cas.fetch.source import FetchPolicy

        policy = FetchPolicy.of(self._config)
        reader = CopyReader(self._archive, policy, directory, self._progress)
        found = opened.enter_context(reader.opened(info.id, best))
        if not is_for_ranges(found.read(0, HEAD_BYTES)):
            raise UsageError(f"its dump is not read where it is, {best.at}: {fetched_by(info)}")
        return found

    def file_of(self, info: Info) -> Path | None:
        """The dump of a crash, if it is on this machine."""
        best = info.best_file
        if best is None or self._archive.presence_of(info) not in HAVING_DUMP:
            return None
        return self._archive.path_of(info, best)

    def of(
        self, info: Info, dump: Path, *, for_debugger: bool, source: Source | None = None
    ) -> PreparedCrash:
        """A crash with all that an analyzer needs.

        :param source: the dump, where it is not on this machine
        :param for_debugger: the dump itself is read, and files of kernel modules are looked for
        :raises CasError: the dump cannot be read
        """
        facts, best = info.facts, info.best_file
        shown = shown_info(info, str(dump)) | {"presence": self._archive.presence_of(info)}
        found: Dump | None = None
        is_log = bool(best and best.format == KERNEL_LOG)
        if for_debugger or not {"arch", "release", "build_id"} <= facts.keys():
            if source:
                found = identify_by_ranges(dump, source)
            else:
                found = identify(dump, self._config.buffer_size_bytes or SEARCH_BYTES)
            identity = found.identity
            is_log = found.is_log
        else:
            identity = KernelIdentity(facts["arch"], facts["release"], facts["build_id"])
        match: Match | None = None
        vmlinux: Path | None = None
        why: CasError | None = None
        try:
            match, vmlinux = self._kernel(identity, found if for_debugger else None)
        except CasError as error:
            why = error
        case: Case | None = None
        kmods: Mapping[str, Path] = {}
        if found and for_debugger and match and vmlinux and not is_log:
            require_modest(found)
            with_debuginfo, kmods = self._kmods(info, found, match)
            case = Case(found, vmlinux, with_debuginfo)
        return PreparedCrash(
            *(info, dump, shown, identity.arch or None, identity.osrelease, vmlinux, why, case),
            kmods=kmods,
            source=source,
        )

    def _kernel(self, identity: KernelIdentity, dump: Dump | None) -> tuple[Match, Path]:
        """The vmlinux of a kernel.

        :param dump: for a debugger; what a job would extract with the vmlinux is, too
        :raises CasError: there is none
        """
        known = self._kernels.get(identity)
        if known is None:
            try:
                foreseen = (*_traced_kmods(dump), *FOR_DETECTORS) if dump else ()
                known = self._look_for_kernel(identity, foreseen)
            except CasError as error:
                known = error
            self._kernels[identity] = known
        if isinstance(known, CasError):
            raise known
        return known

    def _look_for_kernel(
        self, identity: KernelIdentity, foreseen: tuple[str, ...]
    ) -> tuple[Match, Path]:
        cache = self._config.debugs
        match = self._catalogue.find(identity, cache=cache, progress=self._progress)
        for remark in match.remarks:
            self._progress.warn(remark)
        sought = Sought(identity, cache, self._progress)
        match, found = self._catalogue.extract(sought, match, foreseen, self._leases)
        return match, found.vmlinux

    def _kmods(
        self, info: Info, dump: Dump, match: Match
    ) -> tuple[dict[str, Path], dict[str, Path]]:
        """Files of the kernel modules that were loaded: those that have debug information, and all
        that are of the build that was loaded for sure, for crash takes others without a word.

        Those that a job would extract are extracted; of the others there is what the cache has.
        """
        loaded = self._loaded_kmods(info)
        in_traces = _traced_kmods(dump)
        if loaded:
            needed = {name: loaded[name] for name in (*in_traces, *FOR_DETECTORS) if name in loaded}
        else:  # nobody has had a kernel for it yet
            needed = dict.fromkeys(in_traces)
        self._extract_kmods(match, needed)
        found = in_cache(match.kernel, {**needed, **loaded}, self._config.debugs)
        certain = {name: path for name, path in found.files.items() if loaded.get(name)}
        return found.debug_files, certain

    def _loaded_kmods(self, info: Info) -> Wanted:
        """The build-ids of the kernel modules that were loaded, as the crash's jobs and uploads
        know them."""
        places = [self._archive.work_directory / name for name in reversed(info.jobs)]
        uploaded = self._archive.answer_of(info)
        for place in (*places, *([uploaded] if uploaded else [])):
            try:
                answer = load_result(place).answer
            except CasError:
                continue
            if answer:
                return {kmod.name: kmod.build_id for kmod in answer.kmods if kmod.build_id}
        return {}

    def _extract_kmods(self, match: Match, needed: Wanted) -> None:
        """Have files of kernel modules in the cache; who has none is asked once."""
        asked = self._asked.setdefault(match.kernel, set())
        new = {name: build_id for name, build_id in needed.items() if (name, build_id) not in asked}
        asked.update(new.items())
        try:
            if new:
                self._catalogue.kmods(
                    match, new, cache=self._config.debugs, progress=self._progress
                )
        except CasError as error:
            self._progress.warn(f"the kernel modules cannot be extracted: {error}")


def _traced_kmods(dump: Dump) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(kernel_spelling, kmods_in_traces(dump.dmesg))))


def fetched_by(info: Info) -> str:
    """How the dump of a crash comes back to this machine."""
    return f"to fetch it: cas move {info.id} --to local"


def renewed(subject: PreparedCrash, info: Info) -> PreparedCrash:
    """The same crash after something was said of it."""
    shown = shown_info(info, str(subject.dump)) | {"presence": subject.shown["presence"]}
    return replace(subject, info=info, shown=shown)

"""Kernels and kmods that no package here has, asked for by build-id at debuginfod servers.

A build-id tells a server which kernel crashed here, so that nothing is asked unless the
configuration names servers. They are asked in its order. One that fails is passed over with a
warning, and one that cannot be reached is not asked again in the same run.

Proxies of the environment are not used: a job gives the same result whoever starts it, a timer
too. A site behind a proxy runs a debuginfod of its own, which passes requests on.

Source: debuginfod(8), "WEBAPI".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from cas import elf
from cas.catalogue.cache import useless
from cas.catalogue.cache.entry import Entry, find_cached, vmlinux_in
from cas.catalogue.cache.placing import Place, Put, place
from cas.catalogue.match import release_of
from cas.catalogue.packages import debug_info
from cas.choices import MatchEvidence
from cas.errors import NotADump
from cas.fetch.debug_file import (
    NotServed,
    ServerFailed,
    StartOver,
    Unreachable,
    Useless,
    debug_file,
    server_name,
)
from cas.frozen import dataclass
from cas.model.kernel import Kernel, KernelIdentity, Match
from cas.progress import Advance, Progress
from cas.settings.rules import DebuginfodRules
from cas.text import short_line

_BUILD_ID = re.compile(r"[0-9a-f]{8,128}")
_SHOWN = 120


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A file that is asked for."""

    what: str
    """What it is to a person, e.g. ``vmlinux of 6.1.0-56-amd64``."""
    build_id: str
    path: Path
    """Where the file shall be, once it is whole and verified."""
    put: Put
    release: str | None = None
    """Release of the kernel that its banner must name; ``None`` for a kmod."""
    cache: Path | None = None
    """Directory in which it is noted who sent something useless; ``None``: it is not."""


class Debuginfod:
    """The servers of a configuration, and what they said in this run."""

    def __init__(self, rules: DebuginfodRules) -> None:
        """Name them; none is asked yet."""
        self._rules = rules
        self._down: dict[str, str] = {}
        self._answers: dict[str, list[str]] = {}

    def kernel(self, identity: KernelIdentity, cache: Path, progress: Progress) -> Match | None:
        """The dump's kernel, fetched into the cache; ``None`` when no server gives it.

        A build-id is asked for once in a run, however it ended.

        :raises DiskFull: the cache has no room for it
        :raises TryAgain: another process has been fetching it for half an hour
        """
        release, build_id = release_of(identity), identity.build_id
        if release is None or build_id is None or not _BUILD_ID.fullmatch(build_id):
            return None
        if not self._may_ask(build_id):
            return None
        source = vmlinux_in(cache, build_id)
        kernel = Kernel(release, identity.arch, source, member=None, build_id=build_id)
        entry = Entry(cache, kernel)
        with entry.locked(progress):
            cached = find_cached(identity, cache)  # another process may have been faster
            if cached is not None:
                return Match(
                    cached, MatchEvidence.BUILD_ID, f"{_detail(identity)} that another job fetched"
                )
            what = f"vmlinux of {release}"
            wanted = _Wanted(what, build_id, entry.vmlinux, entry.put, release, cache)
            server = self._fetch(wanted, progress)
            if server is None:
                return None
            kernel = replace(kernel, size_bytes=entry.vmlinux.stat().st_size)
            Entry(cache, kernel).remember_kernel()
        return Match(
            kernel, MatchEvidence.BUILD_ID, f"{_detail(identity)} that {server_name(server)} served"
        )

    def kmod(
        self,
        name: str,
        build_id: str,
        destination: Path,
        progress: Progress,
        *,
        entry: Entry | None = None,
    ) -> Path | None:
        """The debug information of a kernel module; ``None`` when no server gives it.

        :param name: of the module, for what is told
        :param destination: where the file shall be; its directory exists
        :param entry: of the cache, locked, that the destination is in: it notes the digest, and its
            cache who sent something useless
        :raises DiskFull: there is no room for it
        """
        build_id = build_id.lower()
        if not _BUILD_ID.fullmatch(build_id) or not self._may_ask(build_id):
            return None
        what = f"kernel module {short_line(name, _SHOWN)}"
        put, cache = (entry.put, entry.directory.parent) if entry else (place, None)
        wanted = _Wanted(what, build_id, destination, put, cache=cache)
        return destination if self._fetch(wanted, progress) else None

    def answers(self, build_id: str | None) -> tuple[str, ...]:
        """Why none of them gave a file that they were asked for, each named by its host."""
        return tuple(self._answers.get(build_id or "", ()))

    def _may_ask(self, build_id: str) -> bool:
        return bool(self._rules.urls) and build_id not in self._answers

    def _fetch(self, wanted: _Wanted, progress: Progress) -> str | None:
        """The URL of the server that gave the file; ``None`` when none did."""
        answers = []
        for server in self._rules.urls:
            try:
                answer = self._down.get(server)
                if answer is None and wanted.cache is not None:
                    # what it sent within the last day was of no use
                    answer = useless.why_useless(wanted.cache, server, wanted.build_id)
                    if answer:
                        answer += "; it is asked again a day later, or after cas-admin cache clean"
                if answer is None:
                    self._fetch_from(server, wanted, progress)
                    return server
            except NotServed as error:
                answer = str(error)
            except ServerFailed as error:
                answer = str(error)
                progress.warn(f"debuginfod {error} (asked for the {wanted.what})")
                if isinstance(error, Unreachable):
                    self._down[server] = answer
                if isinstance(error, Useless) and wanted.cache is not None:
                    useless.note_useless(wanted.cache, server, wanted.build_id, answer)
            answers.append(answer)
        self._answers[wanted.build_id] = answers
        return None

    def _fetch_from(self, server: str, wanted: _Wanted, progress: Progress) -> None:
        if wanted.release is not None:  # kmods are many
            progress.say(f"Asking {server_name(server)} for the {wanted.what}")
        text = f"Fetching the {wanted.what} from {server_name(server)}"
        verify = partial(_require_wanted, wanted, server)
        with debug_file(server, wanted.build_id, self._rules) as transfer:
            while True:
                target = Place(wanted.path, transfer.size_bytes or 0, verify)
                try:
                    with progress.bar(text, transfer.size_bytes) as advance:
                        wanted.put(target, _advancing(transfer.pieces(), advance))
                    return
                except StartOver as error:
                    progress.warn(f"debuginfod {error}; once more from the start")


def _advancing(pieces: Iterable[bytes], advance: Advance) -> Iterator[bytes]:
    for piece in pieces:
        advance(len(piece))
        yield piece


def _detail(identity: KernelIdentity) -> str:
    return f"build-id {identity.build_id} in the dump and in the vmlinux"


def _require_wanted(wanted: _Wanted, server: str, path: Path) -> None:
    """Let only a whole file of this build-id, with debug information, pass.

    A vmlinux must be of the release, too.

    :raises Useless: it is another one
    """
    try:
        build_id, wrong = elf.build_id(path), debug_info.flaw(path)
        banner = elf.linux_banner(path) if wanted.release is not None else None
    except NotADump as error:
        raise Useless(f"{server_name(server)}: what it sends is no ELF file: {error}") from error
    if build_id != wanted.build_id:
        wrong = f"has build-id {build_id or '(none)'}"
    elif banner is not None and not banner.startswith(f"Linux version {wanted.release} "):
        wrong = wrong or "says that it is of another release"
    if wrong is not None:
        raise Useless(f"{server_name(server)}: what it sends {wrong}")

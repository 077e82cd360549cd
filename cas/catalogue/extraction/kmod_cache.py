"""What the cache has of a kernel's modules: ``kmods/`` and ``kmods.json`` of its entry.

A module's file stands in ``kmods/``. Where one of another build has its name already, as of an
out-of-tree module that was updated between two crashes, it stands in ``kmods/BUILDID/``.
``kmods.json`` says of each source what debug files it has, so that what one lacks is not sought in
it again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import chain
from pathlib import Path

from cas import elf
from cas.catalogue.cache import placing
from cas.catalogue.cache.entry import Entry
from cas.catalogue.packages import debug_info, kmod_files
from cas.errors import NotADump
from cas.frozen import dataclass

RECORD = "kmods.json"
_RECORD_LIMIT = 16 << 20
_BUILD_ID = re.compile(r"[0-9a-f]{8,128}")

Wanted = Mapping[str, str | None]
"""Build-ids of kmods by the kernel's names for them; ``None``: the dump does not tell."""


@dataclass(frozen=True, slots=True)
class Held:
    """A kmod's file that can be used."""

    path: Path
    build_id: str | None
    has_debuginfo: bool


def read_kmod_file(path: Path) -> Held | None:
    """What a file says of itself; ``None`` when it is no ELF file, or gone."""
    try:
        with elf.opened(path) as read:
            return Held(path, elf.build_id_of(read), debug_info.flaw(path) is None)
    except NotADump:
        return None


class Shelf:
    """The kmods of one kernel in the cache."""

    def __init__(self, entry: Entry) -> None:
        """Name it; nothing is read yet."""
        self._entry = entry
        self._record = entry.directory / RECORD

    def best_files(self, wanted: Wanted) -> dict[str, Held]:
        """The best file of each wanted kmod that is there: of its build, with debug information."""
        directory = self._entry.kmods
        flat = _listed_kmods(directory, wanted)
        candidates = {}
        for kmod, build_id in wanted.items():
            if build_id is not None and not _BUILD_ID.fullmatch(build_id):
                continue
            candidates[kmod] = [directory / file.path for file in flat.get(kmod, ())]
            if build_id is not None:
                of_build = _listed_kmods(directory / build_id, {kmod: build_id}).get(kmod, ())
                candidates[kmod] += [directory / build_id / file.path for file in of_build]
        # all at once: what has another stamp, such as a new link, is noted in one go
        sound = self._entry.sound(chain.from_iterable(candidates.values()))
        found: dict[str, Held] = {}
        for kmod, paths in candidates.items():
            files = [file for path in paths if path in sound and (file := read_kmod_file(path))]
            files = [file for file in files if is_of_build(file, wanted[kmod])]
            if files:
                found[kmod] = min(files, key=lambda file: not file.has_debuginfo)
        return found

    def path_for(self, plain_name: str, build_id: str | None) -> Path:
        """Where a file shall stand; another build that is there already keeps its place."""
        path = self._entry.kmods / plain_name
        there = read_kmod_file(path)
        is_taken = there is not None and build_id is not None and there.build_id != build_id
        if not is_taken or build_id is None or not _BUILD_ID.fullmatch(build_id):
            return path
        return self._entry.kmods / build_id / plain_name

    def noted_offer(self, source: str) -> dict[str, list[str | None]] | None:
        """The build-ids of the files that a source has, by kmod; ``None`` for unknown ones.

        :return: ``None`` when it is not noted what the source has
        """
        noted = self._offers().get(source)
        if not isinstance(noted, dict) or not all(isinstance(ids, list) for ids in noted.values()):
            return None
        return noted

    def remember(self, source: str, kmods: Mapping[str, list[str | None]]) -> None:
        """Note what a source has."""
        content = json.dumps(self._offers() | {source: dict(kmods)}, sort_keys=True).encode()
        placing.place(placing.Place(self._record, len(content)), [content])

    def _offers(self) -> dict[str, object]:
        """A record that cannot be read counts as none: the cache can always be filled again."""
        try:
            with self._record.open("rb") as file:
                noted = json.loads(file.read(_RECORD_LIMIT))
        except (OSError, ValueError, RecursionError):
            return {}
        return noted if isinstance(noted, dict) else {}


def is_of_build(file: Held, build_id: str | None) -> bool:
    """Whether a file is of the build that was loaded, as far as the dump tells."""
    return build_id is None or file.build_id == build_id


def _listed_kmods(directory: Path, wanted: Wanted) -> dict[str, list[kmod_files.KmodFile]]:
    if not wanted:
        return {}
    try:
        names = [path.name for path in directory.iterdir()]
    except OSError:
        return {}
    return kmod_files.ranked(names, wanted)

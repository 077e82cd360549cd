"""One run over the packages on the disk: what is new is read, what is known is left alone.

Until the end nobody sees anything of it; then all of it. What was read is kept as it comes in, so
that an interrupted run has lost nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from cas.catalogue.building import pattern, scan
from cas.catalogue.building.reader_pool import Readers, Work
from cas.catalogue.building.scan import Found
from cas.catalogue.packages import plain
from cas.database.package_rows import KnownRow
from cas.database.publishing import Change
from cas.database.records import BuildSummary, FileStamp, PackageState, Reading
from cas.database.store import Store
from cas.errors import CasError, TryAgain
from cas.frozen import dataclass
from cas.progress import Progress
from cas.settings.rules import PackageRules

_KEPT_EVERY_S = 0.25
"""What was read is kept so often."""
_KEPT_AT_ONCE = 1000
"""Or when so much has come together."""


def build(store: Store, kernels: Path, rules: PackageRules, progress: Progress) -> BuildSummary:
    """Bring the catalogue up to date with the packages on the disk.

    :raises ConfigError: an expression is invalid, or there is no such directory
    :raises TryAgain: the directory cannot be read, or is suddenly empty
    """
    rpm = pattern.compile_filter(rules.rpm_filter, "rpmFilter").fullmatch
    deb = pattern.compile_filter(rules.deb_filter, "debFilter").fullmatch
    vmlinux = plain.NAME.fullmatch

    def wanted(path: str) -> object:
        return rpm(path) or deb(path) or vmlinux(path)

    with store.building(lambda: progress.say("Another build is at work: waiting for its end")):
        run = store.builds.begin_run()
        try:
            summary = _Build(store, rules, progress).run(kernels, wanted)
        except CasError as error:
            store.builds.end_run(run, {}, str(error))
            raise
        problem = next(
            (
                reason if str(path) in reason else f"{path}: {reason}"
                for path, reason in summary.bad
            ),
            None,
        )
        counts = {
            "added": summary.added,
            "unchanged": summary.unchanged,
            "renamed": summary.renamed,
            "removed": summary.removed,
            "kernels": summary.kernels,
            "bad": len(summary.bad),
            "conflicts": len(summary.conflicts),
        }
        store.builds.end_run(run, counts, problem)
    return summary


@dataclass(frozen=True, slots=True)
class _Difference:
    """Between the disk and the catalogue."""

    changed: Mapping[str, FileStamp]
    """Files that have to be read."""
    renamed: Mapping[int, str]
    stale: Mapping[str, int]
    """Rows, by path, of files that have other content now, or are gone."""
    removed: int
    """Files that are gone."""


class _Build:
    """One run."""

    def __init__(self, store: Store, rules: PackageRules, progress: Progress) -> None:
        self._store = store
        self._rules = rules
        self._progress = progress
        self._readers = Readers(rules)

    def run(self, kernels: Path, wanted: Callable[[str], object]) -> BuildSummary:
        found = scan.find_package_files(kernels, wanted, self._rules)
        known = self._store.packages.known_rows()
        if not found.files and any(not found.hides(row.path) for row in known):
            raise TryAgain(
                f"kernels: {kernels} has no package that matches {self._rules.rpm_filter!r} or "
                f"{self._rules.deb_filter!r}, but {len(known)} are catalogued",
                hint="mount it and run the same command again; if the packages are gone for good, "
                "remove the database and run: cas-admin -b",
            )
        difference = _compare_with_rows(found, known)
        read = self._read_changed(found, difference.changed)

        # rows of files that were passed over stay as they are
        passed_over = difference.changed.keys() - read
        dropped = [row for path, row in difference.stale.items() if path not in passed_over]
        change = Change(dropped, difference.renamed, read)
        if change:
            self._store.publish(change)

        bad = list(self._store.packages.bad())
        bad += [(Path(path), reason) for path, reason in found.unreadable.items()]
        bad += [
            (Path(directory), f"{number} more packages were passed over")
            for directory, number in self._readers.silent.items()
            if number
        ]
        return BuildSummary(
            added=len(read),
            unchanged=len(found.files) - len(difference.changed),
            removed=difference.removed,
            kernels=self._store.kernels.kernel_count(),
            bad=tuple(bad),
            renamed=len(difference.renamed),
            conflicts=self._store.kernels.contested(),
        )

    def _read_changed(self, found: Found, changed: Mapping[str, FileStamp]) -> set[str]:
        """Have everything read that is not known; the paths of what is ready to be published."""
        stamps = self._store.readings.stamps()
        ready = {path for path, stamp in stamps.items() if changed.get(path) == stamp}
        self._store.readings.forget(
            path for path in stamps if path not in ready and not found.hides(path)
        )
        work = [Work(path, stamp) for path, stamp in changed.items() if path not in ready]
        if not work:
            return ready
        unkept: list[Reading] = []
        kept_s = time.monotonic()
        with self._progress.bar("Reading packages", len(changed), "packages") as advance:
            advance(len(ready))
            for reading in self._readers.read_packages(work):
                ready.add(reading.path)
                unkept.append(reading)
                advance(1)
                if len(unkept) >= _KEPT_AT_ONCE or time.monotonic() - kept_s > _KEPT_EVERY_S:
                    self._store.readings.keep_readings(unkept)
                    unkept, kept_s = [], time.monotonic()
            if unkept:
                self._store.readings.keep_readings(unkept)
        return ready


def _compare_with_rows(found: Found, known: Iterable[KnownRow]) -> _Difference:
    changed = dict(found.files)
    stale: dict[str, KnownRow] = {}
    gone = 0
    for row in known:
        stamp = found.files.get(row.path)
        if stamp is None:
            if not found.hides(row.path):
                stale[row.path] = row
                gone += 1
        elif row.state != PackageState.UNREADABLE and stamp == row[1:4]:
            del changed[row.path]
        else:
            stale[row.path] = row
    by_stamp = {
        FileStamp(row.size_bytes, row.mtime_ns, row.inode): row.id
        for row in stale.values()
        if row.state == PackageState.OK  # the reason of another names its path
    }
    # the same file, by its stamp, stands elsewhere now
    renamed = {
        row_id: path
        for path, stamp in changed.items()
        if (row_id := by_stamp.pop(stamp, None)) is not None
    }
    for path in renamed.values():
        del changed[path]
    gone -= sum(row.id in renamed and row.path not in found.files for row in stale.values())
    rows = {path: row.id for path, row in stale.items() if row.id not in renamed}
    return _Difference(changed, renamed, rows, gone)

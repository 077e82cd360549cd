"""A run that brings something into the archive, disturbed at one point, and the run after it."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from fault_points import Point, listing, points
from fault_trial import Outcome, command, moved, told

sys.path.append(str(Path(__file__).parents[1] / "archive"))

from made_crashes import CUT, FILTERED, FULL, files_of_crash

from cas.archive import incoming
from cas.archive.archive import Archive
from cas.archive.record import Info
from cas.files.digest import BLOCKS, Fingerprint
from cas.jobs.job import Order
from cas.model.dump import Stored

from installed import COMMANDS, Site

SCENARIOS = ("upload", "another", "again", "index")
TICKET = "K-1"
_OTHER = 7
"""Number of the crash whose upload was stopped."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the trials of a scenario are played."""

    directory: Path
    scenario: str

    @property
    def given(self) -> Path:
        """Where the dumps lie that are uploaded."""
        return self.directory / "given"

    def argv(self) -> list[str]:
        """The run that is disturbed, and that comes after it."""
        if self.scenario == "index":
            return [sys.executable, str(COMMANDS / "cas-admin"), "index"]
        return [sys.executable, str(COMMANDS / "cas"), "upload", str(self.given / FULL)]

    def site(self, name: str) -> Site:
        """A fresh site, as a scenario begins."""
        directory = self.directory / name
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(self.directory / "before", directory, symlinks=True)
        return _site(directory)

    def wanted(self) -> dict[str, set[bytes]]:
        """What files each crash has in the end, by the name of one of them."""
        given = {name: (self.given / name).read_bytes() for name in (FULL, CUT, FILTERED)}
        names = {"upload": (FULL,), "another": (FULL, CUT), "again": (FULL,), "index": (FILTERED,)}
        found = {FULL: {given[name] for name in names[self.scenario]}}
        if self.scenario == "index":
            found["other"] = {(self.directory / "other" / FULL).read_bytes()}
        return found


@dataclass(frozen=True, slots=True)
class Reference:
    """An undisturbed run."""

    points: tuple[Point, ...]
    listed: str
    """What ``cas ls`` prints then."""


def _site(directory: Path) -> Site:
    (directory / "tmp").mkdir(parents=True, exist_ok=True)
    (directory / "kernels").mkdir(exist_ok=True)
    names = {"kernels": "kernels", "workDirectory": "cores", "debugs": "debugs"}
    settings = {key: str(directory / name) for key, name in names.items()}
    site = Site(directory, settings | {"database": str(directory / "cas.db")})
    site.configure()
    return site


def prepared(directory: Path, scenario: str) -> Stage:
    """The parts of a scenario, once."""
    stage = Stage(directory, scenario)
    files = files_of_crash(stage.given)
    site = _site(directory / "before")
    cas = COMMANDS / "cas"
    if scenario == "another":
        command(site.directory, cas, "upload", files[CUT])
    elif scenario == "again":
        command(site.directory, cas, "upload", files[FULL])
    elif scenario == "index":
        command(site.directory, cas, "-i", "T-1", "-f", files[FILTERED])
        shutil.rmtree(site.jobs / ".archive")
        _leave_upload(site, files_of_crash(directory / "other", _OTHER)[FULL])
    if scenario in ("another", "again"):
        command(site.directory, cas, "ticket", "type=crash", TICKET)
        command(site.directory, cas, "set", "type=crash", "triage", "bmc")
    else:  # the database is there, and empty
        command(site.directory, cas, "ls")
    return stage


def _leave_upload(site: Site, dump: Path) -> None:
    """An upload that was killed once its dump was there."""
    order = Order(incoming.NAME, dump)
    with incoming.new_upload(_archive(site), order, datetime.now(UTC)) as job:
        kept = job.directory / "vmcore" / dump.name
        kept.parent.mkdir()
        shutil.copy(dump, kept)
        found = Fingerprint(0, BLOCKS).like(kept)
        replaced = {f"vmcore/{dump.name}": found}
        replace(job, stored=Stored(kept), files=replaced).save()


def _archive(site: Site) -> Archive:
    return Archive.of(site.world().config)


def undisturbed(stage: Stage) -> Reference:
    """Run once without a fault, under strace; which calls it makes."""
    site = stage.site("reference")
    trace = site.directory / "trace"
    strace = ["strace", "-qq", "-esignal=none", *listing(trace)]
    done = command(site.directory, *strace, *stage.argv())
    assert done.returncode == 0, done.stderr
    found = list(points(trace.read_text(errors="replace").splitlines()))
    ours = [point for point in found if str(stage.directory) in point.path]
    complaints = list(_in_the_end(stage, site))
    assert not complaints, complaints
    reference = Reference(tuple(ours), _listed(site))
    shutil.rmtree(site.directory)
    return reference


def trial(stage: Stage, point: Point, kind: str, name: str, reference: Reference) -> Outcome:
    """Disturb a run, look at what it left, run again, and look once more."""
    site = stage.site(name)
    here = moved(point, stage.directory / "reference", site.directory)
    trace = site.directory / "trace"
    options = here.options(kind, datetime.now(UTC).astimezone())
    strace = ["strace", "-qq", "-esignal=none", "-o", str(trace), *options]
    done = command(site.directory, *strace, *stage.argv())
    said = trace.read_text(errors="replace")
    hit = "(INJECTED)" in said or done.returncode == -signal.SIGKILL
    complaints = [] if kind == "kill" else told(done)
    complaints += _after_fault(stage, site)
    again = command(site.directory, *stage.argv())
    if again.returncode:
        complaints.append(f"RERUN: exit status {again.returncode}: {again.stderr[-300:]}")
    complaints += _in_the_end(stage, site)
    if (listed := _listed(site)) != reference.listed:
        complaints.append(f"RERUN: cas ls prints {listed!r} instead of {reference.listed!r}")
    if not complaints:
        shutil.rmtree(site.directory)
    return Outcome(hit, tuple(complaints))


def _after_fault(stage: Stage, site: Site) -> Iterator[str]:
    """What must hold whatever happened."""
    known = (FULL, CUT, FILTERED)
    for name, content in files_of_crash(site.directory / "same").items():
        if name in known and (stage.given / name).read_bytes() != content.read_bytes():
            yield f"LOST: {name}, which was given, has changed"
    archive, infos = _archive(site), dict[str, Info]()
    for crash_id in archive.ids():
        if (archive.directory_of(crash_id) / "info.json").exists():
            infos[crash_id] = archive.read(crash_id)
    for info in infos.values():
        yield from _rows_without_files(archive, info)
    contents = {path.read_bytes() for path in site.jobs.rglob("*") if path.is_file()}
    lost = [each for each in _before(stage) if each not in contents]
    if lost:
        yield f"LOST: {len(lost)} dumps that were stored before"
    if stage.scenario in ("another", "again"):
        said = [info for info in infos.values() if info.set_tickets and info.properties]
        if len(said) != 1:
            yield "LOST: what was said of the crash"


def _before(stage: Stage) -> list[bytes]:
    """What was stored before the run."""
    if stage.scenario == "index":
        return [content for files in stage.wanted().values() for content in files]
    names = {"another": (CUT,), "again": (FULL,)}.get(stage.scenario, ())
    return [(stage.given / name).read_bytes() for name in names]


def _rows_without_files(archive: Archive, info: Info) -> Iterator[str]:
    for file in info.files:
        path = archive.path_of(info, file)
        if path is None or not path.exists():
            yield f"HALF: {file.name} is recorded and not there"
        elif not Fingerprint(file.size_bytes, str(file.digest)).fits(path):
            yield f"HALF: {file.name} is not what is recorded"


def _in_the_end(stage: Stage, site: Site) -> Iterator[str]:
    """What the next run must come to."""
    archive = _archive(site)
    found = list[set[bytes]]()
    for crash_id in archive.ids():
        info = archive.read(crash_id)
        yield from _rows_without_files(archive, info)
        files = archive.directory_of(crash_id) / "files"
        found.append({path.read_bytes() for path in files.iterdir()})
        if len(info.files) != len(list(files.iterdir())):
            yield f"RERUN: {len(info.files)} files are recorded of {list(files.iterdir())}"
        links = {path.stat().st_nlink for path in files.iterdir()}
        if links != ({2} if info.jobs else {1}):
            yield f"RERUN: files have {links} names"
        best = info.best_file
        if best is None or info.facts_of != best.digest:
            yield "RERUN: the facts are not of the best file"
        if archive.answers(crash_id) != ([info.answer] if info.answer else []):
            yield f"RERUN: answers are {archive.answers(crash_id)}, and not {info.answer}"
        if stage.scenario != "index" and archive.answer_of(info) is None:
            yield "RERUN: there is no answer"
    wanted = list(stage.wanted().values())
    if sorted(map(sorted, found)) != sorted(map(sorted, wanted)):
        yield f"RERUN: {[len(each) for each in found]} files, not {[len(each) for each in wanted]}"
    for name in ("incoming", "unindexed"):
        place = archive.path / name
        # what was to become a directory of an upload goes after an hour
        left = [each for each in place.iterdir() if not each.name.startswith(".new-")]
        if left:
            yield f"RERUN: left in {name}: {left}"


def _listed(site: Site) -> str:
    done = command(site.directory, COMMANDS / "cas", "ls", "--json", "type=crash", "files")
    found = json.loads(done.stdout)
    for one in found:  # of a crash whose time is not known it is that of the run
        one["files"] = sorted((file["name"], file["is_whole"]) for file in one["files"])
    return json.dumps(found, sort_keys=True)

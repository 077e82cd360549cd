"""A move to a store, or back, that is disturbed at one point, and the move after it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fault_points import Point, listing, points
from fault_trial import Outcome, command, moved, told

sys.path += [str(Path(__file__).parents[1] / name) for name in ("archive", "fetch")]

import msgspec
from moved_crashes import opened, put_crash
from store_servers import BUCKET, know_store, opened_bucket, served_store

from cas.archive.archive import Archive
from cas.archive.moving import LOCAL
from cas.archive.record import File, Info
from cas.choices import Verdict
from cas.files.digest import Fingerprint, StreamedDigest
from cas.jobs.job import load_job

from installed import COMMANDS, FIXTURES, Site

SCENARIOS = ("away", "back")
CRASH = "ab" * 16
"""A crash of two files, which no job has."""
TICKET = "T-1"
SERVERS = ExitStack()
"""The stores, which serve until whoever plays closes it."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the trials of a scenario are played."""

    directory: Path
    scenario: str
    endpoint: str

    def argv(self, name: str) -> list[str]:
        """The move that is disturbed, and that comes after it."""
        to = LOCAL if self.scenario == "back" else f"s3://{BUCKET}/{name}"
        return [sys.executable, str(COMMANDS / "cas"), "move", "type=crash", "--to", to]

    def site(self, name: str) -> Site:
        """A fresh site, as a scenario begins, with all second names of files."""
        directory = self.directory / name
        shutil.rmtree(directory, ignore_errors=True)
        subprocess.run(["cp", "-a", self.directory / "before", directory], check=True)
        return _site(directory, self.endpoint)


@dataclass(frozen=True, slots=True)
class Reference:
    """An undisturbed move."""

    points: tuple[Point, ...]


def _site(directory: Path, endpoint: str) -> Site:
    (directory / "tmp").mkdir(parents=True, exist_ok=True)
    (directory / "kernels").mkdir(exist_ok=True)
    names = {"kernels": "kernels", "workDirectory": "cores", "debugs": "debugs"}
    settings = {key: str(directory / name) for key, name in names.items()}
    site = Site(directory, settings | {"database": str(directory / "cas.db")})
    know_store(site, endpoint)
    site.configure()
    return site


def prepared(directory: Path, scenario: str) -> Stage:
    """A crash of a job whose dump is a second name, and one without a job."""
    stage = Stage(directory, scenario, SERVERS.enter_context(served_store()))
    site = _site(directory / "before", stage.endpoint)
    command(site.directory, COMMANDS / "cas", "-i", TICKET, "-f", FIXTURES / "b" / "vmcore.kdump")
    _end_job(site)
    put_crash(site, CRASH, b"whole" * 50_000, b"cut" * 5_000)
    if scenario == "back":
        done = command(site.directory, *replace(stage, scenario="away").argv("before"))
        assert done.returncode == 0, done.stderr
    return stage


def _end_job(site: Site) -> None:
    """Let the job have come to an end, for what waits is not moved."""
    job = load_job(site.job(TICKET))
    replace(job, verdict=Verdict.PARTIAL).save()
    archive = opened(site)
    (crash_id,) = archive.ids()
    with archive.changing(crash_id) as draft:
        facts = {**draft.info.facts, "verdict": "partial"}
        draft.info = msgspec.structs.replace(draft.info, facts=facts)


def undisturbed(stage: Stage) -> Reference:
    """Move once without a fault, under strace; which calls it makes."""
    site = stage.site("reference")
    trace = site.directory / "trace"
    strace = ["strace", "-qq", "-esignal=none", *listing(trace)]
    done = command(site.directory, *strace, *stage.argv("reference"))
    assert done.returncode == 0, done.stderr
    found = list(points(trace.read_text(errors="replace").splitlines()))
    ours = [point for point in found if str(stage.directory) in point.path]
    complaints = list(_in_the_end(stage, site))
    assert not complaints, complaints
    shutil.rmtree(site.directory)
    return Reference(tuple(ours))


def trial(stage: Stage, point: Point, kind: str, name: str, reference: Reference) -> Outcome:
    """Disturb a move, look at what it left, move again, and look once more."""
    assert point in reference.points
    site = stage.site(name)
    here = moved(point, stage.directory / "reference", site.directory)
    trace = site.directory / "trace"
    options = here.options(kind, datetime.now(UTC).astimezone())
    strace = ["strace", "-qq", "-esignal=none", "-o", str(trace), *options]
    done = command(site.directory, *strace, *stage.argv(name))
    hit = "(INJECTED)" in trace.read_text(errors="replace") or done.returncode == -signal.SIGKILL
    complaints = [] if kind == "kill" else told(done)
    complaints += after_fault(stage, site)
    again = command(site.directory, *stage.argv(name))
    if again.returncode:
        complaints.append(f"RERUN: exit status {again.returncode}: {again.stderr[-300:]}")
    complaints += _in_the_end(stage, site)
    if not complaints:
        shutil.rmtree(site.directory)
    return Outcome(hit, tuple(complaints))


def after_fault(stage: Stage, site: Site) -> list[str]:
    """What must hold whatever happened: every recorded file is where the record says."""
    archive, complaints = opened(site), list[str]()
    for info in _infos(archive):
        if not info.files:
            complaints.append(f"LOST: {info.id} has no files")
        for file in info.files:
            complaints += _wrong_with(archive, info, file, stage.endpoint)
    return complaints


def _infos(archive: Archive) -> list[Info]:
    return [archive.read(crash_id) for crash_id in archive.ids()]


def _wrong_with(archive: Archive, info: Info, file: File, endpoint: str) -> Iterator[str]:
    kept = Fingerprint(file.size_bytes, str(file.digest))
    path = archive.path_of(info, file)
    if path is not None:
        if not path.exists():
            yield f"LIE: {path} is recorded and not there"
        elif not kept.fits(path):
            yield f"LOST: {path} is not what is recorded"
    if file.copy is not None and found_in_store(str(file.copy.url), kept, endpoint) != kept:
        yield f"LIE: {file.copy.url} is recorded and not there, or another one"


def found_in_store(url: str, kept: Fingerprint, endpoint: str) -> Fingerprint | None:
    """What a store has at a URL."""
    import obstore

    digest, bucket = StreamedDigest(kept), opened_bucket(endpoint)
    try:
        got: Any = obstore.get(bucket, url.removeprefix(f"s3://{BUCKET}/"))
    except FileNotFoundError:
        return None
    digest.add(bytes(got.bytes()))
    return digest.found


def _in_the_end(stage: Stage, site: Site) -> Iterator[str]:
    """What the next move must come to."""
    yield from after_fault(stage, site)
    archive, is_away = opened(site), stage.scenario == "away"
    for info in _infos(archive):
        if any(file.is_moved is not is_away for file in info.files):
            yield f"RERUN: not all files of {info.id} are moved"
        names = {path.name for path in (archive.directory_of(info.id) / "files").iterdir()}
        wanted = {str(file.digest).partition(":")[2] for file in info.files if file.at is None}
        if names != wanted:
            yield f"RERUN: {info.id} has {names}, and not {wanted}"
    dumps = list((site.job(TICKET) / "vmcore").iterdir())
    if len(dumps) != (0 if is_away else 1) or any(each.stat().st_nlink != 2 for each in dumps):
        yield f"RERUN: the job has {dumps}"
    for name in ("moves", "unindexed"):
        if left := list((archive.path / name).iterdir()):
            yield f"RERUN: left in {name}: {left}"
    presence = "elsewhere" if is_away else "here"
    listed = command(site.directory, COMMANDS / "cas", "ls", f"presence={presence}").stdout
    if listed.count("\n") != 3:
        yield f"RERUN: cas ls presence={presence} prints {listed!r}"

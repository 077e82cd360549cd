"""A run that is disturbed at one point, what it left, and the run after it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fault_points import STAMP, Point, listing, points

from cas.errors import EXIT_CODES
from cas.jobs import seal
from cas.jobs.job import load_job
from cas.jobs.work_directory import WorkDirectory

from installed import COMMANDS, FIXTURES

TICKET = "T-1"
TIMELESS = ("started", "directory", "seconds", "upload", "server", "similar", "evidence_detail")
TIMELESS += ("summary",)
_OF_TAKING = re.compile(r" was (moved to|copied and stays where) | keeps its name: ")
"""Keys of a result that differ between two runs of one order: `evidence_detail` says whether the
kernel was in the cache, `summary` repeats the others."""
SCENARIOS = ("complete", "cold", "waiting", "unpack", "take", "reference")


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the trials of a scenario are played."""

    directory: Path
    upload: Path
    kernels: Path
    debugs: Path | None
    """A cache that is filled; ``None``: every trial fills its own."""
    settings: Mapping[str, str] = field(default_factory=dict)
    takes: bool = False
    """Whether each trial moves an upload of its own into the job."""

    def words(self, site: Path) -> list[str]:
        """What ``cas`` is given."""
        return ["-f", str(self.given(site)), *(["--take"] if self.takes else [])]

    def given(self, site: Path) -> Path:
        """The upload of a trial."""
        return site / "given" / self.upload.name if self.takes else self.upload

    def site(self, name: str) -> Path:
        """A fresh site."""
        site = self.directory / name
        shutil.rmtree(site, ignore_errors=True)
        (site / "tmp").mkdir(parents=True)
        if self.takes:
            self.given(site).parent.mkdir()
            shutil.copy(self.upload, self.given(site))
        settings = {
            "kernels": self.kernels,
            "workDirectory": site / "cores",
            "debugs": self.debugs or site / "debugs",
            "database": site / "cas.db",
            "engine": "drgn",
            **self.settings,
        }
        lines = ["[settings]", *(f"{key} = {value}" for key, value in settings.items())]
        (site / "cas.conf").write_text("\n".join(lines) + "\n")
        database = self.directory / "cas.db"
        if database.exists():
            shutil.copy(database, site / "cas.db")
        return site


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a trial."""

    hit: bool
    """Whether the point was reached."""
    complaints: tuple[str, ...]
    """What should not have been."""


def command(site: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program for a site."""
    return subprocess.run(
        [str(word) for word in words],
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(site),
            "TMPDIR": str(site / "tmp"),
            "CAS_CONF": str(site / "cas.conf"),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=site,
        text=True,
        errors="backslashreplace",
        timeout=300,
        check=False,
    )


def cas(site: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run ``cas``."""
    return command(site, COMMANDS / "cas", "-i", TICKET, *words)


def prepared(directory: Path, scenario: str) -> Stage:
    """The parts of a scenario, once."""
    directory.mkdir(parents=True, exist_ok=True)
    packed = FIXTURES / "a" / "vmcore.elf.xz"
    upload = directory / ("vmcore.elf.xz" if scenario == "unpack" else "vmcore.elf")
    if not upload.exists():
        import lzma

        content = packed.read_bytes()
        upload.write_bytes(content if scenario == "unpack" else lzma.decompress(content))
    kernels, debugs = FIXTURES / "a", directory / "debugs"
    if scenario == "waiting":
        kernels, debugs = directory / "none", directory / "empty"
        kernels.mkdir(exist_ok=True)
    cache = None if scenario == "cold" else debugs
    settings = {"storage": "reference"} if scenario == "reference" else {}
    stage = Stage(directory, upload, kernels, cache, settings, takes=scenario == "take")
    if not (directory / "cas.db").exists():
        site = stage.site("prepare")
        command(site, COMMANDS / "cas-admin", "-b")
        cas(site, *stage.words(site))
        shutil.rmtree(site / "cores")
        command(site, COMMANDS / "cas-admin", "index")
        shutil.copy(site / "cas.db", directory / "cas.db")
        shutil.rmtree(site)
    return stage


@dataclass(frozen=True, slots=True)
class Reference:
    """An undisturbed run."""

    points: tuple[Point, ...]
    result: Mapping[str, Any]
    exit_code: int


def undisturbed(stage: Stage) -> Reference:
    """Run once without a fault, under strace; what it says and does."""
    site = stage.site("reference")
    trace = site / "trace"
    done = command(site, "strace", "-qq", "-esignal=none", *listing(trace), *argv(stage, site))
    (directory,) = WorkDirectory(site / "cores").jobs()
    found = list(points(trace.read_text(errors="replace").splitlines()))
    ours = [point for point in found if str(stage.directory) in point.path]
    reference = Reference(tuple(ours), _result(directory), done.returncode)
    shutil.rmtree(site)
    return reference


def trial(stage: Stage, point: Point, kind: str, name: str, reference: Reference) -> Outcome:
    """Disturb a run, look at what it left, run again, and look once more."""
    site = stage.site(name)
    # paths of the site are part of the points
    here = moved(point, stage.directory / "reference", site)
    trace = site / "trace"
    options = here.options(kind, datetime.now(UTC).astimezone())
    strace = ["strace", "-qq", "-esignal=none", "-o", str(trace), *options]
    done = command(site, *strace, *argv(stage, site))
    said = trace.read_text(errors="replace")
    hit = "(INJECTED)" in said or done.returncode == -signal.SIGKILL
    complaints = [] if kind == "kill" else told(done)
    complaints += after_fault(stage, site, reference)
    complaints += after_rerun(stage, site, reference)
    if not complaints:
        shutil.rmtree(site)
    return Outcome(hit, tuple(complaints))


def argv(stage: Stage, site: Path) -> list[str]:
    """The run that is disturbed."""
    # the interpreter itself: a wrapper that executes it would be let go by strace
    return [sys.executable, str(COMMANDS / "cas"), "-i", TICKET, *stage.words(site)]


def moved(point: Point, old: Path, new: Path) -> Point:
    path = point.path.replace(str(old), str(new))
    return Point(point.call, point.name, point.number, point.in_main, point.index, path)


def told(done: subprocess.CompletedProcess[str]) -> list[str]:
    """A failure must be a sentence and an exit status of the table."""
    complaints = []
    if done.returncode not in EXIT_CODES:
        complaints.append(f"exit status {done.returncode}")
    if "Traceback" in done.stderr or "internal error" in done.stderr:
        complaints.append(f"no sentence: {done.stderr[-300:]}")
    if done.returncode and not done.stderr.strip():
        complaints.append("silent failure")
    return complaints


def after_fault(stage: Stage, site: Path, reference: Reference) -> list[str]:
    """What must hold whatever happened: nothing lost, nothing half shown as whole."""
    complaints, given = [], stage.given(site)
    if given.exists():
        kept = [given]
    else:  # it has no name of its own any more
        kept = [path for path in (site / "cores").rglob(given.name) if not path.is_dir()]
    if not kept or any(_digest(path) != _digest_of_upload(stage) for path in kept):
        complaints.append("LOST: the upload has changed, or is gone")
    for directory in WorkDirectory(site / "cores").jobs():
        complaints += _half(directory, reference)
    return complaints


def _half(directory: Path, reference: Reference) -> list[str]:
    """A job that says more than it has."""
    job = load_job(directory)
    claims = (directory / "result.json").exists()
    if not job.is_stopped:
        flaws = list(seal.flaws(job, with_digests=True))
        if not claims:
            flaws.append("no result.json")
        return [f"HALF: {directory.name} {job.verdict}: {flaw}" for flaw in flaws]
    if claims:
        found = _result(directory)
        if found["verdict"] == "complete" and found != reference.result:
            return [f"HALF: {directory.name}: result.json says complete and is not"]
    return []


def after_rerun(stage: Stage, site: Path, reference: Reference) -> list[str]:
    """What the next run must come to: the result of an undisturbed one."""
    known = list(WorkDirectory(site / "cores").jobs())
    unfinished = [path for path in known if load_job(path).is_stopped]
    ended = [path for path in known if load_job(path).verdict == reference.result["verdict"]]
    if unfinished:
        again = cas(site)
    elif not ended:
        again = cas(site, *stage.words(site))
    else:
        again = None
    complaints = []
    if again and again.returncode != reference.exit_code:
        complaints.append(f"RERUN: exit status {again.returncode}: {again.stderr[-300:]}")
    *_, last = WorkDirectory(site / "cores").jobs()
    if not (last / "result.json").exists():
        complaints.append("RERUN: no result.json")
    elif (found := _result(last)) != reference.result:
        complaints += list(_differences(reference.result, found))
    return complaints + _check(site)


def _differences(expected: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    for key, value in expected.items():
        if found.get(key) == value:
            continue
        told = json.dumps(found.get(key)), json.dumps(value)
        start = next((n for n, (a, b) in enumerate(zip(*told, strict=False)) if a != b), 0)
        first, second = (text[max(0, start - 60) : start + 60] for text in told)
        yield f"RERUN: another {key}: {first!r} instead of {second!r}"


def _check(site: Path) -> list[str]:
    """What ``cas-admin check`` finds broken, after the repairs that it names."""
    check = [COMMANDS / "cas-admin", "check"]
    if command(site, *check).returncode == 0:
        return []
    command(site, COMMANDS / "cas-admin", "index")
    done = command(site, *check)
    return [f"CHECK: {done.stdout}{done.stderr}"] if done.returncode else []


def _result(directory: Path) -> dict[str, Any]:
    """A result without what differs between two runs."""
    result: dict[str, Any] = json.loads((directory / "result.json").read_text())
    for part in (result, result["summary"], *result["detections"]):
        for key in TIMELESS:
            part.pop(key, None)
    (result["kernel"] or {}).pop("vmlinux", None)
    # what becomes of an upload that was to be moved is for the fault to say
    result["remarks"] = [each for each in result["remarks"] if not _OF_TAKING.search(each)]
    trace = [result["glide"]] if result.get("glide") else []
    for section in (*result["sections"], *trace):
        section.pop("seconds")
        for one in section["commands"]:
            one.pop("size_bytes")  # with the name of the dump, and its content is compared
        content = (directory / section["path"]).read_text(errors="surrogateescape")
        # the dump is read where it was submitted, or where its copy is
        content = re.sub(r"\S*/vmcore\.elf", "DUMP", content).replace(str(directory), "JOB")
        content = content.replace(str(directory.parents[2]), "SITE")
        section["size_bytes"] = hashlib.sha256(content.encode(errors="replace")).hexdigest()
    for key in ("finding", "dump"):
        for changing in ("similar", "seen", "path"):
            (result[key] or {}).pop(changing, None)
    text = json.dumps(result).replace(str(directory), "JOB")
    text = text.replace(str(directory.parents[2]), "SITE")
    cleaned: dict[str, Any] = json.loads(STAMP.sub("JOB", text))
    return cleaned


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_of_upload(stage: Stage) -> str:
    note = stage.directory / "upload.sha256"
    if not note.exists():
        note.write_text(_digest(stage.upload))
    return note.read_text()

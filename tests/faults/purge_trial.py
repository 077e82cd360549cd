"""A purge that is killed at one call, or has no room for it, what it left, and the purge after it.

Run it with the interpreter that has cas installed, and every call has its turn:
.venv/bin/python tests/faults/purge_trial.py
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import msgspec
from fault_points import KINDS, Point, listing, points
from upgrade.moving import reseal

from cas.archive.archive import Archive
from cas.archive.record import File, Hold, Info
from cas.database.store import Store
from cas.errors import EXIT_CODES
from cas.files.digest import Fingerprint
from cas.jobs.job import load_job
from cas.jobs.work_directory import STATE, WorkDirectory

from installed import COMMANDS, FIXTURES, Site

FORMS = {
    "jobs": ("-p", "-d", "0", "--unfinished", "--yes"),
    "archive": ("purge", "--older", "0d", "--keep-exemplar", "--delete"),
}
"""What is purged, and by which words: jobs with what nobody else needs, or dumps by rules."""
UPLOADED, HELD, LESSER, LEFT, BEST, WORSE = (f"{letter}" * 32 for letter in "abcdef")
"""Crashes without a job: one that goes, one that is held, one of a cut and a whole file, one
whose file was to be removed when another purge was stopped, and two of the signature of the jobs'
crash, of which the first has the best file."""
DUMP = File(name="vmcore", digest=None, size_bytes=0, format="ELF", is_whole=True, added_s=0)


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the trials are played, one after another: a purge knows its site by its paths."""

    directory: Path
    form: str = "jobs"

    @property
    def words(self) -> tuple[str, ...]:
        return FORMS[self.form]

    @property
    def site(self) -> Site:
        settings = {"kernels": "kernels", "workDirectory": "site/cores", "debugs": "debugs"}
        settings |= {"database": "site/cas.db"}
        there = {key: str(self.directory / name) for key, name in settings.items()}
        return Site(self.directory, {**there, "engine": "drgn"})

    def begin(self) -> None:
        """Have the site as it was before any purge, with all second names of files."""
        shutil.rmtree(self.directory / "site", ignore_errors=True)
        subprocess.run(["cp", "-a", self.directory / "before", self.directory / "site"], check=True)


@dataclass(frozen=True, slots=True)
class Reference:
    """A purge that nobody disturbs."""

    points: tuple[Point, ...]
    files: Mapping[str, str]
    """Digests of what is left, by path."""
    records: Mapping[str, object]
    listed: str


def prepared(directory: Path, form: str = "jobs") -> Stage:
    """Two jobs on a crash, and crashes without a job.

    :param form: of `FORMS`; the dumps of jobs go by rules only where these have ended
    """
    stage = Stage(directory, form)
    has_ended = form == "archive"
    (directory / "kernels").mkdir()
    (directory / "site").mkdir()
    for ticket in ("T-1", "T-2"):
        done = stage.site.cas("-i", ticket, "-f", FIXTURES / "b" / "vmcore.kdump")
        assert done.returncode == 6, done.stderr
    if has_ended:  # as if the kernel had come
        for job in WorkDirectory(directory / "site" / "cores").jobs():
            for name in ("job.json", "result.json"):
                text = (job / name).read_text()
                (job / name).write_text(
                    text.replace('"verdict": "waiting"', '"verdict": "partial"')
                )
            reseal(job)
        assert stage.site.admin("index").returncode == 0
    put(stage.site, UPLOADED, DUMP)
    put(stage.site, HELD, DUMP)
    put(stage.site, LESSER, DUMP, msgspec.structs.replace(DUMP, is_whole=False))
    put(stage.site, LEFT, msgspec.structs.replace(DUMP, purged_s=1))
    if has_ended:
        said = json.loads(stage.site.cas("info", "T-1").stdout)["signatures"]
        put(stage.site, BEST, DUMP, signatures=said)
        put(stage.site, WORSE, msgspec.structs.replace(DUMP, is_whole=False), signatures=said)
    assert stage.site.cas("ls").returncode == 0
    (directory / "site").rename(directory / "before")
    return stage


def put(
    site: Site, crash_id: str, *files: File, signatures: Mapping[str, str] | None = None
) -> None:
    """A crash without a job."""
    archive, kept = opened(site), []
    now_s = int(time.time()) - 60
    blank = Info(id=crash_id, time_s=now_s, added_s=now_s)
    with archive.changing(crash_id, lambda: blank) as draft:
        for number, file in enumerate(files):
            path = archive.directory_of(crash_id) / "files" / "new"
            path.write_bytes(f"{crash_id} {number}".encode() * 1000)
            found = Fingerprint.of(path)
            path.rename(path.with_name(found.digest.partition(":")[2]))
            values = {"size_bytes": found.size_bytes, "added_s": now_s}
            kept.append(msgspec.structs.replace(file, digest=found.digest, **values))
        holds = (Hold(at_s=1, by="somebody"),) if crash_id == HELD else ()
        tickets = ("KEEP",) if crash_id == LESSER else ()
        facts = {"signatures": signatures} if signatures else {}
        draft.info = msgspec.structs.replace(
            draft.info, files=tuple(kept), holds=holds, set_tickets=tickets, facts=facts
        )


def opened(site: Site) -> Archive:
    config = site.world().config
    return Archive.of(config, Store(config.database))


def undisturbed(stage: Stage) -> Reference:
    """Purge once without a fault, under strace."""
    stage.begin()
    trace = stage.directory / "trace"
    done = traced(stage, *listing(trace))
    assert done.returncode == 0, done.stderr
    found = list(points(trace.read_text(errors="replace").splitlines()))
    ours = tuple(point for point in found if str(stage.directory / "site") in point.path)
    return Reference(ours, digests(stage), records(stage), stage.site.cas("ls").stdout)


def traced(stage: Stage, *how: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(COMMANDS / "cas-admin"), *stage.words]
    return subprocess.run(
        ["strace", "-qq", "-esignal=none", *how, *command],
        env=stage.site.prepared() | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def trial(
    stage: Stage, point: Point, reference: Reference, kind: str = "kill"
) -> tuple[bool, list[str]]:
    """Disturb a purge at a call; whether that was reached, and what should not have been.

    :param kind: of `KINDS`; that an error was made by strace nothing tells
    """
    stage.begin()
    done = traced(stage, "-o", "/dev/null", *point.options(kind, datetime.now(UTC)))
    complaints = lost(stage, reference) + lies(stage)
    if kind != "kill" and (done.returncode not in EXIT_CODES or "Traceback" in done.stderr):
        complaints.append(f"STATUS {done.returncode}: {done.stderr}")
    again = stage.site.admin(*stage.words)
    if again.returncode != 0:
        complaints.append(f"PURGE: {again.stdout}{again.stderr}")
    if stage.site.admin("check").returncode:
        stage.site.admin("index")
        check = stage.site.admin("check")
        complaints += [f"CHECK: {check.stdout}"] if check.returncode else []
    for name, found, wanted in (
        ("files", digests(stage), reference.files),
        ("records", records(stage), reference.records),
        ("list", stage.site.cas("ls").stdout, reference.listed),
    ):
        if found != wanted:
            complaints.append(f"OTHER {name}: {_other(found, wanted)}")
    return done.returncode == -signal.SIGKILL or kind != "kill", complaints


def _other(found: object, wanted: object) -> object:
    """What of a mapping is not as it should be, or all of something else."""
    if not isinstance(found, Mapping) or not isinstance(wanted, Mapping):
        return found
    keys = found.keys() | wanted.keys()
    return {key: found.get(key) for key in keys if found.get(key) != wanted.get(key)}


def lost(stage: Stage, reference: Reference) -> list[str]:
    """What was to stay and is gone."""
    there = digests(stage)
    return [f"LOST: {name}" for name in reference.files if there.get(name) != reference.files[name]]


def lies(stage: Stage) -> list[str]:
    """Records that tell of a file or a job that is not there."""
    archive, found = opened(stage.site), []
    for crash_id in archive.ids():
        info = archive.read(crash_id)
        for file in info.files:
            path = archive.path_of(info, file)
            if file.purged_s is None and path and not path.exists():
                found.append(f"LIE: {crash_id} tells of {path}")
        jobs = (archive.work_directory / name for name in info.jobs)
        found += [f"LIE: {crash_id} tells of {job}" for job in jobs if not job.exists()]
    for directory in WorkDirectory(archive.work_directory).jobs():
        job = load_job(directory)
        for path in job.dump_paths:
            if not path.exists() and job.dump_purged is None:
                found.append(f"LIE: {directory} tells of {path}")
    return found


def digests(stage: Stage) -> dict[str, str]:
    """Everything that lies in the archive's files and in jobs."""
    top = stage.site.directory / "site" / "cores"
    kept = [*top.glob(".archive/objects/*/*/files/*")]
    kept += [path for job in WorkDirectory(top).jobs() for path in job.rglob("*") if path.is_file()]
    return {str(path.relative_to(top)): _digest(path) for path in kept}


def _digest(path: Path) -> str:
    """That of a file; of a job's record, but for when its dump was purged."""
    if path.name != STATE:
        return Fingerprint.of(path).digest
    record = json.loads(path.read_text())
    return json.dumps({**record, "dump_purged": None})


def records(stage: Stage) -> dict[str, object]:
    """What is recorded of each crash, but for when it was purged."""
    found = {}
    for path in (stage.directory / "site" / "cores").glob(".archive/objects/*/*/info.json"):
        record = json.loads(path.read_text())
        for file in record["files"]:
            file["purged_s"] = bool(file["purged_s"])
            file.pop("looks")
        for change in record["changes"]:
            del change["at_s"]
        found[path.parent.name] = record
    return found


def main() -> int:
    """Every call of a purge in turn; those on the database, of which there are many, if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", action="store_true", help="also calls on the database")
    parser.add_argument("--form", choices=FORMS, default="jobs", help="what is purged")
    parser.add_argument("--kind", choices=KINDS, default="kill", help="what is done to a call")
    options, bad, missed = parser.parse_args(), 0, 0
    with tempfile.TemporaryDirectory(prefix="purges-") as scratch:
        stage = prepared(Path(scratch), options.form)
        reference = undisturbed(stage)
        todo = [each for each in reference.points if options.database or "cas.db" not in each.path]
        print(f"{len(reference.points)} calls, {len(todo)} trials", flush=True)
        for point in todo:
            is_hit, complaints = trial(stage, point, reference, options.kind)
            missed += not is_hit
            bad += bool(complaints)
            if complaints or not is_hit:
                print("BAD" if complaints else "missed", point.call, point.name, point.number)
                print(*complaints, sep="\n", flush=True)
    print(f"{len(todo)} trials, {missed} missed, {bad} bad")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

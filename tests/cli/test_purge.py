"""What `cas-admin -p` and `autoPurge` remove, and what they leave alone."""

from __future__ import annotations

import json
import os
import pwd
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from person import person

from cas.commands import World
from cas.commands.program import defaults
from cas.database.records import JobRecord
from cas.database.store import Store
from cas.jobs.job import Job, load_job
from cas.jobs.lock import lock_job
from cas.jobs.new_job import create_job
from cas.jobs.order import Order
from cas.jobs.work_directory import WorkDirectory
from cas.progress import Silent
from cas.settings.config import read_config
from cas_admin import ageing
from cas_admin.ageing import Records
from cas_admin.purging import Purging

from installed import COMMANDS, Site, answer, few_of

NOW = datetime.now(UTC)
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users")
NOBODY = 65534


@pytest.fixture
def purged(site: Site) -> Site:
    """A site that was in use on each of the last 400 days, with an old job and one of yesterday."""
    site.settings["database"] = str(site.directory / "cas.db")
    Store(site.settings["database"]).builds.last()
    build_on(site, *(NOW - timedelta(days=day) for day in range(1, 400)))
    make_job(site, "T-old", days=200)
    make_job(site, "T-new", days=1)
    return site


def build_on(site: Site, *times: datetime) -> None:
    rows = [(f"{time:%Y-%m-%d %H:%M:%S.%f}",) for time in times]
    with sqlite3.connect(site.settings["database"]) as database:
        build = "INSERT INTO builds (kind, started, counts) VALUES ('build', ?, '{}')"
        database.executemany(build, rows)
    database.close()


def make_job(site: Site, ticket: str, days: float, verdict: str | None = "complete") -> Path:
    """A job that began so many days ago, with its row."""
    began = NOW - timedelta(days=days)
    job = create_job(WorkDirectory(site.jobs), Order(ticket, Path("/vmcore")), began)
    replace(job, verdict=verdict).save()
    (job.directory / "log").write_text("log\n")
    (job.directory / ".lock").touch()
    record = JobRecord(ticket, job.directory, began, verdict or "failed")
    Store(site.settings["database"]).jobs.put(record)
    return changed(job, began)


def changed(job: Job, time: datetime) -> Path:
    os.utime(job.directory, (time.timestamp(),) * 2)
    return job.directory


def left(site: Site) -> list[str]:
    found = [path.parents[1] for path in site.jobs.glob("*/*/job.json")]
    return sorted(ticket.name for ticket in found if not ticket.is_symlink())


def test_without_a_terminal_nothing_is_purged(purged: Site) -> None:
    done = purged.admin("-p", input="y\n")
    assert done.returncode == 5
    assert "--yes" in done.stderr
    assert left(purged) == ["T-new", "T-old"]


def test_a_dry_run_lists_what_would_go(purged: Site) -> None:
    done = purged.admin("-p", "--dry-run")
    assert done.returncode == 0
    assert done.stdout.startswith(str(purged.job("T-old")))
    assert "T-new" not in done.stdout
    assert left(purged) == ["T-new", "T-old"]


def test_options_of_purge_hold_wherever_they_stand(purged: Site) -> None:
    assert purged.admin("-n", "-d", "30", "purge", "--yes").stdout.count("T-old") == 1
    assert purged.admin("-d", "99999999999999", "purge", "--yes").stdout == ""
    assert left(purged) == ["T-new", "T-old"]


MOUNTED = ("-t tmpfs none", "--bind '../of another'")


@pytest.mark.parametrize(
    ("answer", "goes"),
    [("Y\n", True), ("n\n", False), pytest.param("\4", False, marks=pytest.mark.long)],
)
def test_purge_asks_on_a_terminal(purged: Site, answer: str, *, goes: bool) -> None:
    with person(purged, "-p", program="cas-admin", columns=120) as admin:
        question = b"You are about to purge data, is this what you really want to do? [Y/y/N/n]:"
        admin.wait_for(question)
        admin.press(answer.encode())
        assert admin.status() == (0 if goes else 5)
    assert left(purged) == (["T-new"] if goes else ["T-new", "T-old"])
    assert (b"the answer was not y" in admin.seen) is not goes


def agree(site: Site, *words: str) -> None:
    """Purge, and answer that it is really to be done."""
    world = replace(site.world(), is_interactive=True, ask=lambda _: "y")
    assert answer(world, "cas-admin", "-p", *words).status == 0


def test_purging_takes_the_rows_along(purged: Site) -> None:
    purged.settings["autoPurge"] = "Yes"
    directory = purged.job("T-old")
    done = purged.admin("-b")
    assert f"removed {directory}\n" in done.stdout
    assert list(Store(purged.settings["database"]).jobs.verdicts()) == [purged.job("T-new")]


def test_a_job_is_as_old_as_its_youngest_trace(purged: Site) -> None:
    changed_lately = make_job(purged, "T-1", days=200)
    os.utime(changed_lately)
    with sqlite3.connect(purged.settings["database"]) as database:
        other = make_job(purged, "T-2", days=200)
        database.execute(
            "UPDATE jobs SET started = ? WHERE directory = ?",
            (f"{NOW:%Y-%m-%d %H:%M:%S.%f}", str(other)),
        )
    database.close()
    assert purged.admin("-p", "--yes").returncode == 0
    assert left(purged) == ["T-1", "T-2", "T-new"]


# what is ours


def strangers(site: Site) -> list[Path]:
    """Directories with names as ours, but not quite, and a symbolic link to others outside."""
    outside = site.directory / "outside"
    stamp = "2020.01.01.00.00.00"
    found = [
        *(site.jobs / "anything" / name for name in (".new-x", ".purged-x", ".new-ABCDEFGH")),
        *(site.jobs / ".hidden" / name for name in (".new-abcdefgh", f".purged-{stamp}")),
        site.jobs / "T-old" / stamp,
        site.jobs / "T-old" / "keep",
        *(outside / name for name in (".new-abcdefgh", f".purged-{stamp}", stamp)),
    ]
    for stranger in found:
        stranger.mkdir(parents=True)
        (stranger / "file").touch()
        os.utime(stranger, (0, 0))
    (outside / stamp / "job.json").write_text('{"verdict": "complete"}')
    (site.jobs / "T-link").symlink_to(outside)
    (site.jobs / "T-new" / ".purged-2020.01.01.00.00.01").symlink_to(outside)
    return [*found, site.jobs / "T-link", site.jobs / "T-new" / ".purged-2020.01.01.00.00.01"]


@pytest.mark.parametrize("words", [["-p", "--yes"], ["-b"]])
def test_only_what_the_program_made_goes_and_each_is_named(purged: Site, words: list[str]) -> None:
    purged.settings["autoPurge"] = "Yes"
    old = purged.job("T-old")
    unborn, half = old.with_name(".new-ab_0cd1x"), old.with_name(f".purged-{old.name}")
    for left_over in (unborn, half):
        left_over.mkdir()
        (left_over / "link").symlink_to(purged.directory)
        os.utime(left_over, (0, 0))
    foreign = strangers(purged)
    done = purged.admin(*words)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("removed ")] == [
        f"removed {unborn}, which was to become a job when a run was stopped",
        f"removed {half}, which a purge that was stopped left half removed",
        f"removed {old}",
    ]
    assert all(os.path.lexists(path) for path in foreign)
    assert all((path / "file").exists() for path in foreign if not path.is_symlink())
    assert done.stderr.count(f"left alone in {purged.jobs}: T-link, ") == 1
    assert left(purged) == ["T-new"]


def test_a_job_that_cannot_be_read_is_nobodys_to_remove(purged: Site) -> None:
    (purged.job("T-old") / "job.json").write_text("{")
    assert purged.admin("-p", "-d", "0", "--yes", "--unfinished").returncode == 0
    assert left(purged) == ["T-old"]


def test_a_job_that_a_run_has_stays(purged: Site) -> None:
    with lock_job(purged.job("T-old")):
        done = purged.admin("-p", "--yes")
    assert done.returncode == 4
    assert "another run of cas is working" in done.stderr
    assert left(purged) == ["T-new", "T-old"]


def test_a_job_that_was_gone_on_with_meanwhile_stays(purged: Site) -> None:
    purged.configure()
    config = read_config(purged.directory / "cas.conf", defaults({"HOME": str(purged.directory)}))
    purging = Purging.of(World(config, Silent(), NOW, is_interactive=False, ask=str))
    (old,) = purging.old(90, with_unfinished=False).jobs
    (old.job.directory / "mail.eml").touch()
    kept = list[str]()
    assert list(purging.remove_jobs([old], kept)) == []
    assert "was gone on with meanwhile" in kept.pop()
    (old.job.directory / "mail.eml").unlink()
    assert list(purging.remove_jobs([old], kept)) == [f"removed {old.job.directory}"]
    assert list(purging.remove_jobs([old], kept)) == []  # another purge was faster
    assert kept == []
    assert left(purged) == ["T-new"]


@AS_ROOT
@pytest.mark.parametrize("what", few_of(MOUNTED, {"--bind '../of another'"}))
def test_nothing_goes_that_is_mounted(purged: Site, what: str) -> None:
    directory = purged.job("T-old")
    (directory / "mnt").mkdir()
    (purged.directory / "of another").mkdir()
    os.utime(directory, (0, 0))
    script = (
        f"cd {purged.jobs} && mount {what} {directory}/mnt && touch {directory}/mnt/precious && "
        f"{COMMANDS}/cas-admin -p --yes; test -e {directory}/mnt/precious"
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        env=purged.prepared(),
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(done.stderr)
    assert f"! {directory}: something is mounted in it" in done.stderr
    assert done.returncode == 0
    assert left(purged) == ["T-new", "T-old"]


# what waits


@pytest.fixture
def waiting(purged: Site) -> Site:
    """With old jobs of each kind that is not purged by itself."""
    make_job(purged, "T-waiting", days=200, verdict="waiting")
    make_job(purged, "T-stopped", days=200, verdict="interrupted")
    make_job(purged, "T-killed", days=200, verdict=None)
    unsent = make_job(purged, "T-unsent", days=200)
    (unsent / "mail.eml").touch()
    os.utime(unsent / "mail.eml", (0, 0))
    changed(load_job(unsent), NOW - timedelta(days=200))
    return purged


def test_jobs_that_wait_are_told_and_go_only_when_asked_for(waiting: Site) -> None:
    done = waiting.admin("-p", "--yes")
    assert "4 jobs older than 90 days kept" in done.stderr
    assert "--unfinished" in done.stderr
    assert left(waiting) == ["T-killed", "T-new", "T-stopped", "T-unsent", "T-waiting"]
    (told,) = ageing.held_line(ageing.held_jobs(WorkDirectory(waiting.jobs)))
    assert told.startswith("kept whatever their age: 4 jobs: 1 waiting for a kernel (")
    held = json.loads(waiting.admin("status", "--json").stdout)["jobs"]["held"]
    assert {why: one["jobs"] for why, one in held.items()} == {
        "waiting": 1,
        "unfinished": 2,
        "unsent": 1,
    }
    assert held["waiting"]["size_bytes"] > 0
    assert waiting.admin("-p", "--unfinished", "--yes").returncode == 0
    assert left(waiting) == ["T-new"]


def test_a_build_purges_no_job_that_waits(waiting: Site) -> None:
    waiting.settings["autoPurge"] = "Yes"
    for ticket in ("T-stopped", "T-killed"):  # it would go on with them
        make_job(waiting, ticket, days=200, verdict="waiting")
        job = load_job(waiting.job_directories(ticket)[0])
        replace(job, verdict="waiting").save()
    done = waiting.admin("-b")
    assert "with a mail that is not sent" in done.stdout
    assert {"T-waiting", "T-unsent"} <= {*left(waiting)}
    assert "T-old" not in left(waiting)


# the clock


def age(site: Site, years: float) -> None:
    """Have everything be older, as if the clock were ahead."""
    seconds = years * 365 * 86400
    for directory in site.jobs.glob("*/*"):
        job = load_job(directory)
        time = job.started - timedelta(seconds=seconds)
        replace(job, started=time).save()
        changed(job, time)
    with sqlite3.connect(site.settings["database"]) as database:
        for table in ("builds", "jobs"):
            shift = f"UPDATE {table} SET started = datetime(started, ?)"  # noqa: S608
            database.execute(shift, (f"{-seconds} seconds",))
    database.close()


def test_a_clock_that_is_years_ahead_purges_nothing(purged: Site) -> None:
    purged.settings["autoPurge"] = "Yes"
    age(purged, years=2)
    for _ in range(2):  # the second run finds the traces of the first
        done = purged.admin("-b")
        assert "nothing was done here between" in done.stderr
        assert "2 jobs older than 90 days kept" in done.stderr
    sure = purged.admin("-p", "--yes")
    assert sure.returncode == 5
    assert "cas-admin -p without --yes asks and removes them" in sure.stderr
    assert left(purged) == ["T-new", "T-old"]


def test_the_question_overrides_the_doubt(purged: Site) -> None:
    age(purged, years=2)
    with person(purged, "-p", program="cas-admin", columns=200) as admin:
        admin.wait_for(b"nothing was done here between")
        admin.wait_for(b"[Y/y/N/n]:")
        admin.press(b"y\n")
        assert admin.status() == 0
    assert left(purged) == []


def test_a_job_of_1971_stays_until_somebody_answers(purged: Site) -> None:
    make_job(purged, "T-1971", days=55 * 365)
    purged.settings["autoPurge"] = "Yes"
    assert "1 job older than 90 days kept" in purged.admin("-b").stderr
    assert left(purged) == ["T-1971", "T-new"]


def test_a_clock_that_is_behind_purges_nothing(purged: Site) -> None:
    purged.settings["autoPurge"] = "Yes"
    later = [NOW + timedelta(days=day) for day in range(1, 5)]
    work, store = WorkDirectory(purged.jobs), Store(purged.settings["database"])
    job = load_job(purged.job("T-new"))
    mail = job.directory / "mail.sent.eml"
    mail.touch()
    os.utime(mail, (later[0].timestamp(),) * 2)
    assert newest(work, store) == later[0]
    changed(job, later[1])
    assert newest(work, store) == later[1]
    store.jobs.put(JobRecord("T-new", job.directory, later[2], "complete"))
    assert newest(work, store) == later[2]
    build_on(purged, later[3])
    assert newest(work, store) == later[3]
    done = purged.admin("-b")
    assert "the clock says " in done.stderr
    assert f"but a build is of {later[3]:%Y-%m-%d %H:%M:%S} UTC" in done.stderr
    assert left(purged) == ["T-new", "T-old"]


def newest(work: WorkDirectory, store: Store) -> datetime:
    found = ageing.traces(work, Records.of(store, Silent()))
    return max(trace.when for trace in found)


def test_a_wrong_clock_is_told_where_nothing_is_old(purged: Site) -> None:
    purged.settings["autoPurge"] = "Yes"
    purged.admin("-p", "--yes")
    build_on(purged, NOW + timedelta(days=30))
    assert "nothing is purged for its age" in purged.admin("-b").stderr


def test_without_a_database_the_directories_tell_the_age(purged: Site) -> None:
    purged.settings["database"] = "postgresql://nobody@127.0.0.1:1/cas"
    done = purged.admin("-p", "--yes")
    assert done.returncode == 5
    assert "ages are told by the jobs alone" in done.stderr
    make_traces(purged)
    done = purged.admin("-p", "--yes")
    assert done.returncode == 0, done.stderr
    assert f"removed {purged.jobs}/T-old/" in done.stdout
    assert "stays in the database" in done.stderr


def make_traces(site: Site) -> None:
    """A job for each month."""
    for month in range(12):
        began = NOW - timedelta(days=30 * month)
        job = create_job(WorkDirectory(site.jobs), Order("T-m", Path("/vmcore")), began)
        replace(job, verdict="waiting").save()
        changed(job, began)


def test_a_quiet_site_is_purged_by_yes_alone(site: Site) -> None:
    site.settings["database"] = str(site.directory / "cas.db")
    for days in range(20, 320, 60):
        make_job(site, f"T-{days}", days=days)
    done = site.admin("-p", "--yes")
    assert done.returncode == 5  # the clock may have been wrong until 20 days ago
    with sqlite3.connect(site.settings["database"]) as database:
        purges = "SELECT date(started), kind FROM builds"
        assert database.execute(purges).fetchall() == [(f"{NOW:%Y-%m-%d}", "purge")]
        for days in range(100):  # that passed since, purge by purge
            when = f"-{days} days"
            values = "('purge', datetime('now', ?), '{}')"
            database.execute(f"INSERT INTO builds (kind, started, counts) VALUES {values}", (when,))  # noqa: S608
    database.close()
    assert "none yet; run: cas-admin -b" in site.admin("status").stdout
    done = site.admin("-p", "--yes")
    assert done.returncode == 0, done.stderr
    assert left(site) == ["T-20", "T-80"]


def test_an_answer_stands_for_what_was_quiet_before(site: Site) -> None:
    site.settings["database"] = str(site.directory / "cas.db")
    for days in (80, 140, 200):
        make_job(site, f"T-{days}", days=days)
    agree(site, "-d", "180")
    make_job(site, "T-1971", days=55 * 365)  # by a clock that went wrong after the answer
    done = site.admin("-p", "--yes")
    assert f"removed {site.jobs}/T-140/" in done.stdout, done.stderr
    assert left(site) == ["T-1971", "T-80"]


def test_builds_of_a_wrong_clock_are_forgotten_with_the_answer(purged: Site) -> None:
    build_on(purged, NOW + timedelta(days=700))
    agree(purged)
    purged.settings["autoPurge"] = "Yes"
    make_job(purged, "T-old", days=200)
    assert "removed" in purged.admin("-b").stdout


# other owners


@pytest.fixture
def shared_by_all(purged: Site) -> Iterator[Site]:
    """A work directory in which others may create things, below directories they may enter."""
    for directory in (purged.directory, *purged.directory.parents):
        if directory != Path("/") and directory.stat().st_uid == os.geteuid():
            directory.chmod(directory.stat().st_mode | 0o011)
    purged.jobs.chmod(0o1777)
    yield purged


@AS_ROOT
def test_a_planted_job_is_named_and_never_touched(shared_by_all: Site) -> None:
    site = shared_by_all
    secret, victim = site.directory / "secret", site.directory / "victim"
    secret.write_text("root only\n")
    victim.write_text("precious\n")
    for path in (secret, victim):
        path.chmod(0o600)
    planted = plant(site.jobs / "T-evil", secret, victim)
    for words in (["resume"], ["check"], ["status"], ["-p", "--yes"]):
        done = site.admin(*words)
        said = done.stdout + done.stderr
        assert said.count("T-evil") == 1, (words, said)
        assert f"belongs to {pwd.getpwuid(NOBODY).pw_name}" in said
    done = site.cas("-i", "T-evil")
    assert done.returncode == 2
    assert "belongs to" in done.stderr
    done = site.cas("debug", "T-evil", "-c", "sys")
    assert done.returncode == 2
    assert "belongs to" in done.stderr
    assert victim.read_text() == "precious\n"
    assert (planted / "vmcore").is_symlink()
    done = site.cas("-i", "T-evil", "-f", "/etc/passwd")
    assert done.returncode != 0
    assert left(site) == ["T-evil", "T-new"]


def plant(ticket: Path, secret: Path, victim: Path) -> Path:
    """An unfinished job of somebody else, with links to what only root may read and write."""
    directory = ticket / "2026.01.01.00.00.00"
    directory.mkdir(parents=True)
    record = {
        "version": 1,
        "order": {"ticket": ticket.name, "upload": str(secret), "more": []},
        "started": "2026-01-01T00:00:00+00:00",
        "stages": ["received"],
        "stored": None,
        "verdict": None,
        "files": {},
    }
    (directory / "job.json").write_text(json.dumps(record))
    (directory / "vmcore").symlink_to(secret)
    for name in ("result.json", "report.txt", f"{ticket.name}.log", ".lock", "mail.eml"):
        (directory / name).symlink_to(victim)
    for path in (ticket, directory, *directory.iterdir()):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    return directory


def test_a_work_directory_that_others_may_change_is_refused(purged: Site) -> None:
    purged.jobs.chmod(0o777)
    for words in (["resume"], ["-p", "--yes"]):
        done = purged.admin(*words)
        assert done.returncode == 5, words
        assert f"chmod +t {purged.jobs}" in done.stderr
    assert "may write to the work directory" in purged.admin("status").stdout
    assert purged.cas("-i", "T-1", "-f", "/etc/passwd").returncode == 5
    purged.jobs.chmod(0o1777)
    assert purged.admin("-p", "--yes").returncode == 0


def test_a_record_that_is_no_file_is_not_waited_for(purged: Site) -> None:
    for number, make in enumerate(RECORDS):
        record = make_job(purged, f"T-{number}", days=200) / "job.json"
        record.unlink()
        make(record)
    for words in (["status"], ["check"], ["resume"]):
        done = purged.admin(*words, timeout=60)
        assert "its job.json is no regular file" in done.stdout + done.stderr, words
        assert "internal error" not in done.stderr
    assert {f"T-{number}" for number in range(len(RECORDS))} <= {*left(purged)}


def make_huge(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 34)


RECORDS: tuple[Callable[[Path], object], ...] = (
    os.mkfifo,
    lambda path: path.symlink_to("/dev/zero"),
    lambda path: path.symlink_to("/etc/passwd"),
    Path.mkdir,
    make_huge,
)
"""What may stand in the place of a ``job.json``."""

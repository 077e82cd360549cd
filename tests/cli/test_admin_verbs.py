"""cas-admin kernels, status and build --watch, through the installed commands."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from catalogue import kernel_packages
from ready_commands import Started

from cas.database.store import Store
from cas.errors import UsageError
from cas.jobs.new_job import create_job
from cas.jobs.order import Order
from cas.jobs.work_directory import WorkDirectory
from cas.model.dump import Dump
from cas.model.host import Host
from cas.model.report import Report
from cas.report.report import write_report
from cas_admin.command_line import parse_admin

from installed import FIXTURES, Answer, Running, Site, answer

RELEASE = "6.1.192-1.cas1.x86_64"
(PACKAGE,) = (FIXTURES / "a").glob("*.rpm")
DUMP = FIXTURES / "a" / "vmcore.elf.xz"
DAMAGED = "kernel-debuginfo-9.rpm"


class Watcher:
    """A ``cas-admin -b --watch`` that is at work, and what it has said so far."""

    def __init__(self, process: Running | Started) -> None:
        self.process = process
        self.lines: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(self.process.stderr)

    def wait_for(self, text: str, *, times: int = 1) -> None:
        deadline = time.monotonic() + 60
        while sum(text in line for line in tuple(self.lines)) < times:
            assert time.monotonic() < deadline, self.lines
            assert self.process.poll() is None, self.lines
            time.sleep(0.05)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture
def watching(site: Site) -> Iterator[Callable[..., Watcher]]:
    started: list[Watcher] = []

    def watch(*words: str) -> Watcher:
        started.append(Watcher(site.start("cas-admin", "-b", "--watch", "1", *words)))
        return started[-1]

    yield watch
    for watcher in started:
        watcher.process.kill()
        watcher.process.wait()


def kernels_of(site: Site) -> Path:
    return Path(site.settings["kernels"])


def wait_for_runs(site: Site, more: int) -> None:
    """Until so many more runs have come to their end."""
    store = Store(site.settings["database"])
    newest = store.builds.last()[0].started
    deadline = time.monotonic() + 60
    while sum(run.ended is not None and run.started > newest for run in store.builds.last()) < more:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def listed(
    tmp_path_factory: pytest.TempPathFactory, catalogued: Callable[[Site, str], Site]
) -> Site:
    """A site with one kernel, for the tests that only look at it."""
    directory = tmp_path_factory.mktemp("listed")
    settings = {"workDirectory": str(directory / "cores"), "debugs": str(directory)}
    return catalogued(Site(directory, {**settings, "database": f"{directory}/cas.db"}), "a")


def test_kernels_are_listed_with_their_package(listed: Site) -> None:
    done = listed.admin("kernels")
    titles, row = done.stdout.splitlines()
    assert titles.split() == ["RELEASE", "ARCH", "FLAVOUR", "BUILD-ID", "PACKAGE"]
    release, arch, flavour, build_id, package = row.split()
    assert (release, arch, flavour, package) == (RELEASE, "x86_64", "-", str(PACKAGE))
    assert len(build_id) == 40
    assert row.index(build_id) == titles.index("BUILD-ID")


def test_a_pattern_chooses_kernels(listed: Site) -> None:
    world = listed.world()
    (one,) = Store.of(world.config).kernels.listed()
    build_id = one.build_id or ""
    names = (RELEASE, "6.1.*", "6.1.192", "192-1", "debuginfo")
    for pattern in (*names, build_id[:6], build_id.upper()):
        assert len(answer(world, "cas-admin", "kernels", pattern).lines) == 2, pattern
    for pattern in ("5.*", build_id[:5], "f" * 40):
        assert answer(world, "cas-admin", "kernels", pattern) == Answer((), 1), pattern


def test_a_pattern_that_fits_nothing_is_said(listed: Site) -> None:
    done = listed.admin("kernels", "5.*")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no catalogued kernel has a release like 5.*" in done.stderr


def test_kernels_as_json_have_a_version_and_all_facts(listed: Site) -> None:
    told = json.loads(answer(listed.world(), "cas-admin", "kernels", "--json").lines[0])
    assert told["version"] == 1
    (kernel,) = told["kernels"]
    assert kernel["release"] == RELEASE
    assert kernel["path"] == str(PACKAGE)
    assert kernel["kind"] == "rpm"
    assert kernel["size_bytes"] > 1 << 20


def test_an_empty_catalogue_says_how_to_fill_it(site: Site) -> None:
    done = site.admin("kernels")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"put packages below {kernels_of(site)}" in done.stderr


def test_a_path_cannot_reprogram_the_terminal(site: Site) -> None:
    hostile = kernels_of(site) / "a\x1b[2J\u202eb"
    hostile.mkdir()
    (hostile / PACKAGE.name).symlink_to(PACKAGE)
    (hostile / DAMAGED).write_text("none")
    assert site.admin("-b").returncode == 3
    world = site.world()
    for words in ((), ("--json",)):
        said = (
            *answer(world, "cas-admin", "kernels", *words).lines,
            *answer(world, "cas-admin", "status", *words).lines,
        )
        assert DAMAGED in "".join(said)
        assert not {"\x1b", "\u202e"} & set("".join(said))


def waiting_job(site: Site, ticket: str) -> None:
    job = create_job(WorkDirectory(site.jobs), Order(ticket, DUMP), datetime.now(UTC))
    dump = Dump(DUMP, "ELF", 1, "x86_64", RELEASE, build_id="ab" * 20)
    report = Report(
        ticket=ticket,
        directory=job.directory,
        upload=str(DUMP),
        server="here",
        started=job.started,
        verdict="waiting",
        stage="identified",
        hint="put this package there",
        dump=dump,
    )
    write_report(report)
    replace(job, verdict="waiting").save()


def test_status_shows_what_is_there_what_waits_and_what_is_wrong(site: Site) -> None:
    waiting_job(site, "T-1")
    waiting_job(site, "T-2")
    done = site.admin("status")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line for line in done.stdout.splitlines() if not line.startswith("  ")] == [
        "PACKAGES",
        "BUILDS",
        "CACHE",
        "JOBS",
        "ARCHIVE",
        "KNOWN",
        "HOSTS",
        "ENGINES",
        "SANDBOX",
        "SPACE",
    ]
    assert "2 jobs: 2 waiting" in done.stdout
    assert f"2 jobs waiting for {RELEASE} (x86_64): put this package there" in done.stdout
    assert "none yet" in done.stdout
    assert "none registered" in done.stdout


def test_junk_below_kernels_is_told_by_kind_and_count(site: Site) -> None:
    for number in range(300):
        (kernels_of(site) / f"kernel-debuginfo-{number}.rpm").write_bytes(b"none" * (number > 99))
    (kernels_of(site) / "vmlinux-6.1.0").write_bytes(b"\x7fELF" + bytes(100))
    done = site.admin("-b")
    assert done.returncode == 3
    assert "300 paths" not in done.stderr
    told = [line for line in done.stderr.splitlines() if "every package is named by" in line]
    assert [line.split(" like ")[0] for line in told] == ["! 200 paths", "! 100 paths"]
    assert "is no intact RPM: it does not begin like one" in told[0]
    assert "is no intact RPM: the file is empty" in told[1]
    assert f"! {kernels_of(site) / 'vmlinux-6.1.0'} is no vmlinux: " in done.stderr
    assert len(done.stderr.splitlines()) < 8
    world = site.world()
    lines = answer(world, "cas-admin", "status").lines
    assert sum(line.startswith("  ! ") for line in lines[: lines.index("BUILDS")]) == 3
    assert (
        len(json.loads(answer(world, "cas-admin", "status", "--json").lines[0])["packages"]["bad"])
        == 301
    )


def test_packages_that_contradict_each_other_are_named(site: Site) -> None:
    site.settings["debugs"] = str(site.directory / "debugs")  # what is contested is removed there
    files = [kernels_of(site) / name / "vmlinux" for name in ("one", "other")]
    for file in files:
        file.parent.mkdir()
        file.write_bytes(kernel_packages.vmlinux("one"))
    with files[1].open("ab") as longer:
        longer.write(b"more")
    done = site.admin("-b")
    assert done.returncode == 3
    said = f"is claimed by {files[0]} and {files[1]}, which differ in size_bytes"
    assert f"{said}: none of them is used" in done.stderr
    assert said in "".join(answer(site.world(), "cas-admin", "status").lines)


def test_status_counts_mails_and_hosts(site: Site) -> None:
    waiting = site.jobs / "T-1" / "2026.11.21.10.00.00"
    waiting.mkdir(parents=True)
    (waiting / "job.json").touch()
    (waiting / "mail.eml").touch()
    store = Store(site.settings["database"])
    for number, host in enumerate((Host("a"), Host("b", problem="no crash"), Host("c"))):
        store.hosts.put_host(replace(host, is_enabled=number < 2))
    site.configure()
    lines = answer(site.world(), "cas-admin", "status").lines
    assert "  1 mail not sent yet; run: cas-admin resume" in lines
    assert "  3 registered: 1 of use, 1 failed, 1 disabled" in lines


def test_status_as_json_has_a_version_and_every_part(listed: Site) -> None:
    done = listed.admin("status", "--json")
    told = json.loads(done.stdout)
    assert done.returncode == 0
    assert told["version"] == 1
    assert told["packages"]["packages"] == {"rpm": {"ok": 1}}
    assert told["packages"]["bad"] == told["packages"]["contested"] == []
    assert told["builds"]["last"][0]["counts"]["added"] == 1
    assert told["cache"]["limit_bytes"] == 200 << 30
    assert told["jobs"] == {"verdicts": {}, "mails": 0, "waiting": [], "held": {}, "skipped": []}
    assert told["hosts"]["registered"] == 0
    assert told["space"]["workDirectory_free_bytes"] > told["space"]["dump_room_bytes"] > 0
    assert told["engines"]["engines"][0]["version"].startswith("drgn ")


def test_a_part_that_cannot_be_found_out_hides_no_other(site: Site) -> None:
    Path(site.settings["database"]).write_bytes(b"no database at all\n" * 100)
    done = site.admin("status")
    assert done.returncode == 3
    assert "! " in done.stdout.partition("PACKAGES")[2].partition("BUILDS")[0]
    assert "no jobs" in done.stdout
    assert "free for " in done.stdout
    assert "Traceback" not in done.stderr
    told = json.loads(answer(site.world(), "cas-admin", "status", "--json").lines[0])
    assert "problem" in told["packages"]
    assert "problem" not in told["space"]


def test_a_watch_sees_a_new_package_and_finishes_the_job_that_waits_for_it(
    waiting: Site, watching: Callable[..., Watcher], shared: Path
) -> None:
    waiting.settings["debugs"] = str(shared / "debugs")
    waiting.keep_snippets("sys", "log")
    watcher = watching()
    watcher.wait_for(f"Watching {kernels_of(waiting)}: the next build is in 1 s")
    assert f"Watching {kernels_of(waiting)}: the first build begins" in watcher.lines[0]
    shutil.copy(PACKAGE, kernels_of(waiting) / ".copy")
    (kernels_of(waiting) / ".copy").rename(kernels_of(waiting) / PACKAGE.name)
    watcher.wait_for("1 kernel in the catalogue")
    watcher.wait_for(f"complete {waiting.job('T-1')}")
    assert watcher.end() == 0
    assert waiting.result("T-1")["verdict"] == "complete"


@pytest.mark.long
def test_a_watch_says_what_is_new_and_nothing_twice(
    site: Site, watching: Callable[..., Watcher]
) -> None:
    (kernels_of(site) / PACKAGE.name).symlink_to(PACKAGE)
    (kernels_of(site) / DAMAGED).write_text("none")
    watcher = watching()
    watcher.wait_for("1 kernel in the catalogue")
    wait_for_runs(site, 2)
    assert sum(DAMAGED in line for line in watcher.lines) == 1
    assert len(watcher.lines) == 4
    (kernels_of(site) / DAMAGED).unlink()
    watcher.wait_for("1 gone")
    assert watcher.end(signal.SIGINT) == 0
    assert len(watcher.lines) == 5


@pytest.mark.long
def test_a_watch_says_a_failure_once_and_tries_again(
    site: Site, watching: Callable[..., Watcher]
) -> None:
    package = kernels_of(site) / PACKAGE.name
    package.symlink_to(PACKAGE)
    watcher = watching()
    watcher.wait_for("1 kernel in the catalogue")
    package.unlink()
    watcher.wait_for("has no package that matches")
    wait_for_runs(site, 2)
    package.symlink_to(PACKAGE)
    watcher.wait_for("1 kernel in the catalogue", times=2)
    assert watcher.end() == 0
    assert sum("has no package that matches" in line for line in watcher.lines) == 1


def test_a_watch_that_cannot_work_ends_at_once(site: Site) -> None:
    site.settings["kernels"] = str(site.directory / "none")
    done = site.admin("build", "--watch")
    assert done.returncode == 2
    assert "none" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-b", "--watch", "0"), "'0' is not a number of seconds"),
        (("build", "--watch", "soon"), "'soon' is not a number of seconds"),
        (("--watch", "-p"), "--watch belongs to a build"),
        (("--watch", "5", "status"), "--watch belongs to a build"),
        (("-b", "status"), "one thing at a time, not build and status"),
        (("cache",), "cas-admin cache needs to be told what to do"),
        (("kernels", "a", "b"), "cas-admin kernels can do nothing with b"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_admin(words)


def test_programs_that_cannot_be_started_are_told_in_words(site: Site) -> None:
    programs = site.directory / "programs"
    programs.mkdir()
    for name in ("bwrap", "crash"):
        (programs / name).write_text("#!/nowhere/sh\n")
        (programs / name).chmod(0o755)
    site.environment["PATH"] = f"{programs}:{os.environ['PATH']}"
    status = site.admin("status").stdout
    assert f"{programs}/bwrap: No such file or directory" in status
    assert "! crash: " in status
    assert "Errno" not in status

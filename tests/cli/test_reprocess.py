"""Kept jobs judged anew, from the installed command: nothing of the dumps is read."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cas.database.records import Crashed
from cas.database.store import Store
from cas.files.digest import Fingerprint
from cas.jobs.job import load_job

from installed import FIXTURES, Site, closed_port

DUMPS = {
    "T-1": FIXTURES / "a" / "vmcore.elf.xz",
    "T-2": FIXTURES / "b" / "vmcore.kdump",
}
TITLE = "NULL pointer dereference in cas_sum_entries [cas_oops]"
FORMER = "dd4a9b7a8566dfac"
"""What the release before called this crash, see tests/upgrade."""
PUBLISHED = ("report.txt", "report.html", "result.json", "job.json")


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Two jobs of one crash that wait for their kernels, and their mails for a server."""
    directory = tmp_path_factory.mktemp("site")
    (directory / "kernels").mkdir()
    settings = {"kernels": "kernels", "workDirectory": "cores", "debugs": "debugs"}
    site = Site(directory, {key: str(directory / name) for key, name in settings.items()})
    site.settings |= {"database": str(directory / "cas.db"), "smtphost": "127.0.0.1"}
    site.settings["smtpPort"] = str(closed_port())
    for ticket, dump in DUMPS.items():
        done = site.cas("-i", ticket, "-f", dump, "-e", "user@example.com")
        assert done.returncode == 6, done.stderr
    return site


@pytest.fixture(scope="module")
def originals(judged: Site) -> dict[Path, bytes]:
    """What the jobs published, as this release judges them."""
    found = (judged.job(ticket) / name for ticket in DUMPS for name in PUBLISHED)
    return {path: path.read_bytes() for path in found}


@pytest.fixture
def aged(judged: Site, originals: dict[Path, bytes]) -> Site:
    """The same site as a release before would have left it."""
    for path, content in originals.items():
        path.write_bytes(content)
    for ticket in DUMPS:
        change(judged.job(ticket), of_before)
    assert judged.admin("index").returncode == 0
    return judged


def of_before(result: dict[str, Any]) -> None:
    result["signature"] = result["finding"]["signature"] = FORMER
    for key in ("title", "signatures", "former", "seen", "choice", "data", "kind", "before"):
        del result["finding"][key]


def of_other_version(result: dict[str, Any]) -> None:
    for each in result["finding"]["signatures"]:
        each |= {"version": 1, "value": each["value"][::-1]}


def change(directory: Path, edit: Callable[[dict[str, Any]], None], *, sealed: bool = True) -> None:
    """Write a result anew, and have the job's record know it."""
    path = directory / "result.json"
    result = json.loads(path.read_text())
    edit(result)
    path.write_text(json.dumps(result))
    if sealed:
        job = load_job(directory)
        replace(job, files={**job.files, path.name: Fingerprint.of(path)}).save()


def contents(site: Site) -> dict[Path, bytes]:
    files = (path for ticket in DUMPS for path in site.job(ticket).rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in files}


def test_a_trial_tells_what_would_change_and_changes_nothing(
    aged: Site, originals: dict[Path, bytes]
) -> None:
    before = contents(aged)
    done = aged.admin("reprocess", "--dry-run")
    assert done.returncode == 0, done.stderr
    *lines, summary = done.stdout.splitlines()
    new = json.loads(originals[aged.job("T-1") / "result.json"])["signature"]
    signature = f"signature {FORMER} → {new}"
    assert lines == [f"{aged.job(t)}: title - → {TITLE}; {signature}" for t in DUMPS]
    assert summary == "2 jobs: 2 would change, 0 unchanged"
    assert contents(aged) == before


def test_a_job_of_before_is_as_if_this_release_had_judged_it(
    aged: Site, originals: dict[Path, bytes]
) -> None:
    # not judged anew yet, it is compared by its own signature
    asked = Crashed("T-3", Path("/other"), former=FORMER)
    store = Store(aged.settings["database"])
    assert store.jobs.seen(asked).tickets == ("T-2", "T-1")
    mails = [aged.job(ticket) / "mail.eml" for ticket in DUMPS]
    mailed = [path.stat() for path in mails]
    done = aged.admin("reprocess", "all")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("2 jobs: 2 changed, 0 unchanged\n")
    assert {path: path.read_bytes() for path in originals} == originals
    assert [path.stat() for path in mails] == mailed
    assert store.jobs.seen(asked).tickets == ()
    checked = aged.admin("check")
    assert checked.stdout.endswith("2 jobs checked: all is well\n"), checked.stdout
    assert aged.admin("reprocess").stdout == "2 jobs: 0 changed, 2 unchanged\n"


def test_what_was_not_found_while_others_were_of_before_is_found_later(
    judged: Site, originals: dict[Path, bytes]
) -> None:
    for path, content in originals.items():
        path.write_bytes(content)
    change(judged.job("T-1"), of_other_version)
    change(judged.job("T-2"), lambda result: result["finding"]["seen"].update(same=None))
    assert judged.admin("index").returncode == 0
    assert judged.admin("reprocess").stdout.endswith("2 jobs: 2 changed, 0 unchanged\n")
    assert {path: path.read_bytes() for path in originals} == originals

    # but what was told of jobs that were purged since stays
    change(judged.job("T-2"), lambda result: result["finding"]["seen"]["same"].update(count=7))
    assert judged.admin("reprocess").stdout == "2 jobs: 0 changed, 2 unchanged\n"


def test_who_is_judged_first_is_compared_by_what_it_was_called_with_the_others(
    judged: Site, originals: dict[Path, bytes]
) -> None:
    for path, content in originals.items():
        path.write_bytes(content)
    for ticket in DUMPS:
        change(judged.job(ticket), of_other_version)
    assert judged.admin("index").returncode == 0
    assert judged.admin("reprocess", "T-2").returncode == 0
    assert judged.result("T-2")["finding"]["seen"]["same"]["tickets"]["names"] == ["T-1"]


def test_who_is_stopped_on_the_way_leaves_a_job_of_before_or_of_now(
    aged: Site, originals: dict[Path, bytes]
) -> None:
    old = contents(aged)
    first, second = (aged.job(ticket) for ticket in DUMPS)
    # stopped before the record knew of the new files: they are as good as never written
    (first / "..report.txt.part.new.part").write_text("half a rep")
    assert "was being reprocessed when that was stopped" in aged.admin("check", "--quick").stdout
    (first / ".report.html.part.new").write_text("whole")
    assert aged.admin("reprocess", "T-1").stdout.endswith("1 job: 1 changed, 0 unchanged\n")
    # stopped after that: they are put in their places
    (first / "result.json").rename(first / ".result.json.part.new")
    (first / "result.json").write_bytes(old[first / "result.json"])
    advice = f"run: cas-admin reprocess T-1/{first.name}"
    assert f"was being reprocessed when that was stopped; {advice}" in aged.admin("check").stdout
    assert aged.admin("reprocess", f"T-1/{first.name}").returncode == 0
    for path, content in contents(aged).items():
        assert path.parent != first or path not in originals or content == originals[path], path
        assert path.parent != second or content == old[path], path
    assert not list(first.glob(".*.new*"))


def test_what_cannot_be_judged_keeps_its_verdict_and_no_other_from_being_judged(
    aged: Site, originals: dict[Path, bytes]
) -> None:
    first, second = (aged.job(ticket) for ticket in DUMPS)
    change(first, lambda result: result.update(reason="edited"), sealed=False)
    done = aged.admin("reprocess")
    assert done.returncode == 4
    assert f"{first}: result.json has another content than was sealed" in done.stderr
    assert done.stdout.endswith("2 jobs: 1 changed, 0 unchanged, 1 that cannot be judged\n")
    assert (second / "report.txt").read_bytes() == originals[second / "report.txt"]

    change(first, lambda _: None)
    content = (first / "sys").read_bytes()
    (first / "sys").write_bytes(content[::-1])
    done = aged.admin("reprocess", "T-1")
    (first / "sys").write_bytes(content)
    assert done.returncode == 4
    assert f"{first}: sys has another content than was sealed" in done.stderr

    (first / "sys").rename(first / "gone")
    done = aged.admin("reprocess", "T-1")
    (first / "gone").rename(first / "sys")
    assert done.returncode == 4
    assert f"cannot read {first / 'sys'}: No such file or directory" in done.stderr

    def without_log(result: dict[str, Any]) -> None:
        result["sections"] = [one for one in result["sections"] if one["name"] != "log"]

    change(first, without_log)
    before = contents(aged)
    with (second / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = aged.admin("reprocess")
    assert (done.returncode, contents(aged)) == (0, before)
    assert f"{first} is left as it is: its whole kernel log was not kept" in done.stderr
    assert f"{second} is left as it is: another run is working in it" in done.stderr
    assert done.stdout == "2 jobs: 0 changed, 0 unchanged, 2 left as they are\n"
    done = aged.admin("reprocess", "T-9")
    assert (done.returncode, "there is no job 'T-9'" in done.stderr) == (2, True)

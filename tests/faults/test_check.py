"""``cas-admin check`` finds what is broken, says so in a line, and exits with 4."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from cas.catalogue.building.build import build
from cas.database.store import Store
from cas.progress import Silent
from cas.settings.rules import PackageRules

from installed import FIXTURES, Answer, Site, answer


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site with a complete job, never changed."""
    directory = tmp_path_factory.mktemp("site")
    shutil.copytree(FIXTURES / "b", directory / "kernels")
    site = Site(directory, {"engine": "drgn"})
    site.keep_snippets("log", "sys", "traceback")
    assert at(site, directory).admin("-b").returncode == 0
    done = site.cas("-i", "T-1", "-f", directory / "kernels" / "vmcore.kdump")
    assert done.returncode == 0, done.stderr
    return site


def at(site: Site, directory: Path) -> Site:
    site.settings |= {
        "kernels": str(directory / "kernels"),
        "workDirectory": str(directory / "cores"),
        "debugs": str(directory / "debugs"),
        "database": str(directory / "cas.db"),
    }
    return site


def job(site: Site) -> Path:
    return site.job("T-1")


def rewrite(path: Path, content: bytes) -> None:
    """Into a file of its own: the names in a copied site are links."""
    path.unlink()
    path.write_bytes(content)
    path.chmod(0o600)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    rewrite(path, content)


def change_result(site: Site, **facts: object) -> None:
    path = job(site) / "result.json"
    rewrite(path, json.dumps({**json.loads(path.read_text()), **facts}).encode())


def change_mode(path: Path) -> None:
    rewrite(path, path.read_bytes())
    path.chmod(0o644)


def forget_row(site: Site) -> None:
    with sqlite3.connect(site.settings["database"]) as database:
        database.execute("DELETE FROM jobs")


def change_row(site: Site) -> None:
    with sqlite3.connect(site.settings["database"]) as database:
        database.execute("UPDATE jobs SET verdict = 'failed'")


def swap_vmlinux(site: Site) -> None:
    (entry,) = (path for path in Path(site.settings["debugs"]).iterdir() if path.is_dir())
    entry.rename(entry.with_name("0" * 40))
    (entry.with_name("0" * 40) / "kernel.json").unlink()


def leave_partial(site: Site) -> None:
    (entry,) = (path for path in Path(site.settings["debugs"]).iterdir() if path.is_dir())
    (entry / ".partial-abcdefgh").touch()


BREAKS: dict[str, tuple[Callable[[Site], object], str]] = {
    "section": (lambda site: flip(job(site) / "traceback"), "traceback has another content"),
    "dump": (
        lambda site: flip(job(site) / "vmcore" / "vmcore.kdump"),
        "vmcore.kdump has another content",
    ),
    "report": (lambda site: (job(site) / "report.txt").unlink(), "report.txt is missing"),
    "cut": (lambda site: rewrite(job(site) / "sys", b""), "sys has 0 bytes"),
    "verdict": (lambda site: change_result(site, verdict="failed"), "result.json says failed"),
    "state": (lambda site: rewrite(job(site) / "job.json", b"{"), "no usable job.json"),
    "orphan": (lambda site: (job(site) / "job.json").unlink(), "no job.json"),
    "part": (lambda site: (job(site) / ".result.json.part").touch(0o600), "left behind"),
    "mode": (lambda site: change_mode(job(site) / "log"), "open to others: log"),
    "no row": (forget_row, "is not in the database"),
    "other row": (change_row, "is complete, but failed in the database"),
    "no directory": (lambda site: shutil.rmtree(job(site)), "there is no such job"),
    "package": (
        lambda site: [path.unlink() for path in Path(site.settings["kernels"]).glob("*.rpm")],
        "is catalogued, but No such file",
    ),
    "vmlinux": (swap_vmlinux, "its vmlinux has build-id"),
    "partial": (leave_partial, "was being extracted"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_what_is_broken_is_named(finished: Site, tmp_path: Path, name: str) -> None:
    site = copy(finished, tmp_path / "site")
    spoil, sentence = BREAKS[name]
    spoil(site)
    told = checked(site)
    broken = [line for line in told.lines if line.startswith("broken ")]
    assert any(sentence in line for line in broken), told.lines
    assert told.status == 4


def copy(site: Site, directory: Path) -> Site:
    shutil.copytree(site.directory, directory, copy_function=os.link)
    database = directory / "cas.db"
    database.unlink()
    shutil.copy(site.directory / "cas.db", database)
    copied = at(Site(directory, dict(site.settings)), directory)
    build(Store(database), directory / "kernels", PackageRules(r".*\.rpm"), Silent())
    answer(copied.world(), "cas-admin", "index")
    return copied


def checked(site: Site) -> Answer:
    return answer(site.world(), "cas-admin", "check")


def test_a_site_where_all_is_well(finished: Site) -> None:
    finished.settings["sandbox"] = "none"  # that a machine has none would be told
    done = finished.admin("check")
    assert (done.returncode, done.stdout) == (0, "1 job checked: all is well\n")
    said = json.loads(finished.admin("check", "--json", "--quick").stdout)
    assert said == {"version": 1, "jobs": 1, "flaws": []}


def test_a_job_that_waits_is_told_and_not_broken(site: Site, vmcore: Path) -> None:
    site.settings["debugs"] = str(site.directory / "debugs")
    assert site.cas("-i", "T-1", "-f", vmcore).returncode == 6
    done = site.admin("check")
    assert done.returncode == 0
    assert done.stdout.startswith("open ")
    assert "waits for its kernel; run: cas-admin -b" in done.stdout

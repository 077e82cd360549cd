"""Jobs that wait for their kernel, and what finishes them."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Mailbox

from cas.jobs.lock import lock_job

from installed import FIXTURES, Site, closed_port, needs

VMCORE = FIXTURES / "a" / "vmcore.elf.xz"
RELEASE = "6.1.192-1.cas1.x86_64"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Controller]:
    inbox = Mailbox(tmp_path / "inbox")
    controller = Controller(inbox, hostname="127.0.0.1", port=closed_port())
    controller.start()
    yield controller
    controller.stop()


def rpm(directory: Path, part: str = "a") -> Path:
    (package,) = (FIXTURES / part).glob("*.rpm")
    return Path(shutil.copy(package, directory))


def inbox(site: Site) -> list[str]:
    return [path.read_text() for path in (site.directory / "inbox/new").iterdir()]


def put_beside(site: Site, name: str) -> None:
    """Make the job one of an earlier release, which kept the dump among the results."""
    job = site.job("T-1")
    record = json.loads((job / "job.json").read_text())
    before = record["stored"]["vmcore"]
    (job / before).rename(job / "moved")
    (job / before).parent.rmdir()
    (job / "moved").rename(job / name)
    record["stored"]["vmcore"] = name
    record["files"][name] = record["files"].pop(before)
    (job / "job.json").write_text(json.dumps(record))


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "place"),
    [("vmcore.elf", "."), ("log", "vmcore")],
)
def test_a_job_of_an_earlier_release_goes_on(waiting: Site, name: str, place: str) -> None:
    put_beside(waiting, name)
    waiting.keep_snippets("log", "sys")
    rpm(waiting.directory / "kernels")
    done = waiting.admin("-b")
    assert f"complete {waiting.job('T-1')}\n" in done.stdout, done.stderr
    job = waiting.job("T-1")
    assert Path(waiting.result("T-1")["dump"]["path"]) == job / place / name
    assert (job / "log").read_text().startswith("[    0.000000] Linux version 6.1.192")
    assert waiting.admin("index").returncode == 0
    assert waiting.admin("check").returncode == 0
    shell = subprocess.run(
        [job / "crash"], input="print(prog)\n", capture_output=True, text=True, check=False
    )
    assert shell.returncode == 0, shell.stderr


def test_the_next_build_finishes_a_waiting_job_and_its_mail(
    site: Site, server: Controller, shared: Path, vmcore_b: Path, vmlinux_b: Path
) -> None:
    """And one before, of packages that contradict one another, tells that once."""
    site.settings |= {
        "engine": "drgn",
        "debugs": str(site.directory / "debugs"),
        "smtphost": "127.0.0.1",
        "smtpPort": str(server.port),
    }
    site.keep_snippets("sys")
    done = site.cas("-i", "T-1", "-f", vmcore_b, "-e", "user@example.com")
    assert done.returncode == 6
    assert f"put kernel-debuginfo-{RELEASE}.rpm below `kernels`" in done.stderr
    assert f"kernel-debuginfo-{RELEASE}.rpm" in (site.job("T-1") / "report.txt").read_text()
    (first,) = inbox(site)
    assert "waiting" in first
    before = stamps(site)
    still = site.admin("resume")
    assert (still.returncode, still.stdout) == (6, "1 job still waiting for a kernel\n")
    assert "Linux 6.1" not in still.stderr  # nobody has looked at the dump again
    assert stamps(site) == before
    assert len(inbox(site)) == 1
    rpm(site.directory / "kernels", "b")
    other = site.directory / "kernels" / "vmlinux"
    shutil.copy(vmlinux_b, other)
    with other.open("ab") as file:
        file.write(bytes(4096))
    done = site.admin("-b")
    assert "hold different kernels" in done.stderr
    assert str(other) in done.stderr
    assert "1 job still waiting" in done.stdout
    assert "none of them is used" in done.stderr
    assert "hold different kernels" in site.result("T-1")["reason"]
    # nothing hangs on our words: another release of cas may choose others
    result = site.job("T-1") / "result.json"
    result.write_text(result.read_text().replace("hold different kernels", "disagree"))
    before = stamps(site)
    assert site.admin("resume").returncode == 6
    assert stamps(site) == before
    other.unlink()
    site.settings["debugs"] = str(shared / "debugs")
    done = site.admin("-b")
    assert done.returncode == 0, done.stderr
    assert f"complete {site.job('T-1')}\n" in done.stdout
    assert f"* Going on with T-1/{site.job('T-1').name}\n" in done.stderr
    assert "still waiting" not in done.stdout
    mails = inbox(site)
    assert len(mails) == 3
    assert any("cas_sum_entries" in mail for mail in mails if mail != first)


@pytest.mark.long
def test_a_deb_finishes_a_waiting_job_too(waiting: Site, deb: Path) -> None:
    waiting.keep_snippets("sys")
    shutil.copy(deb, waiting.directory / "kernels")
    done = waiting.admin("-b")
    assert f"complete {waiting.job('T-1')}\n" in done.stdout, done.stderr
    assert waiting.result("T-1")["evidence"] == "build-id"


def stamps(site: Site) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in site.job("T-1").iterdir()}


def test_a_job_with_a_damaged_result_is_begun_again(waiting: Site) -> None:
    (waiting.job("T-1") / "result.json").write_text("{")
    done = waiting.admin("resume")
    assert done.returncode == 6
    assert json.loads((waiting.job("T-1") / "result.json").read_text())["verdict"] == "waiting"


def test_a_job_that_another_run_has_is_left_to_it_and_that_is_said(waiting: Site) -> None:
    job = waiting.job("T-1")
    (job / "result.json").write_text("{")  # so that nobody can tell that its kernel has not come
    with lock_job(job):
        done = waiting.admin("resume")
    assert done.returncode == 6
    told = f"* T-1/{job.name} is left to another run, which is working on it\n"
    assert told in done.stderr
    assert (job / "result.json").read_text() == "{"


def test_an_unsigned_package_is_refused_where_signatures_are_required(waiting: Site) -> None:
    needs("gpg")
    keys = waiting.directory / "keys"
    keys.mkdir()
    rpm(waiting.directory / "kernels")
    waiting.settings |= {"signatures": "require", "keys": str(keys)}
    done = waiting.admin("-b")
    assert f"refused {waiting.job('T-1')}\n" in done.stdout
    assert "`signatures = require`" in done.stderr
    assert "holds no public key" in done.stderr
    assert waiting.result("T-1")["verdict"] == "refused"

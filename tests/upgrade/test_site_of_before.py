"""Everything that the commands of before left behind goes on working; see README.md."""

from __future__ import annotations

import lzma
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message
from moving import replace_in, replace_in_rows, reseal
from person import person

from installed import FIXTURES, Site, closed_port

HERE = Path(__file__).parent
VERDICTS = {
    "T-complete": "complete",
    "T-partial": "partial",
    "T-waiting": "waiting",
    "T-failed": "failed",
    "T-refused": "refused",
}
"""Of the jobs that came to an end then."""
CUT_BYTES = 2_000_000


@pytest.fixture
def before(tmp_path: Path, vmlinux_b: Path) -> Site:
    """The site, at a place of its own."""
    with lzma.open(HERE / "site.tar.xz") as stream, tarfile.open(fileobj=stream) as tar:
        # Python 3.11.2 of Debian 12 has no filters yet; later ones have a default that says no
        how: dict[str, Any] = {"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}
        tar.extractall(tmp_path, **how)  # noqa: S202  our own archive
    site = Site(tmp_path)
    settings = (tmp_path / "cas.conf").read_text().splitlines()
    site.settings = dict(line.split(" = ", 1) for line in settings if " = " in line)
    made_at = str(Path(site.settings["kernels"]).parent)
    site.settings = {
        key: value.replace(made_at, str(tmp_path)) for key, value in site.settings.items()
    }
    times = {path: path.stat().st_mtime for path in site.jobs.glob("*/*")}
    for part in ("cores", "debugs"):
        replace_in(tmp_path / part, made_at, str(tmp_path))
    replace_in_rows(tmp_path / "cas.db", made_at, str(tmp_path))
    put_back(site, vmlinux_b)
    for directory, time in times.items():
        reseal(directory)
        os.utime(directory, (time, time))
    return site


def put_back(site: Site, vmlinux_b: Path) -> None:
    """What was too large for the archive."""
    (package,) = (FIXTURES / "b").glob("*.rpm")
    shutil.copy2(package, site.directory / "kernels")
    (entry,) = (path for path in (site.directory / "debugs").iterdir() if path.is_dir())
    shutil.copyfile(vmlinux_b, entry / "vmlinux")
    dump = (FIXTURES / "b" / "vmcore.kdump").read_bytes()
    (site.directory / "uploads" / "vmcore.kdump").write_bytes(dump)
    (site.job("T-complete") / "vmcore.kdump").write_bytes(dump)
    (site.job("T-partial") / "cut.kdump").write_bytes(dump[:CUT_BYTES])
    unpacked = site.job("T-waiting") / "arm64.elf"
    with lzma.open(FIXTURES / "arm64" / "vmcore.elf.xz") as packed, unpacked.open("wb") as file:
        shutil.copyfileobj(packed, file)
    for path in (*site.jobs.glob("*/*/*.kdump"), unpacked):
        path.chmod(0o600)


def test_a_site_of_before_is_whole_and_indexed(before: Site) -> None:
    done = before.admin("check")
    assert done.returncode == 0, done.stdout + done.stderr
    for ticket in ("T-interrupted", "T-killed"):
        assert f"{before.job(ticket)}: was stopped on its way" in done.stdout
    assert "has a mail that waits" in done.stdout
    (before.directory / "cas.db").unlink()
    assert before.admin("index").stdout == f"{len(VERDICTS)} jobs entered\n"
    assert before.admin("check", "--quick").returncode == 0
    for ticket, verdict in VERDICTS.items():
        result = before.result(ticket)
        assert (result["version"], result["verdict"]) == (1, verdict)


def test_a_site_of_before_is_gone_on_with(before: Site) -> None:
    done = before.cas("debug", "T-complete", "-c", "sys", "--engine", "drgn")
    assert done.returncode == 0, done.stderr
    assert "RELEASE: 6.1.192-1.cas1.x86_64" in done.stdout
    inbox = Controller(Inbox(), hostname="127.0.0.1", port=closed_port())
    inbox.start()
    before.settings["smtpPort"] = str(inbox.port)
    (package,) = (FIXTURES / "arm64").glob("*.rpm")
    shutil.copy2(package, before.directory / "kernels")
    done = before.admin("-b")
    inbox.stop()
    assert done.returncode == 0, done.stderr
    assert [mail["Subject"] for mail in inbox.handler.mails] == ["CAS results for T-complete"]
    for ticket in ("T-waiting", "T-interrupted", "T-killed"):
        assert before.result(ticket)["verdict"] == "complete", before.result(ticket)["reason"]
    done = before.admin("check")
    assert done.returncode == 0, done.stdout


def test_a_site_of_before_is_judged_by_the_rules_of_today(before: Site) -> None:
    was = {ticket: before.result(ticket) for ticket in VERDICTS}
    done = before.admin("reprocess")
    assert done.returncode == 0, done.stderr
    title = "NULL pointer dereference in cas_sum_entries [cas_oops]; signature dd4a9b7a8566dfac →"
    assert f"{before.job('T-waiting')}: title - → {title}" in done.stdout
    assert done.stdout.endswith("5 jobs: 2 changed, 0 unchanged, 3 left as they are\n")
    for ticket, result in was.items():
        now = before.result(ticket)
        # where a record of today has more keys, they have their defaults
        other = {"finding", "signature", "similar", "dump", "sections"}
        assert {key: now[key] for key in result.keys() - other} == {
            key: result[key] for key in result.keys() - other
        }
        assert [one["path"] for one in now["sections"]] == [
            one["path"] for one in result["sections"]
        ]
    complete, waiting = (before.result(ticket)["finding"] for ticket in ("T-complete", "T-waiting"))
    assert (complete["seen"]["same"], waiting["seen"]["same"]["tickets"]["names"]) == (
        None,
        ["T-complete"],
    )
    assert before.admin("check").returncode == 0


@pytest.mark.long
def test_a_site_of_before_is_purged(before: Site) -> None:
    with person(before, "-p", program="cas-admin") as admin:
        admin.wait_for(b"is this what you really want to do?")
        admin.press(b"y\n")
        assert admin.status() == 0
    left = {path.parents[1].name for path in before.jobs.glob("*/*/job.json")}
    assert left == {"T-complete", "T-waiting", "T-interrupted", "T-killed"}
    assert before.admin("check", "--quick").returncode == 0


class Inbox(Message):
    """Keeps what comes."""

    def __init__(self) -> None:
        super().__init__()
        self.mails: list[object] = []

    def handle_message(self, message: object) -> None:
        self.mails.append(message)

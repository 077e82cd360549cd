"""cas -e, and the chores of cas-admin, through the installed commands."""

from __future__ import annotations

import lzma
import os
import pty
import re
import select
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Mailbox
from made_sites import SAID

from installed import COMMANDS, Site, closed_port


class Inbox(Mailbox):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.directory = directory

    def mails(self) -> list[EmailMessage]:
        files = sorted((self.directory / "new").iterdir())
        return [message_from_bytes(file.read_bytes(), policy=default) for file in files]  # type: ignore[misc]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Controller]:
    controller = Controller(Inbox(tmp_path / "inbox"), hostname="127.0.0.1", port=closed_port())
    controller.start()
    yield controller
    controller.stop()


@pytest.fixture
def mailing(site_b: Site) -> Site:
    site_b.settings |= {
        "engine": "drgn",
        "smtphost": "127.0.0.1",
        "mailFrom": "Core Analysis <cas@example.com>",
        "mailSections": "traceback sys",
    }
    site_b.keep_snippets("traceback", "sys")
    return site_b


def test_the_mail_has_the_manuals_form_and_is_sent_later_where_its_server_is_down(
    mailing: Site, vmcore_b: Path, server: Controller
) -> None:
    mailing.settings |= {"smtpPort": str(closed_port()), "mailReport": "Yes"}
    done = mailing.cas("-i", "12345", "-f", vmcore_b, "-e", "user@cas-server.com")
    assert done.returncode == 0
    assert "Connection refused" in done.stderr
    mailing.settings["smtpPort"] = str(server.port)
    assert mailing.admin("resume").returncode == 0
    assert mailing.admin("resume").returncode == 0
    (mail,) = server.handler.mails()
    body = mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    title = "NULL pointer dereference in cas_balance [cas_oops]"
    assert mail["Subject"] == f"CAS results for 12345: {title}"
    assert mail["From"] == "Core Analysis <cas@example.com>"
    assert f"\nLocation: {mailing.job('12345')}\n" in body
    assert "\nServer: " in body
    assert "\nOutput data:\n" in body
    assert body.index("NULL pointer") < body.index("Location:")
    assert "cas_audit_work" in body.partition("Output data:")[2]
    assert body.partition("Output data:\n\n")[2].startswith("Backtraces of the panic task")
    assert mail.get_body(("html",)) is not None
    (attached,) = mail.iter_attachments()
    assert attached.get_filename() == "report-12345.html"
    assert attached.get_content() == (mailing.job("12345") / "report.html").read_text()


@pytest.mark.long
def test_a_silent_server_costs_one_time_for_all_mails_and_is_left_alone_then(
    site: Site, vmcore: Path, server: Controller
) -> None:
    port = str(server.port)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        site.settings |= {
            "debugs": str(site.directory / "debugs"),
            "smtphost": "127.0.0.1",
            "smtpPort": str(silent.getsockname()[1]),
            "smtpTimeout": "1",
            "mailSections": "none",
        }
        first = site.cas("-i", "T-1", "-f", vmcore, "-e", "user@cas.example.com")
        assert first.returncode == 6
        assert "1 s (smtpTimeout) were not enough, it was at connecting" in first.stderr
        for ticket in ("T-2", "T-3", "T-4"):
            shutil.copytree(site.jobs / "T-1", site.jobs / ticket)
        then = site.cas("-i", "T-5", "-f", vmcore, "-e", "user@cas.example.com")
        assert "is tried again at" in then.stderr
        assert "5 mails waiting; now: cas-admin resume" in then.stderr
        asked = site.admin("resume")
        assert asked.stderr.count("smtpTimeout") == 1
        assert "4 more mails waiting" in asked.stderr
        silent.settimeout(5)
        for _ in range(2):  # of the first job, and of the administrator
            silent.accept()[0].close()
        silent.settimeout(0.1)
        with pytest.raises(TimeoutError):
            silent.accept()
    site.settings["smtpPort"] = port  # another server is not left alone
    done = site.admin("-b")
    assert done.stderr.count("mailed") == 5
    assert len(server.handler.mails()) == 5


@pytest.mark.parametrize("address", ["nobody", "a@b\nBcc: c@d", "a b@c"])
def test_an_address_that_is_none_is_refused_before_the_work(
    mailing: Site, vmcore: Path, address: str
) -> None:
    done = mailing.cas("-i", "T-1", "-f", vmcore, "-e", address)
    assert done.returncode == 2
    assert "is no e-mail address" in done.stderr
    assert not mailing.jobs.exists()


def test_an_address_without_a_mail_server_is_refused_before_the_work(
    site_a: Site, vmcore: Path
) -> None:
    done = site_a.cas("-i", "T-1", "-f", vmcore, "-e", "user@example.com")
    assert done.returncode == 2
    assert "`smtphost`" in done.stderr
    assert not site_a.jobs.exists()


def test_progress_bars_appear_on_a_terminal_only(
    site_b: Site, vmcore_b: Path, finished: Site, tmp_path: Path
) -> None:
    site_b.settings |= {"engine": "drgn", "debugs": str(tmp_path / "debugs")}
    site_b.keep_snippets("sys", "log")
    dump = tmp_path / "vmcore.xz"
    dump.write_bytes(lzma.compress(vmcore_b.read_bytes(), preset=0))
    said = on_a_terminal(site_b, ["cas", "-i", "T-1", "-f", str(dump)])
    for step in ("Unpacking vmcore.xz", "Extracting", "Running"):
        assert any("━" in line for line in said.splitlines() if step in line), step
    steps = ("Linux 6.1", "Kernel found by", "Extracting vmlinux", "Reading the dump")
    assert sorted(steps, key=said.index) == [*steps]
    assert [said.count(step) for step in steps[:2]] == [1, 1]
    bars = [line for line in re.split(r"[\r\n]", said) if "Extracting vmlinux" in line]
    ends = re.findall(r"([\d.]+) MiB/([\d.]+) MiB", bars[-1])
    assert all(done == total for done, total in ends), "a bar that ended seems to lack something"
    plain = (finished.directory / SAID).read_text()
    assert "Running" in plain
    assert "━" not in plain
    assert "\x1b" not in plain


def on_a_terminal(site: Site, argv: list[str], answer: str = "") -> str:
    """Run a command on a terminal of its own; what appeared there."""
    site.configure()
    leader, follower = pty.openpty()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(site.directory),
        "CAS_CONF": str(site.directory / "cas.conf"),
        "TERM": "xterm",
        "COLUMNS": "100",
    }
    process = subprocess.Popen(
        [COMMANDS / argv[0], *argv[1:]],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=environment,
        start_new_session=True,
    )
    os.close(follower)
    os.write(leader, answer.encode())
    said = read_terminal(leader)
    assert process.wait(60) is not None
    return said


def read_terminal(leader: int) -> str:
    said = b""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and select.select([leader], [], [], 60)[0]:
        try:
            data = os.read(leader, 65536)
        except OSError:  # the last follower is closed
            break
        said += data
    os.close(leader)
    return said.decode("utf-8", "replace")

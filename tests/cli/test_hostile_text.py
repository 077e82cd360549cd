"""No text of a dump, a package or a debugger reaches a reader as anything but text.

The real dump has escape sequences written over the names in its memory; a small one has them in
VMCOREINFO, banner and kernel log; a debugger of our own prints them.
"""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import struct
import subprocess
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope
from dump.writer import KERNEL_MAP, PAGE, Elf, info_note, vmcoreinfo
from fake_crash import loop

from cas.commands.console import Console
from cas.errors import CasError

from installed import FIXTURES, Site, closed_port, few_of

UNFIT = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
NASTY = (
    b"\x1b]0;owned\x07\x1b[2J\x1b[31m\r\x08\x7f\xc2\x9b31m\x9b1m"
    b"\xe2\x80\xae\xe2\x81\xa6\xe2\x80\x8f\xd8\x9c\xe2\x80\x8b\xe2\x80\xa8\xef\xbb\xbf\xed\xa0\x80"
    b"[bold red]</pre><script>alert(1)</script>&\xff"
)
"""Titles, screens and colours; C0, DEL and C1; bidi, zero-width, separators, BOM, a surrogate;
markup of rich and of HTML; a byte that is no UTF-8."""
RELEASE = "6.1.0-\x1b]0;owned\x07\x7f\u202e[bold]"
OVERWRITTEN = {
    b"kworker/1:1": b"\x1b]0;x\x07\xe2\x80\xae[b",
    b"NULL pointer dereference": b"\x1b[31m\x1b]0;o\x07\xe2\x80\xae\xc2\x9b\x7f[bold]a",
    b"cas_stuck": b"c\x1b[1m\x7f\xc2\x9b ",
    b"(none)": b"\x1b[7m\xc2\x9b"[:6],
    b"(cas@fixtures)": b"(c\x1b]0;us\x07\xe2\x80\xae\xff)",
}
"""Name of a task, line of the log, kernel module, host, builder in the banner."""
MAILED = ("traceback", "sys", "log", "modules", "ps", "memory")
PRINTED = b"crash> " + NASTY + b"\nbt: invalid \x1b[31m\n" + b"x" * 300_000 + b"\x1b[m\n"


def fit(text: str) -> str:
    """The text, which has nothing in it that a reader would obey."""
    found = UNFIT.search(text)
    assert found is None, repr(text[max(0, found.start() - 60) : found.end() + 20])
    return text


def told(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stderr
    return fit(done.stdout) + fit(done.stderr)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A dump of a few KB with hostile words wherever it has any."""
    path = tmp_path / "vm\x1b]0;core\u202e[bold]"
    path.write_bytes(hostile_dump())
    return path


@pytest.fixture
def overwritten(tmp_path: Path, vmcore: Path) -> Path:
    """The shipped dump with names overwritten in its memory."""
    data = vmcore.read_bytes()
    for name, nasty in OVERWRITTEN.items():
        assert len(name) == len(nasty), name
        assert name in data
        data = data.replace(name, nasty)
    path = tmp_path / "[bold]vm\x1b[31mcore\n! forged"
    path.write_bytes(data)
    return path


def hostile_dump() -> bytes:
    """An x86_64 kernel whose release, banner and printk records are hostile."""
    base, log_at, log_size = 0x100000, PAGE, 2 * PAGE
    image = bytearray(4 * PAGE)
    lines = (b"BUG: unable to handle " + NASTY, b"two\nlines \x1b[31m", NASTY)
    log = b"".join(_record(number, line) for number, line in enumerate(lines))
    image[log_at : log_at + len(log)] = log
    struct.pack_into("<QIII", image, 512, KERNEL_MAP + base + log_at, log_size, 0, len(log))
    banner = b"Linux version " + RELEASE.encode() + b" (me@" + NASTY + b") #1 SMP\n\0"
    image[1024 : 1024 + len(banner)] = banner
    virtual = KERNEL_MAP + base
    info = vmcoreinfo(
        OSRELEASE=RELEASE,
        NUMBER__phys_base="0",
        SYMBOL___stext=f"{virtual:x}",
        SYMBOL__swapper_pg_dir=f"{virtual + 3 * PAGE:x}",
        SYMBOL__log_buf=f"{virtual + 512:x}",
        SYMBOL__log_buf_len=f"{virtual + 520:x}",
        SYMBOL__log_first_idx=f"{virtual + 524:x}",
        SYMBOL__log_next_idx=f"{virtual + 528:x}",
        SIZE__printk_log="16",
        **{"OFFSET__printk_log.ts_nsec": "0", "OFFSET__printk_log.len": "8"},
        **{"OFFSET__printk_log.text_len": "10", "\x1b[31mKEY\x7f": "\u2066value"},
    )
    return Elf({base: bytes(image)}, [info_note(info)]).build()


def _record(number: int, text: bytes) -> bytes:
    size = -(-(16 + len(text)) // 8) * 8
    head = struct.pack("<QHHHBB", number * 10**9, size, len(text), 0, 0, 0)
    return (head + text).ljust(size, b"\0")


class Inbox:
    """Keeps the mails that an SMTP server takes."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.raw: list[bytes] = []

    async def handle_DATA(self, server: object, session: object, envelope: Envelope) -> str:
        """Called by aiosmtpd for every mail; an answer may be hostile as well."""
        self.raw.append(bytes(envelope.content or b""))
        self.mails.append(message_from_bytes(self.raw[-1], policy=default))  # type: ignore[arg-type]
        return "250 OK"


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def mailing(site_a: Site, inbox: Inbox) -> Iterator[Site]:
    """A site that mails every section of a job."""
    controller = Controller(inbox, hostname="127.0.0.1", port=closed_port())
    controller.start()
    site_a.keep_snippets(*MAILED)
    site_a.settings |= {
        "smtphost": "127.0.0.1",
        "smtpPort": str(controller.port),
        "mailSections": " ".join(MAILED),
        "debugLevel": "DEBUG",
    }
    yield site_a
    controller.stop()


@pytest.fixture
def fake_crash(mailing: Site, tmp_path: Path) -> Site:
    """A site whose crash prints hostile text, and fails in hostile words."""
    program = tmp_path / "bin" / "crash"
    program.parent.mkdir()
    octal = "".join(f"\\{byte:03o}" for byte in PRINTED.replace(b"x" * 300_000, b"@"))
    before, after = octal.split(f"\\{ord('@'):03o}")
    program.write_text(
        "#!/bin/sh\n"
        "if [ \"$1\" = --version ]; then printf 'crash 8.0.2\\033[31m\\n'; exit; fi\n"
        "printf 'WARNING: \\033]0;owned\\007\\n'\n"
        + loop(f"printf '{before}'; printf %0300000d 0 | tr 0 x; printf '{after}'")
    )
    program.chmod(0o755)
    mailing.environment["PATH"] = f"{program.parent}:{os.environ['PATH']}"
    mailing.settings["engine"] = "crash"
    return mailing


def check_files(job: Path) -> None:
    """Every file that people read is fit for that, and JSON is ASCII."""
    for name in (f"{job.parent.name}.log", "report.txt", "report.html"):
        fit((job / name).read_bytes().decode())
    page = (job / "report.html").read_text()
    assert "<script" not in page
    result = (job / "result.json").read_bytes()
    assert result.isascii()
    fit(result.decode())
    json.loads(result)


def check_mail(inbox: Inbox) -> None:
    (mail,), (raw,) = inbox.mails, inbox.raw
    assert raw.isascii()
    assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n", raw)
    for value in mail.values():
        fit(str(value))
    for kind in ("plain", "html"):
        part = mail.get_body((kind,))
        assert part is not None
        fit(part.get_content().replace("\r\n", "\n"))


def test_identify_prints_text(site: Site, small: Path) -> None:
    done = site.cas("identify", small)
    text = told(done)
    assert "\\x1b]0;owned\\x07" in text
    assert all(re.match(r"[a-z_]+ +\S", line) for line in done.stdout.splitlines())


def test_identify_prints_json_that_gives_back_the_exact_text(site: Site, small: Path) -> None:
    done = site.cas("identify", "--json", small)
    told(done)
    assert done.stdout.isascii()
    facts = json.loads(done.stdout)
    assert facts["path"] == str(small)
    assert "\x1b]0;owned\x07" in facts["dmesg"]
    assert "\x7f" in facts["dmesg"]


@pytest.mark.parametrize("encoding", few_of(("ascii", "latin-1", "utf-8"), {"ascii"}))
def test_no_encoding_of_the_terminal_fails_or_lets_anything_through(
    site: Site, small: Path, encoding: str
) -> None:
    site.environment["PYTHONIOENCODING"] = encoding
    for words in (["identify", small], ["identify", "--json", small]):
        done = site.cas(*words)
        assert done.returncode in (0, 3), done.stderr
        assert "internal error" not in told(done)


def test_complaints_about_the_command_line_are_text(site: Site, small: Path) -> None:
    for words in (["-i", "T-1", "-f", small, small], ["identify", small, small], [small]):
        assert told(site.cas(*words)).startswith("! ")
        assert told(site.admin(*words)).startswith("! ")


def test_errors_are_text_with_and_without_their_traceback(site: Site, small: Path) -> None:
    small.write_bytes(b"text " + NASTY)
    done = site.cas("identify", "--debug", small)
    assert done.returncode == 4
    assert "Traceback" in fit(done.stderr)
    text = told(site.cas("-i", "T-1", "-f", small))
    assert "\\x1b]0;core\\u202e[bold]" in text


def test_a_job_without_a_kernel_reports_text(mailing: Site, inbox: Inbox, small: Path) -> None:
    done = mailing.cas("-i", "T-1", "-f", small, "-e", "user@example.com")
    assert done.returncode == 6, done.stderr
    assert "\\x1b]0;owned\\x07" in told(done)
    check_files(mailing.job("T-1"))
    check_mail(inbox)
    result = mailing.result("T-1")
    assert "\x1b]0;owned\x07" in result["dump"]["panic_message"]


def test_a_job_with_drgn_reports_text(mailing: Site, inbox: Inbox, overwritten: Path) -> None:
    mailing.settings["engine"] = "drgn"
    done = mailing.cas("-i", "T-1", "-f", overwritten, "-e", "user@example.com", "--debug")
    assert done.returncode in (0, 3), done.stderr
    said = told(done)
    assert "\\x1b]0;x\\x07\\u202e[b, pid 27" in said
    assert "\n! forged" not in said
    job = mailing.job("T-1")
    check_files(job)
    check_mail(inbox)
    assert "\\x1b]0;o\\x07" in (job / "report.txt").read_text()
    assert not re.search(r"^! forged", (job / "T-1.log").read_text(), re.MULTILINE)


def test_sections_of_a_hostile_debugger_are_bit_exact_and_their_reports_text(
    fake_crash: Site, inbox: Inbox, vmcore: Path
) -> None:
    done = fake_crash.cas("-i", "T-1", "-f", vmcore, "-e", "user@example.com")
    assert done.returncode in (0, 3), done.stderr
    assert len(told(done)) < 1 << 20
    job = fake_crash.job("T-1")
    check_files(job)
    check_mail(inbox)
    section = (job / "traceback").read_bytes()
    assert section
    assert section == PRINTED * (len(section) // len(PRINTED))
    assert "\\x1b]0;owned\\x07" in (job / "report.txt").read_text()
    assert (job / "report.html").stat().st_size < 16 << 20


def test_the_chores_of_the_administrator_are_told_as_text(
    mailing: Site, small: Path, tmp_path: Path
) -> None:
    assert mailing.cas("-i", "T-1", "-f", small).returncode == 6
    kernels = tmp_path / "hostile kernels"
    kernels.mkdir()
    (kernels / "kernel-debuginfo-6\x1b]0;x\x07\u202e[bold]\x7f.rpm").write_bytes(b"no " + NASTY)
    (package,) = (FIXTURES / "a").glob("*.rpm")
    shutil.copy(package, kernels / "kernel-debuginfo-6\x1b[31m.rpm")
    mailing.settings["kernels"] = str(kernels)
    said = ""
    for words in (["-b"], ["resume"], ["index"], ["-p", "-n", "-d", "0"], ["-p", "-d", "0"]):
        said += told(mailing.admin(*words))
    assert "\\x1b]0;x\\x07\\u202e[bold]\\x7f" in said
    (mailing.job("T-1") / "result.json").write_bytes(b"{" + NASTY)
    told(mailing.admin("index"))
    told(mailing.admin("-p", "-d", "0", "--yes"))


def test_progress_on_a_terminal_draws_no_text_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    hostile = "[bold]a\x1b]0;o\x07\u202e\n! forged"
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as terminal:
        console = Console(terminal, {"TERM": "xterm"})
        with console.bar(hostile, 10) as advance:
            console.say(hostile)
            advance(5)
        console.fail(CasError(hostile, hint=hostile))
        terminal.write("the end")
        terminal.flush()
        said = ""
        while "the end" not in said:
            said += os.read(leader, 1 << 16).decode("utf-8", "ignore")
    os.close(leader)
    assert "\x1b[" in said  # it does draw
    assert not re.search("\x1b\\]|\x07|\u202e|^! forged", said, re.MULTILINE)
    shown = "[bold]a\\x1b]0;o\\x07\\u202e ! forged"
    assert said.count(shown) >= 4
    assert re.search(rf"\x1b\[36m\*\x1b\[0m {re.escape(shown)}\r?\n", said)  # above the bar

"""The mail with the results, through a real SMTP server on this machine."""

from __future__ import annotations

import datetime as dt
import email
import ipaddress
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from filelock import FileLock
from sample_report import STARTED, known_report, sample_report

from cas.choices import Engine, SectionStatus, Verdict
from cas.errors import ConfigError, UsageError
from cas.jobs.work_directory import WorkDirectory
from cas.model.report import Report
from cas.model.snippet import Section
from cas.report.address import check_address
from cas.report.html import render_html
from cas.report.mail import compose
from cas.report.mail_files import waiting_mails
from cas.report.outbox import deliver, queue
from cas.report.smtp import MailRefused, MailServerDown, send_mail
from cas.settings.rules import Mail

from installed import closed_port

TO = "user@cas.example.com"
SECTIONS = ("traceback", "log")


@pytest.fixture
def report(tmp_path: Path) -> Report:
    return sample_report(tmp_path)


@pytest.fixture
def message(report: Report) -> EmailMessage:
    return compose(report, TO, Mail(sections=SECTIONS), STARTED)


class Inbox:
    """What an SMTP server took, and what it is told to answer."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []
        self.answer = "250 OK"
        self.logins: list[bytes] = []
        self.encrypted: list[bool] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        """Called by aiosmtpd for every mail."""
        if self.answer.startswith("250"):
            self.envelopes.append(envelope)
            self.encrypted.append(server.transport.get_extra_info("sslcontext") is not None)
        return self.answer

    def login(self, server: Any, session: Any, envelope: Any, how: str, who: Any) -> AuthResult:
        """Called by aiosmtpd for every login; the password is ``secret``."""
        assert isinstance(who, LoginPassword)
        self.logins.append(who.login)
        return AuthResult(success=who.password == b"secret", handled=False)


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def smtp(inbox: Inbox) -> Iterator[Callable[..., int]]:
    """Start an SMTP server on a free port of this machine: ``smtp(**options)`` gives the port."""
    running: list[Controller] = []

    def start(**options: Any) -> int:
        controller = Controller(inbox, hostname="127.0.0.1", port=closed_port(), **options)
        controller.start()
        running.append(controller)
        return int(controller.port)

    yield start
    for controller in running:
        controller.stop()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for ``localhost``, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    """What the server needs to speak TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine trusts the server's certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text("secret\nand a note\n")
    return path


def parsed(content: bytes) -> EmailMessage:
    return email.message_from_bytes(content, _class=EmailMessage, policy=SMTP)


def text_of(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    text: str = part.get_content()
    return text


def test_the_headers_are_those_of_the_manual(message: EmailMessage) -> None:
    title = "NULL pointer dereference in balance [demo]"
    assert message["Subject"] == f"CAS results for T-1: {title}"
    assert message["From"] == "cas@cas.example.com"
    assert message["To"] == TO
    assert message["Date"] == "Sat, 21 Nov 2026 08:41:20 +0000"
    assert message["Message-ID"].endswith("@cas.example.com>")


def test_ticket_title_and_verdict_come_first_then_the_lines_of_the_manual(
    message: EmailMessage, report: Report
) -> None:
    text = text_of(message, "plain")
    head, _, rest = text.partition(f"\nLocation: {report.directory}\n")
    begin = "Ticket      T-1\nTitle       NULL pointer dereference in balance [demo]\nVerdict "
    assert head.startswith(f"{begin}    complete\n")
    assert head.index("Verdict") < head.index("Where") < head.index("Kernel")
    assert max(map(len, head.splitlines())) <= 80
    begin = "Server: cas.example.com\n\nOutput data:\n\nBacktraces (ok, crash, 0.3 s)\n---"
    assert rest.startswith(begin)


def test_the_first_line_of_the_subject_says_whose_results_they_are(report: Report) -> None:
    for length in range(10, 200, 7):
        title = ("word " * 60)[:length].strip()
        assert report.finding
        named = replace(report, finding=replace(report.finding, title=title))
        raw = compose(named, TO, Mail(), STARTED).as_bytes()
        assert b"\r\nSubject: CAS results for T-1: wo" in b"\r\n" + raw
        assert title[:150] in parsed(raw)["Subject"]


def test_the_title_in_the_subject_has_a_bound(report: Report) -> None:
    assert report.finding
    long = replace(report, finding=replace(report.finding, title="word " * 9000))
    assert len(compose(long, TO, Mail(), STARTED)["Subject"]) < 200
    untitled = replace(report, finding=None, verdict=Verdict.FAILED, reason="not a dump")
    assert compose(untitled, TO, Mail(), STARTED)["Subject"] == "CAS results for T-1: not a dump"


def test_the_report_is_attached_where_the_configuration_allows_it(report: Report) -> None:
    def names(settings: Mail) -> list[str | None]:
        mail = compose(report, TO, settings, STARTED)
        return [part.get_filename() for part in mail.iter_attachments()]

    assert names(Mail()) == []
    allowed = Mail(attaches_report=True)
    assert names(allowed) == ["report-T-1.html"]
    (part,) = compose(report, TO, allowed, STARTED).iter_attachments()
    assert part.get_content_type() == "text/html"
    assert part.get_content() == render_html(report)
    small = Mail(attaches_report=True, attachment_bytes=1000)
    assert names(small) == []
    for kind in ("plain", "html"):
        told = text_of(compose(report, TO, small, STARTED), kind)
        assert "report.html is not attached: it has" in told
        assert "the limit is 1000 bytes" in told


def test_a_known_issue_comes_before_the_verdict(tmp_path: Path) -> None:
    mail = compose(known_report(tmp_path, 1), TO, Mail(sections=SECTIONS), STARTED)
    text, page = (part.get_content() for part in mail.iter_parts())
    told = "issue 1: Update it; fixed in 6.1.91; https://example.com/?a=1&b=2"
    assert f"Known issue {told} Verdict" in " ".join(text.split())
    link = "https://example.com/?a=1&amp;b=2"
    assert f'<a href="{link}" rel="noopener noreferrer">{link}</a>' in page
    assert page.index("Known issue: issue 1") < page.index("in sum_entries [demo]")


def test_only_the_sections_that_are_allowed_leave_the_machine(message: EmailMessage) -> None:
    for kind in ("plain", "html"):
        text = text_of(message, kind)
        assert "kworker/1:1" in text
        assert "line 500" in text
        assert "task 1" not in text


def test_the_deep_trace_leaves_the_machine_only_where_it_is_allowed(
    report: Report, tmp_path: Path
) -> None:
    quoted = tmp_path / "glide.txt"
    quoted.write_text('char *secret = 0x1000  "a customer\'s own"\n')
    traced = Section("glide", "Deep trace", SectionStatus.OK, Engine.DRGN, quoted, size_bytes=1)
    report = replace(report, glide=traced)
    assert "customer&#39;s own" in render_html(report)
    for names in ((*SECTIONS,), (*SECTIONS, "glide")):
        settings = Mail(sections=names, attaches_report=True)
        parts = compose(report, TO, settings, STARTED).walk()
        texts = [part.get_content() for part in parts if part.get_content_maintype() == "text"]
        allowed = "glide" in names
        assert ["customer" in text and "own" in text for text in texts] == [allowed] * 3


def test_long_sections_are_cut(message: EmailMessage) -> None:
    assert "… 300 earlier lines in log" in text_of(message, "plain")


def test_a_mail_is_small_whatever_the_sections_hold(report: Report) -> None:
    for section in report.sections:
        section.path.write_text(("é" * 1990 + "\n") * 1000)
    mail = compose(report, TO, Mail(sections=("traceback", "log", "ps")), STARTED)
    assert len(mail.as_bytes()) < 4 << 20


def test_the_html_says_what_the_text_says(message: EmailMessage, report: Report) -> None:
    text = text_of(message, "html")
    assert f"Location: {report.directory}<br>" in text
    for told in ("CAS report for T-1", ">complete</strong>", "in balance [demo]</h1>"):
        assert told in text
    assert "in sum_entries [demo]" in text
    assert "<script" not in text


def test_every_line_is_ascii_and_of_legal_length(report: Report) -> None:
    report.sections[0].path.write_bytes(b"\x1b[31m \xff \xc3\xbc " + b"x" * 5000)
    raw = compose(report, TO, Mail(sections=SECTIONS), STARTED).as_bytes()
    assert raw.isascii()
    assert b"\x1b" not in raw
    assert max(map(len, raw.split(b"\r\n"))) <= 998


def test_control_characters_are_escaped(report: Report) -> None:
    report.sections[0].path.write_bytes(b"\x1b]0;owned\x07\n<b>bold</b>\n")
    message = compose(report, TO, Mail(sections=SECTIONS), STARTED)
    assert "\\x1b]0;owned\\x07" in text_of(message, "plain")
    assert "&lt;b&gt;bold" in text_of(message, "html")


def test_no_text_of_a_dump_adds_a_header_or_leaves_its_place(report: Report) -> None:
    nasty = "\ud800\udcff\x1b[31m\u202e\r\n.\r\nBcc: c@d\n\nbody\x9b"
    hostile = replace(
        report, verdict=Verdict.PARTIAL, reason=nasty, server=nasty, recovered=(nasty,)
    )
    hostile = replace(hostile, customer_note=f"{nasty}\n\n{nasty}", hint=nasty, ticket=nasty)
    message = parsed(compose(hostile, TO, Mail(sections=SECTIONS), STARTED).as_bytes())
    plain = parsed(compose(report, TO, Mail(), STARTED).as_bytes())
    assert message.keys() == plain.keys()
    assert message["From"] == "cas@localhost"
    for text in (message["Subject"], text_of(message, "plain"), text_of(message, "html")):
        assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202e\ud800-\udfff]", text)
        assert not re.search(r"\r(?!\n)|^Bcc|^\.\r?$", text, re.MULTILINE)


def test_the_customers_sentences_are_in_the_mail(report: Report) -> None:
    note = "Thank you.\n\nPlease send <it> again."
    message = compose(replace(report, customer_note=note), TO, Mail(), STARTED)
    text = text_of(message, "plain")
    assert text.index("Verdict") < text.index("To the customer\n---") < text.index("Location:")
    assert "Please send <it> again." in text
    assert "Please send &lt;it&gt; again." in text_of(message, "html")


def test_the_same_report_gives_the_same_message_id(report: Report, message: EmailMessage) -> None:
    later = compose(report, TO, Mail(), STARTED + dt.timedelta(hours=1))
    other = compose(replace(report, verdict=Verdict.PARTIAL), TO, Mail(), STARTED)
    assert later["Message-ID"] == message["Message-ID"] != other["Message-ID"]


@pytest.mark.parametrize(
    "address", ["user@host", "first.last+tag@sub.example.com", "a@1.example", "o'neil@example.com"]
)
def test_plain_addresses_are_taken(address: str) -> None:
    assert check_address(address) == address


@pytest.mark.parametrize(
    "address",
    [
        *("", "user", "@host", "user@", "a@b@c", "a b@host", "a..b@host", ".a@host", "a@-host"),
        *("a@host.", "a@host\nBcc: x@y", "a@host\r\n", "ä@host", "a@b,c@d", "a@b c", "<a@b>"),
        *("Name <a@b>", "a@[127.0.0.1]", "a\x00@b", "a" * 65 + "@b", "a@" + "b." * 130 + "c"),
    ],
)
def test_anything_else_is_no_address(address: str) -> None:
    with pytest.raises(UsageError, match="is no e-mail address"):
        check_address(address)


def test_an_address_with_a_header_in_it_is_refused(report: Report) -> None:
    with pytest.raises(UsageError):
        compose(report, "a@b\nBcc: c@d", Mail(), STARTED)


@pytest.mark.parametrize("sender", ["nobody", "a@b\nBcc: c@d", "CAS <a@b@c>", "a@b, c@d"])
def test_a_sender_that_is_no_address_is_an_error_of_the_configuration(
    report: Report, sender: str
) -> None:
    with pytest.raises(ConfigError, match="mailFrom"):
        compose(report, TO, Mail(sender=sender), STARTED)


def test_a_sender_can_have_a_name(report: Report) -> None:
    message = compose(report, TO, Mail(sender="Core Analysis <cas@site.example>"), STARTED)
    assert message["From"] == "Core Analysis <cas@site.example>"


def test_a_mail_arrives(message: EmailMessage, inbox: Inbox, smtp: Callable[..., int]) -> None:
    send_mail(message, Mail("127.0.0.1", smtp()))
    (envelope,) = inbox.envelopes
    assert envelope.rcpt_tos == [TO]
    assert envelope.mail_from == "cas@cas.example.com"
    assert parsed(bytes(envelope.content or b""))["Subject"].startswith("CAS results for T-1: ")


@pytest.mark.usefixtures("trusted")
def test_starttls_encrypts_and_logs_in(
    message: EmailMessage,
    inbox: Inbox,
    smtp: Callable[..., int],
    tls: ssl.SSLContext,
    password_file: Path,
) -> None:
    port = smtp(
        tls_context=tls, require_starttls=True, auth_required=True, authenticator=inbox.login
    )
    send_mail(message, Mail("localhost", port, "starttls", "cas", password_file))
    assert inbox.encrypted == [True]
    assert inbox.logins == [b"cas"]


@pytest.mark.usefixtures("trusted")
def test_tls_encrypts_from_the_first_byte(
    message: EmailMessage, inbox: Inbox, smtp: Callable[..., int], tls: ssl.SSLContext
) -> None:
    send_mail(message, Mail("localhost", smtp(ssl_context=tls), "tls"))
    assert inbox.encrypted == [True]


def test_a_certificate_that_nobody_vouches_for_is_refused(
    message: EmailMessage, inbox: Inbox, smtp: Callable[..., int], tls: ssl.SSLContext
) -> None:
    port = smtp(tls_context=tls)
    with pytest.raises(ConfigError, match=f"localhost port {port}: its certificate is not trusted"):
        send_mail(message, Mail("localhost", port, "starttls"))
    assert not inbox.envelopes


def test_a_server_without_starttls_gets_no_mail(
    message: EmailMessage, inbox: Inbox, smtp: Callable[..., int]
) -> None:
    with pytest.raises(ConfigError, match="STARTTLS"):
        send_mail(message, Mail("127.0.0.1", smtp(), "starttls"))
    assert not inbox.envelopes


def test_a_password_never_travels_in_the_clear(
    message: EmailMessage, inbox: Inbox, smtp: Callable[..., int], password_file: Path
) -> None:
    with pytest.raises(ConfigError, match="in the clear"):
        send_mail(message, Mail("127.0.0.1", smtp(), "none", "cas", password_file))


@pytest.mark.usefixtures("trusted")
def test_a_wrong_password_is_an_error_of_the_configuration(
    message: EmailMessage,
    inbox: Inbox,
    smtp: Callable[..., int],
    tls: ssl.SSLContext,
    password_file: Path,
) -> None:
    password_file.write_text("wrong\n")
    port = smtp(tls_context=tls, authenticator=inbox.login)
    queue(message, password_file.parent)
    with pytest.raises(ConfigError, match="535") as caught:
        deliver(password_file.parent, Mail("localhost", port, "starttls", "cas", password_file))
    assert "smtpPasswordFile" in caught.value.hint
    assert (password_file.parent / "mail.eml").exists()


@pytest.mark.usefixtures("trusted")
def test_a_server_that_hangs_up_at_the_login_is_said_as_that(
    message: EmailMessage, tls: ssl.SSLContext, password_file: Path
) -> None:
    def serve() -> None:
        with tls.wrap_socket(listening.accept()[0], server_side=True) as connection:
            connection.sendall(b"220 hello\r\n")
            connection.recv(4096)
            connection.sendall(b"250-hello\r\n250 AUTH PLAIN\r\n")
            connection.recv(4096)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, daemon=True).start()
        port = listening.getsockname()[1]
        with pytest.raises(MailServerDown, match="closed the connection at the login") as caught:
            send_mail(message, Mail("localhost", port, "tls", "cas", password_file))
    assert "smtpUser" in caught.value.hint


def test_sections_come_in_the_order_of_the_configuration(report: Report) -> None:
    for names in (("traceback", "log"), ("log", "traceback")):
        text = text_of(compose(report, TO, Mail(sections=names), STARTED), "plain")
        begun = text.partition("Output data:\n\n")[2]
        assert begun.startswith("Backtraces (") is (names[0] == "traceback")


def test_a_password_file_that_is_missing_is_named(message: EmailMessage, tmp_path: Path) -> None:
    settings = Mail("127.0.0.1", 25, "starttls", "cas", tmp_path / "none")
    with pytest.raises(ConfigError, match=r"smtpPasswordFile .*/none: No such file"):
        send_mail(message, settings)


def test_without_a_server_in_the_configuration_nothing_is_sent(message: EmailMessage) -> None:
    with pytest.raises(ConfigError, match="smtphost"):
        send_mail(message, Mail())


def test_a_server_that_is_down_is_named_with_port_and_reason(message: EmailMessage) -> None:
    port = closed_port()
    with pytest.raises(MailServerDown, match=f"127.0.0.1 port {port}: Connection refused") as down:
        send_mail(message, Mail("127.0.0.1", port))
    assert down.value.exit_code == 75


def test_a_name_that_does_not_exist_is_a_server_that_is_down(message: EmailMessage) -> None:
    with pytest.raises(MailServerDown, match=r"mail\.invalid port 25"):
        send_mail(message, Mail("mail.invalid"))


def test_a_server_that_asks_to_come_back_gets_the_mail_later(
    message: EmailMessage, inbox: Inbox, smtp: Callable[..., int], tmp_path: Path
) -> None:
    settings = Mail("127.0.0.1", smtp())
    inbox.answer = "451 greylisted"
    queue(message, tmp_path)
    with pytest.raises(MailServerDown, match="451: an error on its side"):
        deliver(tmp_path, settings)
    inbox.answer = "250 OK"
    assert deliver(tmp_path, settings)
    assert len(inbox.envelopes) == 1


def test_a_mail_that_is_refused_for_good_is_set_aside(
    message: EmailMessage, inbox: Inbox, smtp: Callable[..., int], tmp_path: Path
) -> None:
    settings = Mail("127.0.0.1", smtp())
    inbox.answer = "554 no such user"
    queue(message, tmp_path)
    with pytest.raises(MailRefused, match="answered 554: the transaction failed"):
        deliver(tmp_path, settings)
    assert (tmp_path / "mail.refused.eml").exists()
    assert not deliver(tmp_path, settings)


def test_a_queued_mail_waits_for_the_server_and_is_sent_once(
    message: EmailMessage, inbox: Inbox, smtp: Callable[..., int], tmp_path: Path
) -> None:
    job = tmp_path / "T-1" / "2026.11.21.08.41.20"
    job.mkdir(parents=True)
    (job / "job.json").touch()
    assert queue(message, job)
    with pytest.raises(MailServerDown):
        deliver(job, Mail("127.0.0.1", closed_port()))
    assert list(waiting_mails(WorkDirectory(tmp_path))) == [job]
    settings = Mail("127.0.0.1", smtp())
    assert deliver(job, settings)
    assert not deliver(job, settings)
    assert not queue(message, job)
    assert list(waiting_mails(WorkDirectory(tmp_path))) == []
    assert len(inbox.envelopes) == 1
    assert (job / "mail.sent.eml").stat().st_mode & 0o777 == 0o600


def test_the_mail_of_a_job_that_went_on_is_sent_too(
    report: Report, message: EmailMessage, inbox: Inbox, smtp: Callable[..., int], tmp_path: Path
) -> None:
    settings = Mail("127.0.0.1", smtp())
    waiting = compose(replace(report, verdict=Verdict.WAITING), TO, settings, STARTED)
    for mail in (waiting, message):
        queue(mail, tmp_path)
        deliver(tmp_path, settings)
    assert len(inbox.envelopes) == 2


def test_a_mail_that_another_process_is_sending_is_left_to_it(
    message: EmailMessage, inbox: Inbox, smtp: Callable[..., int], tmp_path: Path
) -> None:
    queue(message, tmp_path)
    with FileLock(tmp_path / ".mail.lock"):
        assert not deliver(tmp_path, Mail("127.0.0.1", smtp()))
    assert not inbox.envelopes


def test_what_is_queued_is_what_arrives(
    message: EmailMessage, inbox: Inbox, smtp: Callable[..., int], tmp_path: Path
) -> None:
    queue(message, tmp_path)
    deliver(tmp_path, Mail("127.0.0.1", smtp()))
    arrived = parsed(bytes(inbox.envelopes[0].content or b""))
    assert text_of(arrived, "plain").splitlines() == text_of(message, "plain").splitlines()

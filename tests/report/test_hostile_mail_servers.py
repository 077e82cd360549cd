"""Mail servers that are silent, slow, talkative or rude: each costs little, and no mail is lost."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from email.message import EmailMessage

import pytest

from cas.report.smtp import (
    ANSWER_BYTES,
    Allowance,
    MailDeferred,
    MailRefused,
    MailServerDown,
    send_mail,
)
from cas.settings.rules import Mail

Behave = Callable[[socket.socket], None]
BANNER = b"220 hello\r\n"


class Server:
    """A server that treats each connection as it is told to."""

    def __init__(self, behave: Behave) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.met = 0
        self._behave = behave
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listening.accept()
                self.met += 1
                threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with suppress(OSError), closing(connection):
            self._behave(connection)


@pytest.fixture
def server() -> Iterator[Callable[[Behave], Server]]:
    running: list[Server] = []

    def start(behave: Behave) -> Server:
        running.append(Server(behave))
        return running[-1]

    yield start
    for one in running:
        one.listening.close()


@pytest.fixture
def message() -> EmailMessage:
    message = EmailMessage()
    message["From"] = "cas@cas.example.com"
    message["To"] = "user@cas.example.com"
    message.set_content("It crashed.")
    return message


def silent(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def dripping(connection: socket.socket) -> None:
    for _ in range(600):
        connection.sendall(b"2")
        time.sleep(0.1)


def endless(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"220-and more\r\n" * 1000)


def a_long_line(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"2" * 10_000)


def deaf(connection: socket.socket) -> None:
    """Takes part until the mail comes, then reads nothing."""
    script(b"250 a", b"250 b", b"250 c", b"354 go")(connection)
    connection.recv(1)
    time.sleep(60)


def script(*answers: bytes) -> Behave:
    """Answers one line for one line, then reads on."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(BANNER)
        with connection.makefile("rb") as lines:
            for answer in answers:
                lines.readline()
                connection.sendall(answer + b"\r\n")

    return behave


def hanging_up(connection: socket.socket) -> None:
    connection.sendall(BANNER)


@pytest.mark.parametrize(
    ("behave", "security"),
    [(silent, "none"), (dripping, "none"), (deaf, "none"), (silent, "tls")],
)
def test_a_server_that_takes_its_time_has_what_it_is_allowed(
    server: Callable[[Behave], Server], message: EmailMessage, behave: Behave, security: str
) -> None:
    message.set_content("x" * 70 + "\n")
    if behave is deaf:
        message.set_content(("x" * 70 + "\n") * 400_000)  # more than the system's buffers take
    settings = Mail("127.0.0.1", server(behave).port, security, timeout_s=0.7)
    with pytest.raises(MailServerDown, match=r"0\.7 s \(smtpTimeout\) were not enough"):
        send_mail(message, settings)


@pytest.mark.parametrize("behave", [endless, a_long_line])
def test_a_server_that_talks_on_is_not_listened_to(
    server: Callable[[Behave], Server], message: EmailMessage, behave: Behave
) -> None:
    settings = Mail("127.0.0.1", server(behave).port, timeout_s=30)
    with pytest.raises(MailServerDown, match=r"answers more than 1\.0 MiB|what is no SMTP"):
        send_mail(message, settings)


def test_what_a_server_may_say_is_counted_over_all_its_mails(
    server: Callable[[Behave], Server], message: EmailMessage
) -> None:
    piece = ANSWER_BYTES // 3
    talkative = script(
        b"250-long\r\n" * (piece // 10) + b"250 a", *[b"250 b"] * 2, b"354 c", b"250"
    )
    settings = Mail("127.0.0.1", server(talkative).port)
    allowance = Allowance(60)
    send_mail(message, settings, allowance)
    send_mail(message, settings, allowance)
    with pytest.raises(MailServerDown, match="answers more than"):
        send_mail(message, settings, allowance)


@pytest.mark.parametrize(
    ("behave", "at"),
    [
        (lambda connection: None, "connecting"),
        (hanging_up, "the mail"),
        (script(b"250 a", b"250 b"), "the mail"),
    ],
)
def test_where_a_server_hangs_up_is_said(
    server: Callable[[Behave], Server], message: EmailMessage, behave: Behave, at: str
) -> None:
    settings = Mail("127.0.0.1", server(behave).port)
    with pytest.raises(MailServerDown, match=f"closed the connection at {at}"):
        send_mail(message, settings)


def test_a_mail_that_was_taken_is_sent_whatever_comes_then(
    server: Callable[[Behave], Server], message: EmailMessage
) -> None:
    taking = script(b"250 a", b"250 b", b"250 c", b"354 go")

    def behave(connection: socket.socket) -> None:
        taking(connection)
        with connection.makefile("rb") as lines:
            while lines.readline() != b".\r\n":
                pass
        connection.sendall(b"250 taken\r\n")
        connection.recv(4096)
        connection.sendall(b"554 no, I did not mean that\r\n")

    send_mail(message, Mail("127.0.0.1", server(behave).port))


@pytest.mark.parametrize(
    ("answers", "kind", "said"),
    [
        ((b"250 a", b"550 5.7.1 hunter2"), MailRefused, "550 5.7.1: the mailbox is not available"),
        ((b"250 a", b"451 hunter2"), MailDeferred, "451: an error on its side"),
        ((b"250 a", b"421 hunter2"), MailServerDown, "421: the service is not available"),
        ((b"250 a", b"599 5.hunter2"), MailRefused, "599: refused"),
        ((b"250 a", b"250 b", b"250 c", b"554 hunter2"), MailRefused, "554: the transaction"),
        ((b"550 hunter2", b"550 hunter2"), MailServerDown, "550: the mailbox"),
        ((b"\x1b]0;hunter2", b"hunter2"), MailServerDown, "what is no SMTP|closed"),
    ],
)
def test_the_servers_words_are_shown_nowhere(
    server: Callable[[Behave], Server],
    message: EmailMessage,
    answers: tuple[bytes, ...],
    kind: type[Exception],
    said: str,
) -> None:
    with pytest.raises(kind, match=said) as caught:
        send_mail(message, Mail("127.0.0.1", server(script(*answers)).port))
    assert type(caught.value) is kind
    assert "hunter2" not in str(caught.value)


def test_a_greeting_that_is_a_refusal_is_a_server_that_is_down(
    server: Callable[[Behave], Server], message: EmailMessage
) -> None:
    behave = server(lambda connection: connection.sendall(b"554 hunter2\r\n"))
    with pytest.raises(
        MailServerDown, match="answered 554: the transaction failed, it was at conn"
    ):
        send_mail(message, Mail("127.0.0.1", behave.port))

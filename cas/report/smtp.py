"""Handing a mail to the SMTP server, and what its answers mean.

The server holds nobody hostage: all mails of a run share one allowance of time and of bytes that it
may answer. What it says is shown as its number with words of ours: its own words may be anything,
such as the password that it was just given.
"""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
import threading
import time
from contextlib import suppress
from email.message import EmailMessage
from email.utils import parseaddr
from typing import Any

from cas.errors import CasError, ConfigError, TryAgain
from cas.files.permission import DENIED, not_permitted
from cas.settings.rules import Mail
from cas.units import human_size

ANSWER_BYTES = 1 << 20
"""Bytes of all answers of a server in one run; an honest one has a few hundred."""
PIECE_BYTES = 4096
PASSWORD_LIMIT = 4096
_PORTS = {"none": 25, "starttls": 587, "tls": 465}
_MEANINGS = {
    421: "the service is not available",
    432: "the password must be changed",
    450: "the mailbox is not available now",
    451: "an error on its side",
    452: "it has no room",
    454: "the login does not work now",
    455: "the parameters cannot be taken now",
    521: "it takes no mail",
    530: "a login is needed",
    534: "the way of the login is too weak",
    535: "user or password is wrong",
    538: "the login needs encryption",
    550: "the mailbox is not available",
    551: "the user is elsewhere",
    552: "the mail is too large",
    553: "the address is not allowed",
    554: "the transaction failed",
    555: "the parameters are not known",
    556: "the domain takes no mail",
}
"""RFC 5321 section 4.2.3, RFC 4954 section 6, RFC 7504."""
_KINDS = {4: "not now", 5: "refused"}
_ENHANCED = re.compile(rb"([245]\.\d{1,3}\.\d{1,3})(?!\S)")
"""The status code that may begin an answer, see RFC 2034: numbers only."""


class MailServerDown(TryAgain):
    """The SMTP server cannot be reached, or takes no mail at all at the moment."""

    hint = "the mail is kept in the job directory and sent later"


class MailDeferred(MailServerDown):
    """The SMTP server takes this mail later; others it may take now."""


class MailServerUnfit(ConfigError):
    """The SMTP server is there, and the configuration does not fit it."""


class MailRefused(CasError):
    """The SMTP server will never take this mail."""

    hint = "check the address, smtphost and smtpUser (see cas.conf(5))"


class Allowance:
    """What a server may cost in one run: time, and bytes that it answers."""

    def __init__(self, time_s: float, answer_bytes: int = ANSWER_BYTES) -> None:
        """Begin to count."""
        self.time_s = time_s
        self.answer_bytes = answer_bytes
        self._until = time.monotonic() + time_s
        self._answered = 0

    @property
    def is_over(self) -> bool:
        """Whether the time is used up."""
        return time.monotonic() >= self._until

    @property
    def left_s(self) -> float:
        """The rest of the time.

        :raises _Spent: there is none
        """
        left_s = self._until - time.monotonic()
        if left_s <= 0:
            raise _Spent
        return left_s

    def count_answer(self, size_bytes: int) -> None:
        """Count a piece of an answer.

        :raises _Spent: it is one too much
        """
        self._answered += size_bytes
        if self._answered > self.answer_bytes:
            raise _Spent

    def __str__(self) -> str:
        """What was not enough."""
        if self._answered > self.answer_bytes:
            return f"it answers more than {human_size(self.answer_bytes)}"
        return f"{self.time_s:g} s (smtpTimeout) were not enough"


class _Spent(Exception):
    """A server has used up its allowance."""


def send_mail(message: EmailMessage, settings: Mail, allowance: Allowance | None = None) -> None:
    """Hand a mail to the SMTP server.

    :param allowance: what the server may cost; default: that of a run with this mail only
    :raises MailServerDown: not now
    :raises MailRefused: never
    :raises ConfigError: no server, no password, or a password that would travel unencrypted
    """
    host, port = server_of(settings)
    password = _password(settings)
    allowance = allowance or Allowance(settings.timeout_s)
    where, at = f"mail server {host} port {port}", "connecting"
    # the name of this machine would otherwise be looked up, which can take long
    domain = parseaddr(str(message["From"]))[1].partition("@")[2]
    name = domain if "." in domain else "[127.0.0.1]"
    smtp = _Client(name, allowance, has_tls=settings.security == "tls")
    try:
        code, said = smtp.connect(host, port)
        if code != 220:
            raise smtplib.SMTPConnectError(code, said)
        if settings.security == "starttls":
            at = "STARTTLS"
            smtp.starttls(context=ssl.create_default_context())
        if settings.user is not None:
            at = "the login"
            smtp.login(settings.user, password)
        at = "the mail"
        smtp.send_message(message)
        with suppress(OSError, smtplib.SMTPException, _Spent):
            smtp.putcmd("QUIT")  # it has the mail, whatever it says now
    except (OSError, smtplib.SMTPException, UnicodeError, _Spent) as error:
        if isinstance(error, _Spent) or allowance.is_over:
            raise MailServerDown(f"{where}: {allowance}, it was at {at}") from error
        raise _mail_error(error, where, at) from error
    finally:
        smtp.close()


def server_of(settings: Mail) -> tuple[str, int]:
    """The server's name and port.

    :raises ConfigError: there is none
    """
    if settings.host is None:
        raise ConfigError("there is no smtphost to send mail through")
    return settings.host, settings.port or _PORTS[settings.security]


def _password(settings: Mail) -> str:
    if settings.user is None:
        return ""
    if settings.security == "none":
        raise ConfigError(
            "smtpUser without encryption would send the password in the clear",
            hint="set smtpSecurity to starttls or tls",
        )
    path = settings.password_file
    if path is None:
        raise ConfigError(f"there is no smtpPasswordFile for smtpUser {settings.user}")
    try:
        with path.open(encoding="utf-8") as file:
            password = file.readline(PASSWORD_LIMIT).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno in DENIED:
            raise not_permitted(path, error, "read") from error
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"smtpPasswordFile {path}: {reason}") from error
    if not password or not password.isascii():
        raise ConfigError(f"smtpPasswordFile {path}: its first line is empty or not ASCII")
    return password


class _Client(smtplib.SMTP):
    """The library's client, over a connection with an allowance."""

    def __init__(self, name: str, allowance: Allowance, *, has_tls: bool) -> None:
        super().__init__(local_hostname=name)
        self._allowance = allowance
        self._has_tls = has_tls

    def connect(self, host: str = "", port: int = 0, source_address: Any = None) -> Any:
        """Connect, and read the greeting."""
        self._host = host  # which the certificate must be for
        # the first address that takes a connection; each has its share of the time
        addresses = _server_addresses(host, port, self._allowance)
        self.sock, failure = None, OSError("it has no address")
        for number, (family, kind, protocol, _, address) in enumerate(addresses):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(self._allowance.left_s / (len(addresses) - number))
                sock.connect(address)
            except OSError as error:
                sock.close()
                failure = error
            else:
                self.sock = sock
                break
        if self.sock is None:
            raise failure
        if self._has_tls:
            self.sock.settimeout(self._allowance.left_s)
            context = ssl.create_default_context()
            self.sock = context.wrap_socket(self.sock, server_hostname=host)
        self.file = None
        return self.getreply()

    def send(self, s: Any) -> None:
        """Send something; the library's socket has the time for all of it."""
        if self.sock is not None:
            self.sock.settimeout(self._allowance.left_s)
        super().send(s)

    def getreply(self) -> tuple[int, bytes]:
        """The next answer."""
        if self.file is None and self.sock is not None:
            self.file = _Answers(self.sock, self._allowance)
        return super().getreply()


class _Answers:
    """The lines that a server sends, as the library reads them."""

    def __init__(self, sock: socket.socket, allowance: Allowance) -> None:
        self._sock = sock
        self._allowance = allowance
        self._held = b""

    def readline(self, limit: int) -> bytes:
        """A line, or as much of it as the limit allows."""
        while b"\n" not in self._held and len(self._held) < limit:
            self._sock.settimeout(self._allowance.left_s)
            try:
                piece = self._sock.recv(PIECE_BYTES)
            except TimeoutError as error:
                raise _Spent from error
            if not piece:
                break
            self._allowance.count_answer(len(piece))
            self._held += piece
        end = min(self._held.find(b"\n") + 1 or len(self._held), limit)
        line, self._held = self._held[:end], self._held[end:]
        return line

    def close(self) -> None:
        """The socket is the library's to close."""


def _server_addresses(host: str, port: int, allowance: Allowance) -> list[Any]:
    """The addresses of a name, from a thread that can be left behind: a resolver has no limit."""
    found: list[Any] = []
    failure: list[Exception] = []

    def resolve() -> None:
        try:
            found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            failure.append(error)

    thread = threading.Thread(target=resolve, name="resolver", daemon=True)
    thread.start()
    thread.join(allowance.left_s)
    if thread.is_alive():
        raise _Spent
    if failure:
        raise failure[0]
    return found


def _mail_error(error: Exception, where: str, at: str) -> CasError:
    if unfit := _unfit(error):
        what, hint = unfit
        return MailServerUnfit(f"{where}{what}", hint=hint)
    if isinstance(error, smtplib.SMTPServerDisconnected):
        hint = "check smtpUser, its password and smtpSecurity: some servers refuse a login so"
        is_login = at == "the login"
        return MailServerDown(
            f"{where} closed the connection at {at}", hint=hint if is_login else None
        )
    # codes from 500 on are final, RFC 5321 section 4.2.1
    code: int = 0
    said: bytes | str = b""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, said = next(iter(error.recipients.values()))
    elif isinstance(error, smtplib.SMTPResponseException):
        code, said = error.smtp_code, error.smtp_error
    if code and isinstance(error, _ABOUT_THE_MAIL) and code != _CLOSING:
        kind = MailRefused if code >= 500 else MailDeferred
        return kind(f"{where} {_answered(code, said)}")
    reason = error.strerror if isinstance(error, OSError) else None
    what = f" {_answered(code, said)}" if code else f": {reason or type(error).__name__}"
    return MailServerDown(f"{where}{what}, it was at {at}")


def _unfit(error: Exception) -> tuple[str, str] | None:
    """What of the configuration does not fit the server, and what to do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        hint = "add the issuer to this machine's trusted certificates, or correct smtphost"
        return f": its certificate is not trusted: {error.verify_message}", hint
    if isinstance(error, smtplib.SMTPAuthenticationError):
        hint = "correct smtpUser or the password in smtpPasswordFile"
        return f" {_answered(error.smtp_code, error.smtp_error)}", hint
    if isinstance(error, smtplib.SMTPNotSupportedError | UnicodeError):
        return f": {error}", "correct smtphost, smtpSecurity or smtpUser"
    return None


_CLOSING = 421
_ABOUT_THE_MAIL = (smtplib.SMTPRecipientsRefused, smtplib.SMTPSenderRefused, smtplib.SMTPDataError)


def _answered(code: int, said: bytes | str) -> str:
    """An answer as its numbers, and what they mean."""
    if code < 0 or said == "Line too long.":  # what smtplib says for it
        return "answered what is no SMTP"
    if isinstance(said, str):
        said = said.encode("ascii", "replace")
    found = _ENHANCED.match(said)
    numbers = f"{code} {found[1].decode()}" if found else str(code)
    meaning = _MEANINGS.get(code) or _KINDS.get(code // 100, "which is no answer to that")
    return f"answered {numbers}: {meaning}"

"""Handing a mail to the SMTP server, and what its answers mean."""

from __future__ import annotations

import smtplib
import ssl
from contextlib import AbstractContextManager
from email.message import EmailMessage
from email.utils import parseaddr

from cas.errors import CasError, ConfigError, TryAgain
from cas.rules import Mail
from cas.text import one_line

TIMEOUT_S = 30.0
PASSWORD_LIMIT = 4096
_PORTS = {"none": 25, "starttls": 587, "tls": 465}


class MailServerDown(TryAgain):
    """The SMTP server cannot be reached, or asks to come back later."""

    hint = "the mail is kept in the job directory and sent with the next run"


class MailRefused(CasError):
    """The SMTP server will never take this mail."""

    hint = "check the address, smtphost and smtpUser (see cas.conf(5))"


def send(message: EmailMessage, settings: Mail) -> None:
    """Hand a mail to the SMTP server.

    :raises MailServerDown: not now
    :raises MailRefused: never
    :raises ConfigError: no server, no password, or a password that would travel unencrypted
    """
    host, port = _server(settings)
    password = _password(settings)
    try:
        with _connection(host, port, settings, message) as smtp:
            if settings.security == "starttls":
                smtp.starttls(context=ssl.create_default_context())
            if settings.user is not None:
                smtp.login(settings.user, password)
            smtp.send_message(message)
    except (OSError, smtplib.SMTPException, UnicodeError) as error:
        raise _translated(error, f"{host} port {port}") from error


def _server(settings: Mail) -> tuple[str, int]:
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
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"smtpPasswordFile {path}: {reason}") from error
    if not password or not password.isascii():
        raise ConfigError(f"smtpPasswordFile {path}: its first line is empty or not ASCII")
    return password


def _connection(
    host: str, port: int, settings: Mail, message: EmailMessage
) -> AbstractContextManager[smtplib.SMTP]:
    # The name of this machine would otherwise be looked up, which can take long.
    domain = parseaddr(str(message["From"]))[1].partition("@")[2]
    name = domain if "." in domain else "[127.0.0.1]"
    if settings.security == "tls":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(host, port, name, timeout=TIMEOUT_S, context=context)
    return smtplib.SMTP(host, port, name, timeout=TIMEOUT_S)


def _translated(error: Exception, server: str) -> CasError:
    where = f"mail server {server}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return ConfigError(
            f"{where}: its certificate is not trusted: {error.verify_message}",
            hint="add the issuer to this machine's trusted certificates, or correct smtphost",
        )
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return ConfigError(
            f"{where} answered {error.smtp_code} {one_line(error.smtp_error)}",
            hint="correct smtpUser or the password in smtpPasswordFile",
        )
    if isinstance(error, smtplib.SMTPNotSupportedError | UnicodeError):
        return ConfigError(f"{where}: {error}", hint="correct smtphost, smtpSecurity or smtpUser")
    code, said = _answer(error)
    if code >= 500 and isinstance(error, _ABOUT_THE_MAIL):
        return MailRefused(f"{where} answered {code} {said}")
    reason = getattr(error, "strerror", None) or f"{code or ''} {said}".strip()
    return MailServerDown(f"{where}: {reason or type(error).__name__}")


_ABOUT_THE_MAIL = (smtplib.SMTPRecipientsRefused, smtplib.SMTPSenderRefused, smtplib.SMTPDataError)


def _answer(error: Exception) -> tuple[int, str]:
    """Code and text; codes from 500 on are final, RFC 5321 section 4.2.1."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, said = next(iter(error.recipients.values()))
        return code, one_line(said)
    if isinstance(error, smtplib.SMTPResponseException):
        return error.smtp_code, one_line(error.smtp_error)
    return 0, one_line(str(error))

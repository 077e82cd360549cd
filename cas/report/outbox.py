"""Mails that wait in their job directory until the server takes them.

``mail.eml`` waits, ``mail.sent.eml`` has been taken, ``mail.refused.eml`` never will be.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

from filelock import FileLock, Timeout

from cas.errors import JobFailed, TryAgain
from cas.files.permission import DENIED, not_permitted
from cas.files.whole import cannot_write, opener_below, read_regular, sync_directory, write_whole
from cas.jobs.work_directory import is_regular
from cas.report.mail_files import REFUSED, SENT, WAITING
from cas.report.smtp import Allowance, MailRefused, send_mail
from cas.settings.rules import Mail

LOCK_TIMEOUT_S = 60.0
SIZE_LIMIT = 256 << 20
"""Bytes of a mail."""
_AS_IT_IS = SMTP.clone(refold_source="none")


def queue(message: EmailMessage, directory: Path) -> bool:
    """Keep a mail durably in its job directory until :func:`deliver` has sent it.

    :return: whether there is something to deliver; not when this very mail was sent before
    :raises DiskFull: no room
    :raises TryAgain: another process sends an earlier mail of this job and does not end
    """
    sent = directory / SENT
    try:
        with _mail_lock(directory, LOCK_TIMEOUT_S):
            if is_regular(sent) and _read_mail(sent)["Message-ID"] == message["Message-ID"]:
                return False
            write_whole(directory / WAITING, message.as_bytes())
            return True
    except Timeout as error:
        raise TryAgain(f"another process is sending the mail in {directory}") from error


def deliver(directory: Path, settings: Mail, allowance: Allowance | None = None) -> bool:
    """Send the mail that waits in a job directory, once, also when several processes try.

    :param allowance: what the server may cost all mails of this run; default: this one alone
    :return: whether it was sent now; not when there is none or another process is at it
    :raises MailServerDown: not now; the mail stays
    :raises MailRefused: never; the mail is set aside as ``mail.refused.eml``
    :raises ConfigError: the mail settings cannot work; the mail stays
    """
    waiting = directory / WAITING
    if not is_regular(waiting):
        return False
    try:
        with _mail_lock(directory, 0):
            # the process that had the lock before may have sent it
            if not is_regular(waiting):
                return False
            try:
                send_mail(_read_mail(waiting), settings, allowance)
            except MailRefused:
                _move(waiting, directory / REFUSED)
                raise
            _move(waiting, directory / SENT)
            return True
    except Timeout:
        return False


@contextmanager
def _mail_lock(directory: Path, timeout_s: float) -> Iterator[None]:
    lock = FileLock(directory / ".mail.lock", timeout=timeout_s, mode=0o600)
    try:
        # which empties what it locks
        os.close(opener_below(directory)(".mail.lock", os.O_RDWR | os.O_CREAT))
        lock.acquire()
    except Timeout:  # which is an OSError too
        raise
    except OSError as error:
        raise cannot_write(directory / ".mail.lock", error, 0) from error
    try:
        yield
    finally:
        lock.release()


def _read_mail(path: Path) -> EmailMessage:
    try:
        content = read_regular(path, SIZE_LIMIT)
    except OSError as error:
        if error.errno in DENIED:
            raise not_permitted(path, error, "read") from error
        raise JobFailed(f"cannot read {path}: {error.strerror}") from error
    return message_from_bytes(content, _class=EmailMessage, policy=_AS_IT_IS)


def _move(path: Path, target: Path) -> None:
    try:
        path.replace(target)
        sync_directory(target.parent)
    except OSError as error:
        raise cannot_write(target, error, 0) from error

"""The mail with the results: composed, and handed to an SMTP server.

Formats: RFC 5322 for the message, RFC 5321 for the addresses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, formataddr, getaddresses, parseaddr

from cas.errors import ConfigError
from cas.model import Report
from cas.report.address import check_address, flaw
from cas.report.html import Shown, render_mail, shown
from cas.report.plain import customer_box, location
from cas.report.screen import verdict
from cas.rules import Mail
from cas.text import one_line

LINES = 200
"""Of each section."""
SIZE_LIMIT = 256 << 10
"""Characters of all sections together."""

_POLICY = SMTP.clone(cte_type="7bit")


def compose(report: Report, to: str, settings: Mail, now: datetime) -> EmailMessage:
    """The mail about a report: the verdict, where the results are, and the sections allowed.

    These come in the order in which the configuration names them, by default the backtrace first.

    The same report gives the same ``Message-ID``, so that a mail sent twice is seen once.

    :param now: with its time zone; the mail's date
    :raises UsageError: the address is none
    :raises ConfigError: the sender's address is none
    """
    sender = _sender(report, settings)
    message = EmailMessage(policy=_POLICY)
    message["Subject"] = f"CAS results for {one_line(report.ticket)}"
    message["From"] = sender
    message["To"] = check_address(to)
    message["Date"] = format_datetime(now)
    message["Message-ID"] = _message_id(report, to, sender)
    message["Auto-Submitted"] = "auto-generated"
    allowed = [section for section in report.sections if section.name in settings.sections]
    allowed.sort(key=lambda section: settings.sections.index(section.name))
    sections = _bounded(shown(section, LINES) for section in allowed)
    message.set_content(_text(report, sections))
    message.add_alternative(render_mail(report, sections), subtype="html")
    return message


def _sender(report: Report, settings: Mail) -> str:
    if settings.sender is None:
        default = f"cas@{report.server}"
        return "cas@localhost" if flaw(default) else default
    (name, address), *others = getaddresses([settings.sender])
    reason = flaw(address or settings.sender)
    if reason or others or not settings.sender.isprintable():
        reason = reason or "one address is needed, without line breaks"
        raise ConfigError(f"mailFrom = {settings.sender!a} is no address: {reason}")
    return formataddr((name, address))


def _message_id(report: Report, to: str, sender: str) -> str:
    told = (report.ticket, str(report.directory), report.verdict, report.reason or "", to)
    digest = hashlib.sha256("\0".join(told).encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"<cas-{digest}@{parseaddr(sender)[1].partition('@')[2]}>"


def _bounded(sections: Iterable[Shown]) -> list[Shown]:
    kept, room = [], SIZE_LIMIT
    for section in sections:
        text = section.text if len(section.text) <= room else f"{section.text[:room]}\n…"
        room = max(0, room - len(text))
        kept.append(replace(section, text=text))
    return kept


def _text(report: Report, sections: Sequence[Shown]) -> str:
    parts = filter(None, (verdict(report), customer_box(report), location(report)))
    head = "\n".join(parts) + "Output data:\n"
    return head + "\n".join(f"{section.text}\n" for section in sections)

"""The mail with the results: composed, and handed to an SMTP server.

Formats: RFC 5322 for the message, RFC 5321 for the addresses.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import format_datetime, formataddr, getaddresses, parseaddr

from cas.errors import ConfigError
from cas.model.report import Report
from cas.report.address import address_flaw, check_address
from cas.report.html import render_html, render_mail
from cas.report.page import customer_note, shown_section
from cas.report.plain import customer_box, headed, location, machine
from cas.report.screen import Row, in_full, screen_rows
from cas.report.summary import Summary, summary
from cas.settings.rules import Mail
from cas.units import human_size

LINES = 200
"""Lines that are shown of each section."""
SIZE_LIMIT = 256 << 10
"""Characters of all sections together."""
SUBJECT_CHARS = 160
"""Characters of a title in the subject."""


class _Policy(EmailPolicy):
    def fold_binary(self, name: str, value: object) -> bytes:
        """A header; its first line says something, for filters that read lines."""
        folded = super().fold_binary(name, value)  # type: ignore[arg-type]
        return folded.replace(f"{name}:\r\n ".encode(), f"{name}: ".encode(), 1)


_POLICY = _Policy(linesep="\r\n", cte_type="7bit")


def compose(report: Report, to: str, settings: Mail, now: datetime) -> EmailMessage:
    """The mail about a report: the first screen, where the results are, and the sections allowed.

    These come in the order in which the configuration names them, by default the backtrace first.

    The same report gives the same ``Message-ID``, so that a mail sent twice is seen once.

    :param now: with its time zone; the mail's date
    :raises UsageError: the address is none
    :raises ConfigError: the sender's address is none
    """
    sender, told = _sender(report, settings), summary(report)
    message = EmailMessage(policy=_POLICY)
    message["Subject"] = f"CAS results for {told.ticket}: {short_title(told)}"
    message["From"] = sender
    message["To"] = check_address(to)
    message["Date"] = format_datetime(now)
    facts = (report.ticket, str(report.directory), report.verdict, report.reason or "", to)
    digest = hashlib.sha256("\0".join(facts).encode("utf-8", "surrogatepass")).hexdigest()[:32]
    domain = parseaddr(sender)[1].partition("@")[2]
    message["Message-ID"] = f"<cas-{digest}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    if report.glide and report.glide.name not in settings.sections:
        report = replace(report, glide=None)  # it quotes the customer's memory
    every = (*report.sections, *filter(None, [report.glide]))
    allowed = [section for section in every if section.name in settings.sections]
    allowed.sort(key=lambda section: settings.sections.index(section.name))
    sections, room = [], SIZE_LIMIT
    for section in (shown_section(each, LINES) for each in allowed):
        text = section.text if len(section.text) <= room else f"{section.text[:room]}\n…"
        room = max(0, room - len(text))
        sections.append(replace(section, text=text))
    page = render_html(report).encode() if settings.attaches_report else b""
    left_out, limit = "", settings.attachment_bytes
    if len(page) > limit:
        sizes = f"it has {human_size(len(page))}, the limit is {human_size(limit)}"
        left_out = f"report.html is not attached: {sizes}; it lies in {told.directory}"
    customer = customer_note(report)
    parts = (
        "\n".join(map(in_full, (Row("Ticket", (told.ticket,)), *screen_rows(told)))),
        customer_box(customer),
        headed("Machine and dump", machine(told)) if told.machine else "",
        f"{location(told)}{left_out}",
        "Output data:",
        *(headed(f"{section.title} ({section.status})", section.text) for section in sections),
    )
    message.set_content("\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n")
    html = render_mail(told, customer, sections, left_out)
    message.add_alternative(html, subtype="html")
    if page and not left_out:
        name = f"report-{told.ticket}.html"
        utf8 = {"charset": "utf-8"}
        message.add_attachment(page, "text", "html", filename=name, params=utf8)
    return message


def short_title(told: Summary) -> str:
    """What the crash is called, for a line that holds no more."""
    return told.title if len(told.title) <= SUBJECT_CHARS else f"{told.title[:SUBJECT_CHARS]} …"


def _sender(report: Report, settings: Mail) -> str:
    if settings.sender is None:
        default = f"cas@{report.server}"
        return "cas@localhost" if address_flaw(default) else default
    (name, address), *others = getaddresses([settings.sender])
    reason = address_flaw(address or settings.sender)
    if reason or others or not settings.sender.isprintable():
        reason = reason or "one address is needed, without line breaks"
        raise ConfigError(f"mailFrom = {settings.sender!a} is no address: {reason}")
    return formataddr((name, address))

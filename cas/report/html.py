"""The report as one HTML file: no scripts, nothing from elsewhere, everything escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from cas.model import Finding, Report, Section
from cas.report.excerpt import excerpt, tail
from cas.report.plain import (
    customer_note,
    dmesg_of,
    frame_text,
    register_lines,
    remarks,
    sidecars,
    stacks,
    status,
)
from cas.report.screen import rows
from cas.text import is_link, one_line, short_line
from cas.units import utc

LINES = 400
"""Of each section; the whole is in the section's file."""

_TEMPLATES = Environment(
    loader=PackageLoader("cas.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True, slots=True)
class Shown:
    """A section as the page shows it; all text is printable."""

    anchor: str
    title: str
    name: str
    state: str
    status: str
    text: str


def render_html(report: Report) -> str:
    """The whole of ``report.html``."""
    sections = [shown(section, LINES) for section in report.sections]
    page = _page(report, [*sections, *_log(report, LINES)])
    return _TEMPLATES.get_template("report.html").render(page)


def render_mail(report: Report, sections: Sequence[Shown]) -> str:
    """The HTML alternative of the mail.

    :param sections: those that may leave this machine
    """
    return _TEMPLATES.get_template("mail.html").render(_page(report, sections))


def shown(section: Section, lines: int) -> Shown:
    """A section, with so many lines of its output."""
    return Shown(
        anchor=f"section-{one_line(section.name)}",
        title=short_line(section.title),
        name=one_line(section.name),
        state="ok" if section.status in ("ok", "skipped") else "bad",
        status=status(section),
        text=excerpt(section, lines).text(one_line(section.path.name)),
    )


def _page(report: Report, sections: Sequence[Shown]) -> dict[str, object]:
    """What the templates draw."""
    said = {row.label: row.texts for row in rows(report)}
    return {
        "ticket": one_line(report.ticket),
        "started": utc(report.started),
        "verdict": one_line(report.verdict),
        "known": _known(report.finding),
        "reason": short_line(report.reason or ""),
        "what": (said.get("What") or said["Verdict"])[0],
        "rows": [(label, texts) for label, texts in said.items() if label not in _APART],
        "next_steps": said.get("Next", ()),
        "directory": one_line(str(report.directory)),
        "server": one_line(report.server),
        "stacks": _stacks(report),
        "remarks": remarks(report),
        "customer": customer_note(report),
        "sidecars": sidecars(report),
        "registers": "\n".join(register_lines(report)),
        "sections": sections,
    }


_APART = frozenset({"Known issue", "Verdict", "What", "Next"})
"""Rows that the page does not show in its table."""


@dataclass(frozen=True, slots=True)
class Known:
    """A known issue as the page shows it; all text is printable."""

    name: str
    advice: str
    fixed_in: str
    doubt: str
    link: str


def _known(finding: Finding | None) -> list[Known]:
    return [
        Known(
            name=short_line(issue.name),
            advice=short_line(issue.advice),
            fixed_in=short_line(", ".join(issue.fixed_in)),
            doubt=short_line(issue.doubt or ""),
            # such as nothing but a link to a page is, wherever the record came from
            link=one_line(issue.link) if issue.link and is_link(issue.link) else "",
        )
        for issue in (finding.known if finding else ())
    ]


def _stacks(report: Report) -> list[tuple[str, str, list[tuple[str, bool]]]]:
    """An anchor, a headline and the frames of each."""
    return [
        (title.partition(" ")[0].lower(), title, [(frame_text(f), f.inlined) for f in frames])
        for title, frames in stacks(report)
    ]


def _log(report: Report, lines: int) -> list[Shown]:
    dmesg = dmesg_of(report)
    if not dmesg:
        return []
    text = tail(dmesg, lines).text("the dump")
    return [Shown("kernel-log", "Kernel log", "dmesg", "ok", "from the dump", text)]

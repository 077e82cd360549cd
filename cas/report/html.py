"""The report as one HTML file: no scripts, nothing from elsewhere, everything escaped."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from cas.model.report import Report
from cas.report.page import Limits, Page, Shown, page
from cas.report.picture import WIDE
from cas.report.summary import Point, Summary

LIMITS = Limits(lines=1000, section=64 << 10, all_sections=1 << 20)
"""The whole of a section is in the section's file."""

_TEMPLATES = Environment(
    loader=PackageLoader("cas.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render_html(report: Report) -> str:
    """The whole of ``report.html``."""
    return html_of(page(report, LIMITS))


def html_of(shown: Page) -> str:
    """A report as a page."""
    template = _TEMPLATES.get_template("report.html")
    style, policy = _style_and_policy()
    return template.render(page=shown, told=shown.summary, style=style, policy=policy, wide=WIDE)


def render_mail(
    told: Summary, customer: Sequence[str], sections: Sequence[Shown], left_out: str = ""
) -> str:
    """The HTML alternative of the mail.

    :param sections: those that may leave this machine
    :param left_out: why the report is not attached, where it should be
    """
    template = _TEMPLATES.get_template("mail.html")
    return template.render(told=told, customer=customer, sections=sections, left_out=left_out)


@cache
def _style_and_policy() -> tuple[Markup, str]:
    """The style sheet, and the policy that allows it and nothing else."""
    loader = _TEMPLATES.loader
    assert loader is not None  # noqa: S101  it is set above
    text = "\n" + loader.get_source(_TEMPLATES, "style.css")[0]
    digest = b64encode(hashlib.sha256(text.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return Markup(text), policy  # noqa: S704  it is ours


def _linked(point: Point) -> Markup:
    """A text in which the jobs that it names lead to their reports."""
    if not point.jobs:
        return escape(point.text)
    names = sorted(map(re.escape, point.jobs), key=len, reverse=True)
    parts = re.split(rf"(?<![\w./-])({'|'.join(names)})(?![\w/-]|\.\w)", point.text)
    linked: list[str] = []
    for number, part in enumerate(parts):
        # from one job's directory to another's, or to the directory of a ticket's jobs
        target = f"../../{quote(part)}/" + ("report.html" if "/" in part else "")
        linked.append(Markup('<a href="{}">{}</a>').format(target, part) if number % 2 else part)
    return Markup("").join(linked)


_TEMPLATES.filters["linked"] = _linked

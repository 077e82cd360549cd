"""The files of a job directory that say what was found out."""

from __future__ import annotations

from cas.files.whole import write_whole
from cas.model.report import Report
from cas.report.html import render_html
from cas.report.plain import render_text
from cas.report.result import NAME, result_text


def drawn(report: Report) -> dict[str, bytes]:
    """The contents of these files, by name; ``result.json`` comes last."""
    return {
        "report.txt": render_text(report).encode(),
        "report.html": render_html(report).encode(),
        NAME: result_text(report),
    }


def write_report(report: Report) -> None:
    """Write ``report.txt`` and ``report.html``, and last ``result.json``.

    :raises DiskFull: no room; ``result.json`` is then the old one or missing
    :raises JobFailed: the job directory cannot be written
    """
    for name, content in drawn(report).items():
        write_whole(report.directory / name, content)

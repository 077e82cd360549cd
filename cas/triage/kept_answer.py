"""What a job has told that ended with the first answer, where its rest does not come."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cas.errors import CasError
from cas.jobs import seal
from cas.jobs.job import load_job
from cas.jobs.layout import RESULTS
from cas.jobs.sharing import share
from cas.model.report import Report
from cas.report.report import drawn
from cas.report.result import load
from cas.triage.context import Context
from cas.triage.rejudge import revived

REST = "the rest of the dump was not fetched"
"""How a remark begins that says why."""


def keep_answer(directory: Path, error: CasError, context: Context) -> Report:
    """The report of the answer, which says from now on what was in the way of the rest.

    :param directory: of the job, in which nothing has changed
    :raises CasError: it cannot be read, or written; the answer stays as it was
    """
    job = load_job(directory)
    report = revived(load(directory), job)
    kept = (remark for remark in report.remarks if not remark.startswith(REST))
    report = replace(report, remarks=(*kept, f"{REST}: {error}"))
    seal.put_in_place(job, drawn(report))
    told = [directory / name for name in RESULTS]
    share(job, told, context.config, context.progress)
    return report

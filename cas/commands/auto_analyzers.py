"""What runs by itself on the crash of a job or an upload that has ended."""

from __future__ import annotations

from cas.archive.archive import Archive
from cas.choices import Verdict
from cas.commands.invocation import World
from cas.errors import CasError
from cas.files.whole import is_there
from cas.model.report import Report

ENDED_WITH_ANSWER = frozenset({Verdict.COMPLETE, Verdict.PARTIAL})


def run_auto_analyzers(report: Report, world: World) -> None:
    """Run on a crash what runs by itself; that fails nothing, and is told.

    What was the same analyzer on this crash before is not run again.
    """
    dump = report.dump
    if dump is None or dump.crash_id is None or report.verdict not in ENDED_WITH_ANSWER:
        return
    try:
        archive = Archive.of(world.config)
        if is_there(archive.path / "analyzers"):
            from cas.commands.analyzing import analyze_by_itself  # where there are any

            analyze_by_itself(dump.crash_id, archive, world)
    except CasError as error:
        world.progress.warn(f"analyzers that run by themselves: {error}")

"""Uploads whose kernel was not there: their crashes are looked at again where it may have come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime

from cas.archive import incoming
from cas.archive.archive import Archive
from cas.archive.keeping import fingerprint_of
from cas.archive.record import File, Info
from cas.choices import UNFINISHED, Fetch, Presence, Verdict
from cas.commands import World
from cas.commands.auto_analyzers import run_auto_analyzers
from cas.engines.drgn.prestart import prestarted
from cas.errors import CasError
from cas.files.whole import writing_below
from cas.jobs.job import Job, load_job
from cas.jobs.order import Order
from cas.model.archived import Comparison, Constraint, Selection
from cas.progress import Progress
from cas.triage.uploading import Uploader


def incomplete(archive: Archive) -> Iterator[tuple[Info, File, Job | None]]:
    """Crashes with an upload whose answer is not complete, its file, and what is recorded of it.

    :raises TryAgain: the database is of no use now
    """
    for verdict in sorted(UNFINISHED):
        named = Selection((Constraint("verdict", Comparison.EQUAL, verdict),))
        for line in archive.store.crashes.lines(named):
            with suppress(CasError):  # which is said where it is asked for
                info = archive.read(line.id)
                answer, best = archive.answer_of(info), info.best_file
                is_of_job = answer is None and bool(info.jobs)
                is_here = archive.presence_of(info) is Presence.HERE
                if best and is_here and not is_of_job and best.at is None:
                    yield info, best, load_job(answer) if answer else None


def complete(info: Info, file: File, archive: Archive, world: World, told: Progress) -> Verdict:
    """Look at the file of a crash once more; the verdict.

    :raises CasError: that cannot be, or not now
    """
    with writing_below(archive.path):
        stored = incoming.reference_to(archive, info.id, fingerprint_of(file))
    order = Order(incoming.NAME, stored.vmcore, fetch=Fetch.ALL)
    now = datetime.now(world.now.tzinfo)
    with (
        prestarted(world.config) as opened,
        incoming.new_upload(archive, order, now, stored) as job,
    ):
        again = f"cas upload {stored.vmcore}"
        done = Uploader(archive, world.config, told, opened, again).upload(job)
    run_auto_analyzers(done.report, world)
    return done.report.verdict

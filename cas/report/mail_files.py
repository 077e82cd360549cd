"""Files of a job that are its mail; whoever only asks which there are loads nothing that sends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cas.jobs.work_directory import WorkDirectory, is_regular

WAITING = "mail.eml"
SENT = "mail.sent.eml"
REFUSED = "mail.refused.eml"


def waiting_mails(work: WorkDirectory) -> Iterator[Path]:
    """Directories of our jobs in which a mail waits."""
    return (directory for directory in work.jobs() if is_regular(directory / WAITING))

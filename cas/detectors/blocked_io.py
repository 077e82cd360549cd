"""Tasks that wait for a disk or a file system."""

from __future__ import annotations

from collections.abc import Collection

from cas.detectors.case import Case, KernelTask

MAX_LOOKED_AT = 60
IO = frozenset(
    {
        "io_schedule",
        "io_schedule_timeout",
        "submit_bio_wait",
        "blk_mq_get_tag",
        "blk_execute_rq",
        "wait_on_buffer",
        "__wait_on_buffer",
        "wait_on_page_bit",
        "folio_wait_bit",
        "folio_wait_bit_common",
        "folio_wait_writeback",
        "xfs_buf_iowait",
        "jbd2_log_wait_commit",
        "rq_qos_wait",
    }
)
"""Functions in which a task waits for a disk."""


def waiting_for_io(case: Case) -> KernelTask | None:
    """A task in uninterruptible sleep that waits for a disk; ``None``: none was found."""
    return waiting_in(case, IO)


def waiting_in(case: Case, functions: Collection[str]) -> KernelTask | None:
    """A task in uninterruptible sleep in one of these functions; ``None``: none was found."""
    for number, seen in enumerate(case.tasks("D")):
        if number >= MAX_LOOKED_AT:
            return None
        frames = case.backtrace(seen.task)
        if any(frame.function.partition(".")[0] in functions for frame in frames):
            return seen
    return None

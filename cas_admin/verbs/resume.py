"""``cas-admin resume``: go on with unfinished jobs, and with unsent mail."""

from __future__ import annotations

import argparse

from cas.commands import Output, World

PLACE = 3
HELP = "go on with unfinished jobs, send mails that could not be sent"
EXAMPLE = "cas-admin resume goes on with all jobs; with one: cas -i TICKET"


def arguments(parser: argparse.ArgumentParser) -> None:
    """There are none."""


def run(options: argparse.Namespace, world: World) -> Output:
    """Go on with every job that waits for a kernel that may have come, or was stopped on its way.

    :return: status 6 while some are left
    """
    from cas_admin.unfinished import go_on_with_jobs

    return (yield from go_on_with_jobs(world))

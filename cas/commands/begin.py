"""``cas -i ID …``: drgn's process is started first, and gets ready while we import the rest."""

from __future__ import annotations

from cas.commands.invocation import Output, World
from cas.engines.drgn.prestart import prestarted
from cas.jobs.order import Order


def submit_upload(order: Order, world: World) -> Output:
    """Start a job; nothing is created when its order cannot be carried out.

    :raises CasError: the ticket, the file or the address is of no use
    """
    with prestarted(world.config) as opened:
        from cas.triage.opened_ahead import open_ahead

        open_ahead(order, world.config, lambda found: opened.worker.open_ahead(*found))
        from cas.commands.submit import run_new_job

        return (yield from run_new_job(order, world, opened))


def resume_ticket(order: Order, world: World) -> Output:
    """Go on with the ticket's newest job that has not come to its end.

    :param order: its address, modules and engine are added to what was asked before
    :raises UsageError: there is none
    """
    from cas.commands.submit import resume_job

    return (yield from resume_job(order, world))

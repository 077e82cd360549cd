"""``cas-admin sweep``: dumps that lie on registered hosts, into the archive."""

from __future__ import annotations

import argparse

from cas.commands import Output, World

PLACE = 12
HELP = "look for dumps on registered hosts, and fetch what the archive lacks"
EXAMPLE = "cas-admin sweep --fetch"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    text = "a registered host (default: all that are registered to be swept)"
    parser.add_argument("hosts", metavar="HOST", nargs="*", help=text)
    which = parser.add_mutually_exclusive_group()
    text = "fetch what is missing; without it nothing is changed, and what is missing is listed"
    which.add_argument("--fetch", action="store_true", help=text)
    text = "only list what is missing, which is what happens without --fetch, too"
    which.add_argument("-n", "--dry-run", dest="only_list", action="store_true", help=text)
    parser.add_argument("--json", action="store_true", help="print what came of it as JSON")


def run(options: argparse.Namespace, world: World) -> Output:
    """Sweep hosts side by side, then give what was fetched its first answers.

    :return: a line for each file that is or was missing, and one for each host; status 1 when one
        of them could not be swept to its end
    :raises HostNotRegistered: a name is none of a host that is swept
    """
    from cas_admin.sweeping import Sweeping

    sweeping = Sweeping(world, fetches=options.fetch, as_json=options.json)
    return (yield from sweeping.run(options.hosts))

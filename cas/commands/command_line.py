"""What the command line of ``cas`` means."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from cas.commands.asked import Asked, Parser, common_options, interval_options, verb_options
from cas.config import INTERVALS
from cas.job import Order

CLASSIC = ("identifier", "file", "member", "email", "modules", "engine", *INTERVALS)
"""The options of the form without a verb."""


def parser() -> argparse.ArgumentParser:
    """The command line of ``cas``; a test compares it with cas(1)."""
    cas = Parser(
        prog="cas",
        description="Find out why a kernel crashed, from its dump.",
        epilog="`cas -i ID` without -f goes on with the ticket's job that has not ended.",
    )
    cas.add_argument("-i", "--identifier", metavar="ID", help="the ticket that the core belongs to")
    text = "the dump, packed or not, or its URL; several for the parts of a split dump"
    cas.add_argument("-f", "--file", metavar="FILE", action="append", help=text)
    cas.add_argument("--member", metavar="NAME", help="the dump to take from an archive of several")
    cas.add_argument("-e", "--email", metavar="EMAIL", help="mail the results to this address")
    cas.add_argument(
        "-m", "--modules", action="store_true", help="extract the debuginfo of loaded modules"
    )
    cas.add_argument("--engine", choices=("auto", "crash", "drgn"), help="what runs the snippets")
    interval_options(cas)
    common_options(cas)
    verbs = cas.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    identify = verbs.add_parser("identify", help="tell what a dump says about itself")
    identify.add_argument("dump", metavar="FILE", type=Path, help="an unpacked dump")
    identify.add_argument("--json", action="store_true", help="print everything, as JSON")
    verb_options(identify)
    return cas


def parse(argv: Sequence[str]) -> Asked:
    """What ``cas`` is asked to do; exits with status 2 on a wrong command line."""
    cas = parser()
    arguments = cas.parse_args(argv)
    if arguments.verb == "identify":
        if any(getattr(arguments, name) for name in CLASSIC):
            cas.error("the verb identify takes no options of a job")
        from cas.commands.identify import identify

        command = partial(identify, arguments.dump, as_json=arguments.json)
        return Asked(command, arguments.config, arguments.debug)
    if not arguments.identifier:
        cas.error("-i ID is needed: the ticket that the results belong to")
    from cas.commands.submit import resume, submit

    action = submit if arguments.file else resume
    times = {key: value for key in INTERVALS if (value := getattr(arguments, key))}
    return Asked(partial(action, _order(arguments)), arguments.config, arguments.debug, times)


def _order(arguments: argparse.Namespace) -> Order:
    first, *more = arguments.file or [""]
    is_url = _is_url(first)
    return Order(
        arguments.identifier,
        Path() if is_url else Path(first),
        arguments.email,
        arguments.modules,
        arguments.engine,
        arguments.member,
        tuple(map(Path, more)),
        first if is_url else None,
    )


def _is_url(text: str) -> bool:
    if "://" not in text:  # spares most runs an import
        return False
    from cas.intake.url import is_url

    return is_url(text)

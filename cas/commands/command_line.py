"""What the command line of ``cas`` means."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from cas.commands.asked import (
    Answer,
    Asked,
    Parser,
    World,
    asked_versions,
    common_options,
    interval_options,
    verb_options,
)
from cas.config import INTERVALS
from cas.errors import UsageError
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
    _debug_options(verbs.add_parser("debug", help="open a debugger on a job's dump"))
    text = "tell what a job's crash is called, and why"
    signature = verbs.add_parser("signature", help=text)
    text = "a ticket, TICKET/STAMP or a job directory"
    signature.add_argument("spec", metavar="SPEC", help=text)
    signature.add_argument("--json", action="store_true", help="print everything, as JSON")
    verb_options(signature)
    return cas


def _debug_options(debug: argparse.ArgumentParser) -> None:
    text = "a ticket, TICKET/STAMP or a job directory"
    debug.add_argument("spec", metavar="SPEC", help=text)
    text = "which debugger"
    debug.add_argument("--engine", dest="debugger", choices=("auto", "crash", "drgn"), help=text)
    text = "run COMMAND and exit; several in their order"
    debug.add_argument(
        "-c", "--command", dest="inputs", metavar="COMMAND", action="append", help=text
    )
    text = "run the commands of FILE and exit"
    debug.add_argument(
        "-x", "--script", dest="inputs", metavar="FILE", type=Path, action="append", help=text
    )
    text = "use this vmlinux instead of the one that is found"
    debug.add_argument("--kernel", metavar="FILE", type=Path, help=text)
    text = "use it even if it is another kernel's, and a dump that was changed"
    debug.add_argument("--force", action="store_true", help=text)
    debug.add_argument("--host", metavar="NAME", help="run crash on this analysis host")
    verb_options(debug)


def parse(argv: Sequence[str]) -> Asked:
    """What ``cas`` is asked to do; exits with status 2 on a wrong command line."""
    cas = parser()
    arguments = cas.parse_args(argv)
    if arguments.version:
        return asked_versions(arguments, cas.prog)
    if arguments.verb:
        if any(getattr(arguments, name) for name in CLASSIC):
            cas.error(f"the verb {arguments.verb} takes no options of a job")
        command = _verb(arguments, cas)
        is_read_only = arguments.verb == "identify"
        return Asked(command, arguments.config, arguments.debug, stays_root=is_read_only)
    if not arguments.identifier:
        cas.error("-i ID is needed: the ticket that the results belong to")
    from cas.commands.submit import resume, submit

    action = submit if arguments.file else resume
    times = {key: value for key in INTERVALS if (value := getattr(arguments, key))}
    order = _order(arguments)
    uploads = () if order.url or not arguments.file else (order.upload, *order.more)
    return Asked(partial(action, order), arguments.config, arguments.debug, times, tuple(uploads))


def _verb(arguments: argparse.Namespace, cas: argparse.ArgumentParser) -> Callable[[World], Answer]:
    if arguments.verb == "identify":
        from cas.commands.identify import identify

        is_url = re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", str(arguments.dump))
        if is_url and not arguments.dump.exists():
            raise UsageError("identify reads a file, no URL: fetch it first")
        return partial(identify, arguments.dump, as_json=arguments.json)
    if arguments.verb == "signature":
        from cas.commands.signature import signature

        return partial(signature, arguments.spec, as_json=arguments.json)
    from cas.commands.debug import DebugOrder, debug

    order = DebugOrder(
        arguments.spec,
        arguments.debugger,
        tuple(arguments.inputs or ()),
        arguments.kernel,
        arguments.force,
        arguments.host,
    )
    return partial(debug, order)


def _order(arguments: argparse.Namespace) -> Order:
    first, *more = arguments.file or [""]
    is_url = _is_url(first)
    if any(map(_is_url, more)):
        raise UsageError("parts of a split dump cannot be fetched: give files")
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

"""What the command line of ``cas`` means."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from cas.choices import EngineChoice, Fetch
from cas.commands.invocation import (
    Asked,
    Once,
    Parser,
    WrongCommand,
    common_options,
    engine_choice,
    file_of,
    interval_options,
)
from cas.commands.verb import VERBS, add_verbs, asked_verb, load_verb
from cas.commands.versions import asked_versions
from cas.errors import UsageError
from cas.jobs.order import PIPE, Order
from cas.jobs.work_directory import is_ticket
from cas.settings.config import INTERVALS

CLASSIC = (
    "identifier",
    "file",
    "member",
    "take",
    "email",
    "modules",
    "engine",
    "fetch",
    "quiet",
    *INTERVALS,
)
"""The options of the form without a verb."""


def parser() -> argparse.ArgumentParser:
    """The command line of ``cas``; a test compares it with cas(1)."""
    cas = Parser(
        prog="cas",
        description="Find out why a kernel crashed, from its dump.",
        epilog="For example: cas -i T-1234 -f vmcore.xz. "
        "`cas -i ID` without -f goes on with the ticket's job that has not ended.",
    )
    text = "the ticket that the core belongs to"
    cas.add_argument("-i", "--identifier", metavar="ID", action=Once, help=text)
    text = "the dump, packed or not, or its URL; several for the parts of a split dump"
    cas.add_argument("-f", "--file", metavar="FILE", action="append", help=text)
    text = "the dump to take from an archive of several"
    cas.add_argument("--member", metavar="NAME", action=Once, help=text)
    text = "move a plain dump into the job instead of copying it"
    cas.add_argument("--take", action="store_true", help=text)
    text = "mail the results to this address"
    cas.add_argument("-e", "--email", metavar="EMAIL", action=Once, help=text)
    cas.add_argument(
        "-m", "--modules", action="store_true", help="extract the debuginfo of loaded modules"
    )
    cas.add_argument(
        "--engine", choices=[each.value for each in EngineChoice], help="what runs the snippets"
    )
    text = "of a dump on a server: all, or what the first answer takes"
    cas.add_argument("--fetch", choices=[each.value for each in Fetch], help=text)
    text = "say nothing but what stopped the job; its log has everything"
    cas.add_argument("-q", "--quiet", action="store_true", help=text)
    interval_options(cas)
    common_options(cas)
    add_verbs(cas, VERBS)
    return cas


def parse(argv: Sequence[str]) -> Asked:
    """What ``cas`` is asked to do.

    :raises UsageError: nothing that is understood; the hint is the command that was meant
    """
    cas, argv = parser(), asked_for_help(argv)
    try:
        return _verb_or_job(*cas.parse_known_args(argv), cas)
    except WrongCommand as error:
        from cas.commands.habits import HABITS
        from cas.commands.mistakes import explain_mistake

        raise explain_mistake(argv, cas, error, HABITS) from None


def asked_for_help(argv: Sequence[str]) -> Sequence[str]:
    """The command line, where ``help VERB`` means ``VERB --help``."""
    return [*argv[1:], "--help"] if argv[:1] == ["help"] else argv


def _verb_or_job(
    arguments: argparse.Namespace, unknown: Sequence[str], cas: argparse.ArgumentParser
) -> Asked:
    verb = load_verb(VERBS, arguments.verb) if arguments.verb else None
    if unknown and not (verb and verb.take_others(arguments, unknown)):
        cas.error(f"unrecognized arguments: {' '.join(unknown)}")
    if arguments.version:
        return asked_versions(arguments, cas.prog)
    if verb:
        if any(getattr(arguments, name) for name in CLASSIC):
            cas.error(f"the verb {arguments.verb} takes no options of a job")
        return asked_verb(verb, arguments)
    ticket, files = arguments.identifier, arguments.file or []
    if "" in (ticket, *files):
        option = "-i" if ticket == "" else "-f"
        raise UsageError(
            f"the word behind {option} is empty", hint="is the variable set that stands there?"
        )
    if ticket is None:
        from cas.commands.habits import not_asked

        raise not_asked(files)
    if not is_ticket(ticket):
        from cas.commands.habits import no_ticket

        no_ticket(ticket)
    from cas.commands.begin import resume_ticket, submit_upload

    action = submit_upload if arguments.file else resume_ticket
    times = {key: value for key in INTERVALS if (value := getattr(arguments, key))}
    order = _job_order(arguments)
    files = (order.upload, *order.more)
    is_elsewhere = order.url or not arguments.file or PIPE in files
    uploads = () if is_elsewhere else files
    command = partial(action, order)
    return Asked(
        command, arguments.config, arguments.debug, times, tuple(uploads), quiet=arguments.quiet
    )


def _job_order(arguments: argparse.Namespace) -> Order:
    first, *more = arguments.file or [""]
    is_url = _is_url(first)
    if any(map(_is_url, more)):
        raise UsageError("parts of a split dump cannot be fetched: give files")
    twice = next((name for name in more if more.count(name) > 1 or name == first), None)
    if twice is not None:
        raise UsageError(
            f"{twice} is given twice", hint="-f once for one dump; several are the parts of one"
        )
    if arguments.take and (is_url or first in ("", "-")):
        raise UsageError(
            "--take moves a file into the job, and none is given",
            hint=f"for example: cas -i {arguments.identifier} -f FILE --take",
        )
    return Order(
        arguments.identifier,
        Path() if is_url else file_of(first),
        arguments.email,
        arguments.modules,
        engine_choice(arguments.engine),
        arguments.member,
        tuple(map(file_of, more)),
        arguments.take,
        first if is_url else None,
        Fetch(arguments.fetch) if arguments.fetch else None,
    )


def _is_url(text: str) -> bool:
    if "://" not in text:  # spares most runs an import
        return False
    from cas.fetch.url import is_url

    return is_url(text)

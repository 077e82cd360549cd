"""What the command line of ``cas`` means."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from cas.choices import EngineChoice
from cas.commands import debug_options
from cas.commands.invocation import (
    Answer,
    Asked,
    Once,
    Parser,
    World,
    WrongCommand,
    common_options,
    interval_options,
    verb_options,
)
from cas.commands.versions import asked_versions
from cas.errors import UsageError
from cas.files.whole import is_there
from cas.jobs.job import Order
from cas.jobs.work_directory import is_ticket
from cas.settings.config import INTERVALS

CLASSIC = ("identifier", "file", "member", "email", "modules", "engine", "quiet", *INTERVALS)
"""The options of the form without a verb."""
ALIKE = 0.8
"""How alike an option of ours must be to what crash may know; crash's own are less."""


def parser() -> argparse.ArgumentParser:
    """The command line of ``cas``; a test compares it with cas(1)."""
    cas = Parser(
        prog="cas",
        description="Find out why a kernel crashed, from its dump.",
        epilog="`cas -i ID` without -f goes on with the ticket's job that has not ended.",
    )
    text = "the ticket that the core belongs to"
    cas.add_argument("-i", "--identifier", metavar="ID", action=Once, help=text)
    text = "the dump, packed or not, or its URL; several for the parts of a split dump"
    cas.add_argument("-f", "--file", metavar="FILE", action="append", help=text)
    text = "the dump to take from an archive of several"
    cas.add_argument("--member", metavar="NAME", action=Once, help=text)
    text = "mail the results to this address"
    cas.add_argument("-e", "--email", metavar="EMAIL", action=Once, help=text)
    cas.add_argument(
        "-m", "--modules", action="store_true", help="extract the debuginfo of loaded modules"
    )
    cas.add_argument(
        "--engine", choices=[each.value for each in EngineChoice], help="what runs the snippets"
    )
    text = "say nothing but what stopped the job; its log has everything"
    cas.add_argument("-q", "--quiet", action="store_true", help=text)
    interval_options(cas)
    common_options(cas)
    verbs = cas.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    identify = verbs.add_parser("identify", help="tell what a dump says about itself")
    identify.add_argument("dump", metavar="FILE", type=file_of, help="the dump, packed or not")
    text = "the dump to take from an archive of several"
    identify.add_argument("--member", dest="chosen", metavar="NAME", help=text)
    identify.add_argument("--json", action="store_true", help="print everything, as JSON")
    verb_options(identify)
    debug_options.add_options(verbs)
    text = "tell what a job's crash is called, and why"
    signature = verbs.add_parser("signature", help=text)
    text = "a ticket, TICKET/STAMP, TICKET/latest or a job directory"
    signature.add_argument("spec", metavar="SPEC", help=text)
    signature.add_argument("--json", action="store_true", help="print everything, as JSON")
    verb_options(signature)
    return cas


def parse(argv: Sequence[str]) -> Asked:
    """What ``cas`` is asked to do.

    :raises UsageError: nothing that is understood; the hint is the command that was meant
    """
    cas, argv = parser(), asked_for_help(argv)
    try:
        return _asked(*cas.parse_known_args(argv), cas)
    except WrongCommand as error:
        from cas.commands.habits import HABITS
        from cas.commands.mistakes import explained

        raise explained(argv, cas, error, HABITS) from None


def asked_for_help(argv: Sequence[str]) -> Sequence[str]:
    """The command line, where ``help VERB`` means ``VERB --help``."""
    return [*argv[1:], "--help"] if argv[:1] == ["help"] else argv


def _asked(
    arguments: argparse.Namespace, unknown: Sequence[str], cas: argparse.ArgumentParser
) -> Asked:
    # the other options of `debug` are crash's
    if unknown and (arguments.verb != "debug" or _is_misspelt(unknown, cas)):
        cas.error(f"unrecognized arguments: {' '.join(unknown)}")
    if arguments.version:
        return asked_versions(arguments, cas.prog)
    if arguments.verb:
        if any(getattr(arguments, name) for name in CLASSIC):
            cas.error(f"the verb {arguments.verb} takes no options of a job")
        command = _verb(arguments, unknown)
        packed = [arguments.dump] if arguments.verb == "identify" and _packed(arguments) else []
        is_read_only = arguments.verb == "identify" and not packed
        return Asked(
            command,
            arguments.config,
            arguments.debug,
            uploads=tuple(packed),
            stays_root=is_read_only,
        )
    _require_ticket(arguments)
    from cas.commands.submit import resume, submit

    action = submit if arguments.file else resume
    times = {key: value for key in INTERVALS if (value := getattr(arguments, key))}
    order = _order(arguments)
    uploads = () if order.url or not arguments.file else (order.upload, *order.more)
    command = partial(action, order)
    return Asked(
        command, arguments.config, arguments.debug, times, tuple(uploads), quiet=arguments.quiet
    )


def _packed(arguments: argparse.Namespace) -> bool:
    """Whether a file must be unpacked, which is not for root to do."""
    from cas.dump import kind_of
    from cas.intake import is_plain

    with suppress(OSError):
        return arguments.dump.is_file() and not is_plain(arguments.dump, kind_of)
    return False


def _is_misspelt(unknown: Sequence[str], cas: argparse.ArgumentParser) -> bool:
    """Whether an option that ``cas debug`` does not know is one of its own, but for a letter."""
    from cas.commands.mistakes import near, options_of, verbs_of

    own = [option for option in options_of(verbs_of(cas)["debug"]) if option.startswith("--")]
    words = (word.partition("=")[0] for word in unknown if word.startswith("--"))
    return any(near(word, own, ALIKE) is not None for word in words)


def _require_ticket(arguments: argparse.Namespace) -> None:
    """:raises UsageError: there is none, or something else in its place"""
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


def _verb(arguments: argparse.Namespace, unknown: Sequence[str]) -> Callable[[World], Answer]:
    if arguments.verb == "identify":
        from cas.commands.identify import Subject, identify

        is_url = re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", str(arguments.dump))
        if is_url and not is_there(arguments.dump):
            raise UsageError(
                "identify reads a file, no URL", hint="fetch it first, or: cas -i TICKET -f URL"
            )
        subject = Subject(arguments.dump, arguments.chosen)
        return partial(identify, subject, as_json=arguments.json)
    if arguments.verb == "signature":
        from cas.commands.signature import signature

        return partial(signature, arguments.spec, as_json=arguments.json)
    from cas.commands.debug import DebugOrder, debug

    order = DebugOrder(
        arguments.spec,
        _engine(arguments.debugger),
        tuple(arguments.inputs or ()),
        arguments.kernel,
        arguments.force,
        arguments.host,
        debug_options.for_crash(unknown),
    )
    return partial(debug, order)


def _order(arguments: argparse.Namespace) -> Order:
    first, *more = arguments.file or [""]
    is_url = _is_url(first)
    if any(map(_is_url, more)):
        raise UsageError("parts of a split dump cannot be fetched: give files")
    twice = next((name for name in more if more.count(name) > 1 or name == first), None)
    if twice is not None:
        raise UsageError(
            f"{twice} is given twice", hint="-f once for one dump; several are the parts of one"
        )
    return Order(
        arguments.identifier,
        Path() if is_url else file_of(first),
        arguments.email,
        arguments.modules,
        _engine(arguments.engine),
        arguments.member,
        tuple(map(file_of, more)),
        first if is_url else None,
    )


def _engine(word: str | None) -> EngineChoice | None:
    return None if word is None else EngineChoice(word)


def file_of(text: str) -> Path:
    """The file that is meant; a shell leaves ``~`` as it is behind ``--file=`` and in quotes."""
    path = Path(text)
    if text.startswith("~") and not is_there(path):
        with suppress(RuntimeError):  # there is no such user
            return path.expanduser()
    return path


def _is_url(text: str) -> bool:
    if "://" not in text:  # spares most runs an import
        return False
    from cas.fetch.url import is_url

    return is_url(text)

"""The command line of ``cas-admin``: the original's flags and the same as sub-commands."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from cas.commands import (
    Answer,
    Asked,
    Parser,
    World,
    asked_versions,
    common_options,
    verb_options,
)
from cas.commands.command_line import asked_for_help
from cas.commands.invocation import WrongCommand
from cas.errors import UsageError

WATCH_S = 300.0
"""From the end of one build to the next, where nobody says another time."""
WATCH_LIMIT_S = 7 * 86400
_PLAIN_VERBS = (
    ("resume", "go on with unfinished jobs, send mails that could not be sent"),
    ("index", "enter every job directory into the database again"),
)


def parser() -> argparse.ArgumentParser:
    """The command line of ``cas-admin``; a test compares it with cas-admin(8)."""
    admin = Parser(prog="cas-admin", description="Maintain the Core Analysis System.")
    what = admin.add_mutually_exclusive_group()
    what.add_argument(
        "-b", "--build", action="store_true", help="catalogue the kernel-debuginfo packages"
    )
    what.add_argument("-p", "--purge", action="store_true", help="remove old jobs")
    what.add_argument(
        "-s", "--server", action="store_true", help="register the analysis hosts of known_hosts"
    )
    _build_options(admin)
    _purge_options(admin)
    # on the program only: a verb's defaults would hide what stands before the verb
    admin.set_defaults(days=None, yes=False, dry_run=False, unfinished=False, watch=None)
    common_options(admin)
    _verbs(admin.add_subparsers(dest="verb", metavar="VERB", title="verbs"))
    return admin


def parse(argv: Sequence[str]) -> Asked:
    """What ``cas-admin`` is asked to do.

    :raises WrongCommand: nothing that is understood; the hint is the command that was meant
    """
    admin, argv = parser(), asked_for_help(argv)
    try:
        return _asked(admin.parse_args(argv))
    except WrongCommand as error:
        from cas.commands.mistakes import explained
        from cas_admin.habits import HABITS

        raise explained(argv, admin, error, HABITS) from None


def _asked(arguments: argparse.Namespace) -> Asked:
    if arguments.version:
        return asked_versions(arguments, "cas-admin")
    asked = {flag: getattr(arguments, flag) for flag in ("build", "purge", "server")}
    asked[arguments.verb] = arguments.verb
    wanted = [name for name, is_asked in asked.items() if is_asked]
    if len(wanted) > 1:
        said = f"one thing at a time, not {' and '.join(wanted)}"
        raise UsageError(said, hint="give one command after the other")
    if wanted != ["purge"] and _asks_purge(arguments):
        days = "" if arguments.days is None else f" -d {arguments.days}"
        raise UsageError(
            "-d, -y, -n and --unfinished belong to a purge", hint=f"cas-admin -p{days}"
        )
    if wanted != ["build"] and arguments.watch is not None:
        raise UsageError("--watch belongs to a build", hint="cas-admin -b --watch")
    if not wanted:
        from cas_admin.habits import HABITS

        raise UsageError("nothing was asked for", hint=HABITS.examples[""])
    return Asked(_COMMANDS[wanted[0]](arguments), arguments.config, arguments.debug)


def _build(arguments: argparse.Namespace) -> Callable[[World], Answer]:
    if arguments.watch is not None:
        from cas_admin.watch import watch

        return partial(watch, arguments.watch, tells_all=arguments.debug)
    from cas_admin.build import build

    return build


def _purge(arguments: argparse.Namespace) -> Callable[[World], Answer]:
    from cas_admin.purge import Choice, purge

    choice = Choice(arguments.days, arguments.unfinished)
    return partial(purge, choice, sure=arguments.yes, only_list=arguments.dry_run)


def _asks_purge(arguments: argparse.Namespace) -> bool:
    flags = (arguments.yes, arguments.dry_run, arguments.unfinished)
    return arguments.days is not None or any(flags)


def _resume(arguments: argparse.Namespace) -> Callable[[World], Answer]:
    from cas_admin.resume import resume

    return resume


def _index(arguments: argparse.Namespace) -> Callable[[World], Answer]:
    from cas_admin.index import index

    return index


def _reprocess(arguments: argparse.Namespace) -> Callable[[World], Answer]:
    from cas_admin.reprocess import reprocess

    return partial(reprocess, arguments.spec, only_list=arguments.only_list)


def _check(arguments: argparse.Namespace) -> Callable[[World], Answer]:
    from cas_admin.check import check

    return partial(check, quick=arguments.quick, as_json=arguments.json)


def _status(arguments: argparse.Namespace) -> Callable[[World], Answer]:
    from cas_admin.status import status

    return partial(status, as_json=arguments.json)


def _kernels(arguments: argparse.Namespace) -> Callable[[World], Answer]:
    from cas_admin.kernels import kernels

    return partial(kernels, arguments.pattern, as_json=arguments.json)


def _known(arguments: argparse.Namespace) -> Callable[[World], Answer]:
    from cas_admin import known

    if arguments.test is not None:
        return partial(known.tried, arguments.test, as_json=arguments.json)
    return partial(known.listed, as_json=arguments.json)


def _cache(arguments: argparse.Namespace) -> Callable[[World], Answer]:
    from cas_admin import cache

    if arguments.action == "list":
        return partial(cache.listed, as_json=arguments.json)
    if arguments.action == "clean":
        return partial(cache.clean, only_list=arguments.only_list)
    return partial(cache.verify, as_json=arguments.json, repair=arguments.repair)


def _host(arguments: argparse.Namespace) -> Callable[[World], Answer]:
    from cas_admin import host

    if arguments.server:
        return host.search
    if arguments.action == "add":
        return partial(host.add, arguments.name)
    if arguments.action == "list":
        return partial(host.listed, as_json=arguments.json)
    if arguments.action == "check":
        return partial(host.check, arguments.names, as_json=arguments.json)
    if arguments.action == "remove":
        return partial(host.remove, arguments.names)
    return partial(host.enable, arguments.names, is_enabled=arguments.action == "enable")


_COMMANDS: dict[str, Callable[[argparse.Namespace], Callable[[World], Answer]]] = {
    "build": _build,
    "purge": _purge,
    "server": _host,
    "resume": _resume,
    "index": _index,
    "reprocess": _reprocess,
    "check": _check,
    "status": _status,
    "kernels": _kernels,
    "known": _known,
    "cache": _cache,
    "host": _host,
}
"""What each flag and verb means; only the module of the one that is asked for is imported."""


def _verbs(verbs: argparse._SubParsersAction[Parser]) -> None:
    build = verbs.add_parser("build", help="the same as -b")
    _build_options(build)
    verb_options(build)
    purge = verbs.add_parser("purge", help="the same as -p")
    _purge_options(purge)
    verb_options(purge)
    for name, text in _PLAIN_VERBS:
        verb_options(verbs.add_parser(name, help=text))
    check = verbs.add_parser("check", help="verify jobs, database, packages and extracted kernels")
    check.add_argument("--quick", action="store_true", help="compare sizes, not contents")
    check.add_argument("--json", action="store_true", help="print the flaws as JSON")
    verb_options(check)
    status = verbs.add_parser("status", help="show what is catalogued, kept, waiting and wrong")
    status.add_argument("--json", action="store_true", help="print everything as JSON")
    verb_options(status)
    text = "judge kept jobs by the rules of this release, without a debugger"
    anew = verbs.add_parser("reprocess", help=text)
    text = "a ticket, TICKET/STAMP or the path of a job directory (default: all)"
    anew.add_argument("spec", metavar="SPEC", nargs="?", default="all", help=text)
    text = "only list what would change"
    anew.add_argument("-n", "--dry-run", dest="only_list", action="store_true", help=text)
    verb_options(anew)
    kernels = verbs.add_parser("kernels", help="list the kernels in the catalogue")
    text = "of a release or of a package's name, or the beginning of a build-id"
    kernels.add_argument("pattern", metavar="PATTERN", nargs="?", help=text)
    kernels.add_argument("--json", action="store_true", help="print everything as JSON")
    verb_options(kernels)
    known = verbs.add_parser("known", help="list the known issues, and what is wrong with them")
    text = "which past jobs the known issues of a file or directory would match"
    known.add_argument("--test", metavar="FILE", type=Path, help=text)
    known.add_argument("--json", action="store_true", help="print everything as JSON")
    verb_options(known)
    _cache_verbs(verbs.add_parser("cache", help="look after the extracted kernels"))
    _host_verbs(verbs.add_parser("host", help="register, check and remove analysis hosts"))


def _cache_verbs(cache: argparse.ArgumentParser) -> None:
    verb_options(cache)
    actions = cache.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True)
    for name, text in (
        ("list", "show the extracted kernels, and what they take"),
        ("clean", "remove what is beyond the limits and not in use"),
        ("verify", "read every file again and compare its digest"),
    ):
        action = actions.add_parser(name, help=text)
        if name == "clean":
            action.add_argument(
                "-n",
                "--dry-run",
                dest="only_list",
                action="store_true",
                help="only list what would go",
            )
        else:
            action.add_argument("--json", action="store_true", help="print everything as JSON")
        if name == "verify":
            action.add_argument(
                "--repair", action="store_true", help="remove what is wrong and not in use"
            )
        verb_options(action)


def _host_verbs(host: argparse.ArgumentParser) -> None:
    verb_options(host)
    actions = host.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True)
    add = actions.add_parser("add", help="register a host on which cas can log in")
    add.add_argument("name", metavar="HOST")
    verb_options(add)
    for name, text in (
        ("list", "show the registered hosts"),
        ("check", "ask hosts how they are, all side by side"),
        ("disable", "let no job use a host"),
        ("enable", "let jobs use a host again"),
        ("remove", "forget a host"),
    ):
        action = actions.add_parser(name, help=text)
        if name != "list":
            many = "*" if name == "check" else "+"
            action.add_argument("names", metavar="HOST", nargs=many)
        if name in ("list", "check"):
            action.add_argument("--json", action="store_true", help="print everything as JSON")
        verb_options(action)


def _build_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--watch",
        metavar="SECONDS",
        type=_seconds,
        nargs="?",
        const=WATCH_S,
        default=argparse.SUPPRESS,
        help=f"with build: go on, and build again after so long (default: {WATCH_S:.0f})",
    )


def _purge_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-d",
        "--days",
        metavar="DAYS",
        type=_days,
        default=argparse.SUPPRESS,
        help="with purge: remove jobs older than this (default: purgeLimit of cas.conf)",
    )
    for flags, text in (
        (("-y", "--yes"), "with purge: do not ask"),
        (("-n", "--dry-run"), "with purge: only list what would go"),
        (("--unfinished",), "with purge: also jobs that wait, were stopped, or have unsent mail"),
    ):
        parser.add_argument(*flags, action="store_true", default=argparse.SUPPRESS, help=text)


def _days(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days")
    return int(text)


def _seconds(text: str) -> float:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= WATCH_LIMIT_S:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of seconds from 1 to {WATCH_LIMIT_S}"
        )
    return float(text)

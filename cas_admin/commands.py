"""The command line of ``cas-admin``: the original's flags and the same as sub-commands."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial

from cas.commands import Asked, common_options


def parser() -> argparse.ArgumentParser:
    """The command line of ``cas-admin``; a test compares it with cas-admin(8)."""
    admin = argparse.ArgumentParser(
        prog="cas-admin", description="Maintain the Core Analysis System."
    )
    what = admin.add_mutually_exclusive_group()
    what.add_argument(
        "-b", "--build", action="store_true", help="catalogue the kernel-debuginfo packages"
    )
    what.add_argument("-p", "--purge", action="store_true", help="remove old jobs")
    _purge_options(admin)
    common_options(admin)
    verbs = admin.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    verbs.add_parser("build", help="the same as -b")
    _purge_options(verbs.add_parser("purge", help="the same as -p"))
    verbs.add_parser("resume", help="go on with waiting jobs, send mails that could not be sent")
    return admin


def parse(argv: Sequence[str]) -> Asked:
    """What ``cas-admin`` is asked to do; exits with status 2 on a wrong command line."""
    admin = parser()
    arguments = admin.parse_args(argv)
    verb = arguments.verb or ("build" if arguments.build else "purge" if arguments.purge else None)
    if verb == "build":
        from cas_admin.build import build

        return Asked(build, arguments.config, arguments.debug)
    if verb == "purge":
        from cas_admin.purge import purge

        command = partial(purge, arguments.days, sure=arguments.yes, only_list=arguments.dry_run)
        return Asked(command, arguments.config, arguments.debug)
    if verb == "resume":
        from cas_admin.resume import resume

        return Asked(resume, arguments.config, arguments.debug)
    admin.error("say what to do: -b, -p or a verb")


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
    ):
        parser.add_argument(*flags, action="store_true", default=argparse.SUPPRESS, help=text)
    parser.set_defaults(days=None, yes=False, dry_run=False)


def _days(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days")
    return int(text)

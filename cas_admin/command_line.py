"""The command line of ``cas-admin``: the original's flags and the same as verbs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from cas.commands import Asked, Parser, asked_versions, common_options
from cas.commands.command_line import asked_for_help
from cas.commands.invocation import WrongCommand
from cas.commands.verb import ADMIN_VERBS, add_verbs, asked_verb, load_verb
from cas.errors import UsageError
from cas_admin.flags import BY_RULES, build_options, purge_options

FLAGS = {"build": "build", "purge": "purge", "server": "host"}
"""The verb that each flag is short for."""


def admin_parser() -> argparse.ArgumentParser:
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
    build_options(admin)
    purge_options(admin)
    # on the program only: a verb's defaults would hide what stands before the verb
    admin.set_defaults(days=None, yes=False, dry_run=False, unfinished=False, watch=None)
    admin.set_defaults(**dict.fromkeys(BY_RULES))
    common_options(admin)
    add_verbs(admin, ADMIN_VERBS)
    return admin


def parse_admin(argv: Sequence[str]) -> Asked:
    """What ``cas-admin`` is asked to do.

    :raises WrongCommand: nothing that is understood; the hint is the command that was meant
    """
    admin, argv = admin_parser(), asked_for_help(argv)
    try:
        options = admin.parse_args(argv)
    except WrongCommand as error:
        from cas.commands.mistakes import explain_mistake
        from cas_admin.habits import HABITS

        raise explain_mistake(argv, admin, error, HABITS) from None
    if options.version:
        return asked_versions(options, "cas-admin")
    wanted = [flag for flag in FLAGS if getattr(options, flag)]
    wanted += [options.verb] if options.verb and options.verb not in wanted else []
    if len(wanted) > 1:
        said = f"one thing at a time, not {' and '.join(wanted)}"
        raise UsageError(said, hint="give one command after the other")
    is_purge = options.yes or options.dry_run or options.unfinished or options.days is not None
    if wanted != ["purge"] and is_purge:
        days = "" if options.days is None else f" -d {options.days}"
        raise UsageError(
            "-d, -y, -n and --unfinished belong to a purge", hint=f"cas-admin -p{days}"
        )
    if wanted != ["build"] and options.watch is not None:
        raise UsageError("--watch belongs to a build", hint="cas-admin -b --watch")
    if not wanted:
        from cas_admin.habits import HABITS

        raise UsageError("nothing was asked for", hint=HABITS.beginning)
    (name,) = wanted
    return asked_verb(load_verb(ADMIN_VERBS, FLAGS.get(name, name)), options)

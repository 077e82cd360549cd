"""The options of the original's flags ``-b`` and ``-p``, which their verbs have as well."""

from __future__ import annotations

import argparse

WATCH_S = 300.0
"""Seconds from the end of one build to the next, where nobody says another time."""
WATCH_LIMIT_S = 7 * 86400
"""Seconds from the end of one build to the next that may be asked for."""


def build_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a build."""
    parser.add_argument(
        "--watch",
        metavar="SECONDS",
        type=_seconds_of,
        nargs="?",
        const=WATCH_S,
        default=argparse.SUPPRESS,
        help=f"with build: go on, and build again after so long (default: {WATCH_S:.0f})",
    )


def purge_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a purge."""
    parser.add_argument(
        "-d",
        "--days",
        metavar="DAYS",
        type=_days_of,
        default=argparse.SUPPRESS,
        help="with purge: remove jobs older than this (default: purgeLimit of cas.conf)",
    )
    for flags, text in (
        (("-y", "--yes"), "with purge: do not ask"),
        (("-n", "--dry-run"), "with purge: only list what would go"),
        (("--unfinished",), "with purge: also jobs that wait, were stopped, or have unsent mail"),
    ):
        parser.add_argument(*flags, action="store_true", default=argparse.SUPPRESS, help=text)


CLASSIC = ("days", "yes", "dry_run", "unfinished")
"""Options of the purge of jobs, by their names in the parsed command line."""
BY_RULES = ("older", "larger", "keep_exemplar", "pressure", "delete", "verbose", "json", "words")
"""Those of the purge of the archive."""


def retention_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a purge of the archive, which stand behind the verb alone."""
    quiet = argparse.SUPPRESS
    parser.add_argument(
        "--older", metavar="AGE", default=quiet, help="dumps of the archive that are so old"
    )
    parser.add_argument(
        "--larger", metavar="SIZE", default=quiet, help="dumps of the archive that are larger"
    )
    for flags, text in (
        (("--keep-exemplar",), "but the best dump of every signature"),
        (("--pressure",), "where archiveHighWater of cas.conf is passed, by the rules there"),
        (("--delete",), "remove them, and do not only list them"),
        (("-v", "--verbose"), "name each crash that stays, and why"),
        (("--json",), "print everything as JSON"),
    ):
        parser.add_argument(*flags, action="store_true", default=quiet, help=text)
    text = "dumps of the archive that are meant (see Specifications in cas(1))"
    parser.add_argument("words", metavar="SPEC", nargs="*", help=text)


def _days_of(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days")
    return int(text)


def _seconds_of(text: str) -> float:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= WATCH_LIMIT_S:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of seconds from 1 to {WATCH_LIMIT_S}"
        )
    return float(text)

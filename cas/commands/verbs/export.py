"""``cas export SPEC -o DIR|TAR``: reports, logs and sections of crashes for somebody else."""

from __future__ import annotations

import argparse
from pathlib import Path

from cas.commands.invocation import Done, Once, Output, World, file_of, more_words

PLACE = 23
HELP = "write reports of crashes for somebody else, without names if you like"
EXAMPLE = "cas export T-1234 --redact -o case.tar.gz"
take_others = more_words


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    text = "which crashes: see Specifications in cas(1)"
    parser.add_argument("words", metavar="SPEC", nargs="*", help=text)
    text = "a directory that is not there yet, or a file .tar, .tar.gz or .tar.zst"
    parser.add_argument("-o", "--output", metavar="DIR|TAR", action=Once, required=True, help=text)
    text = "replace names of machines and people, addresses, serial numbers and tickets"
    parser.add_argument("--redact", action="store_true", help=text)
    text = "replace the words of FILE too, one a line"
    parser.add_argument("--words", metavar="FILE", dest="words_file", action=Once, help=text)
    text = "write to FILE what was replaced by what; keep it to yourself"
    parser.add_argument("--key", metavar="FILE", action=Once, help=text)
    text = "export the dump, too: nothing of it can be redacted"
    parser.add_argument("--with-dump", action="store_true", help=text)


def reads(options: argparse.Namespace) -> tuple[Path, ...]:
    """The file of words."""
    return (file_of(options.words_file),) if options.words_file else ()


def run(options: argparse.Namespace, world: World) -> Output:
    """Export them, and say what was replaced.

    :raises Garbage: a word cannot be meant
    :raises CasError: nothing is meant, or the export cannot be written
    """
    from cas.archive.constraints import Garbage
    from cas.commands.exporting import Wanted, export_crashes, summary_lines

    if not options.words:
        raise Garbage("it takes SPEC", hint=f"for example: {EXAMPLE}")
    target = file_of(options.output)
    wanted = Wanted(
        target.absolute(),
        options.redact,
        options.with_dump,
        file_of(options.words_file) if options.words_file else None,
        file_of(options.key) if options.key else None,
    )
    made = export_crashes(options.words, wanted, world)
    yield from map(Done, summary_lines(made, target))
    return 0

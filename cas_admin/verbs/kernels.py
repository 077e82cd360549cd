"""``cas-admin kernels``: which kernels there is debug information of, and where."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from cas.commands import Output, World
from cas.text import json_text, one_line

if TYPE_CHECKING:
    from cas.database.records import CataloguedKernel

PLACE = 8
HELP = "list the kernels in the catalogue"
EXAMPLE = "one pattern, in quotes: cas-admin kernels '5.14.*'"
NOTHING_FOUND = 1
VERSION = 1
COLUMNS = ("RELEASE", "ARCH", "FLAVOUR", "BUILD-ID", "PACKAGE")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    text = "of a release or of a package's name, or the beginning of a build-id"
    parser.add_argument("pattern", metavar="PATTERN", nargs="?", help=text)
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(options: argparse.Namespace, world: World) -> Output:
    """Print the catalogued kernels, sorted by release.

    :return: status 1 when there is none
    :raises TryAgain: the database cannot be used
    """
    from cas.database.store import Store

    found = Store.of(world.config).kernels.listed(options.pattern)
    if not found:
        world.progress.warn(_why_none(options.pattern, world))
    yield from (_kernels_json(found),) if options.json else _kernel_lines(found)
    return 0 if found else NOTHING_FOUND


def _kernel_lines(found: Sequence[CataloguedKernel]) -> Iterator[str]:
    """A line for each kernel below a line of titles; nothing when there are none.

    Ten thousand rows take rich's tables many seconds, so that columns are aligned here.
    """
    if not found:
        return
    rows = [COLUMNS, *map(_kernel_cells, found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    for *cells, last in rows:
        yield "".join(f"{cell:{n}}  " for cell, n in zip(cells, widths, strict=True)) + last


def _kernel_cells(kernel: CataloguedKernel) -> tuple[str, ...]:
    facts = (kernel.release, kernel.arch, kernel.flavour, kernel.build_id, str(kernel.path))
    return tuple(one_line(fact) if fact else "-" for fact in facts)


def _kernels_json(found: Sequence[CataloguedKernel]) -> str:
    facts = [asdict(kernel) for kernel in found]
    return json_text({"version": VERSION, "kernels": facts}, indent=1, default=str)


def _why_none(pattern: str | None, world: World) -> str:
    if pattern is not None:
        return (
            f"no catalogued kernel has a release like {pattern}, a build-id that begins with it "
            "(at least 6 digits), or a package whose name has it; all of them: cas-admin kernels"
        )
    return f"no kernel is catalogued: put packages below {world.config.kernels}, then: cas-admin -b"

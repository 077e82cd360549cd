"""``cas-admin cache``: what the cache of extracted kernels holds, and what of it may go."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cas.commands import Done, Output, World, verb_options
from cas.errors import NotPermitted
from cas.text import count, json_text, one_line
from cas.units import human_size, plain, told_time
from cas_admin.columns import aligned_lines

if TYPE_CHECKING:
    from cas.catalogue.cache.inspection import Fault
    from cas.catalogue.cache.listing import Holding

PLACE = 10
HELP = "look after the extracted kernels"
EXAMPLE = "cas-admin cache list"
BROKEN = 4
VERSION = 1
COLUMNS = ("RELEASE", "ARCH", "BUILD-ID", "SIZE", "KMODS", "LAST USE", "STATE", "SOURCE")
REPAIR = "remove it (cas-admin cache verify --repair does): it is extracted again when needed"
FOREIGN = "move it elsewhere if somebody needs it, else remove it"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions with their options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True)
    text = "show the extracted kernels, and what they take"
    shown = actions.add_parser("list", help=text)
    shown.add_argument("--json", action="store_true", help="print everything as JSON")
    shown.set_defaults(act=_list_entries)
    clean = actions.add_parser("clean", help="remove what is beyond the limits and not in use")
    text = "only list what would go"
    clean.add_argument("-n", "--dry-run", dest="only_list", action="store_true", help=text)
    clean.set_defaults(act=_clean_cache)
    text = "read every file again and compare its digest"
    verify = actions.add_parser("verify", help=text)
    verify.add_argument("--json", action="store_true", help="print everything as JSON")
    text = "remove what is wrong and not in use"
    verify.add_argument("--repair", action="store_true", help=text)
    verify.set_defaults(act=_verify_cache)
    for action in (shown, clean, verify):
        verb_options(action)


def run(options: argparse.Namespace, world: World) -> Output:
    """Do what the action says."""
    act: Callable[[argparse.Namespace, World], Output] = options.act
    return (yield from act(options, world))


def _list_entries(options: argparse.Namespace, world: World) -> Output:
    """The entries, the least recently used first, and what they take of what is allowed."""
    from cas.catalogue.cache import limits
    from cas.catalogue.cache.listing import holdings

    config = world.config
    found = holdings(config.debugs)
    if options.json:
        facts = {
            "version": VERSION,
            "directory": str(config.debugs),
            "size_bytes": sum(holding.size_bytes for holding in found),
            "limit_bytes": config.cache.limit_bytes,
            "target_bytes": limits.target_bytes(config.cache),
            "days": config.cache.days,
            "entries": [_entry_facts(holding) for holding in found],
        }
        yield json_text(facts, indent=1)
        return 0
    for holding in found:
        if holding.problem:
            world.progress.warn(holding.problem)
    yield from aligned_lines(COLUMNS, [_entry_cells(holding) for holding in found])
    total = human_size(sum(holding.size_bytes for holding in found))
    limit = human_size(config.cache.limit_bytes)
    yield one_line(f"{count(len(found), 'kernel')}, {total} of {limit} in {config.debugs}")
    return 0


def _clean_cache(options: argparse.Namespace, world: World) -> Output:
    """Remove what the limits do not allow, and forget which servers sent something useless.

    :raises ConfigError: the cache cannot be written
    """
    from cas_admin.trimming import trim_cache

    for line in trim_cache(world, only_list=options.only_list):
        yield line if options.only_list else Done(line)
    return 0


def _verify_cache(options: argparse.Namespace, world: World) -> Output:
    """Read every extracted file again, and compare it with what was extracted.

    :return: a line for each fault; status 4 when there is one
    :raises ConfigError: the cache cannot be written
    """
    from cas.catalogue.cache import inspection
    from cas.settings import users

    cache, faults = world.config.debugs, list["Fault"]()
    total = inspection.bytes_to_verify(cache)
    with world.progress.bar("Verifying the extracted kernels", total) as advance:
        for fault in inspection.verify(cache, advance, repair=options.repair):
            faults.append(fault)
            if not options.json:
                advice = REPAIR if fault.is_ours else FOREIGN
                if fault.obstacle is not None:
                    advice = users.remedy(fault.obstacle, world.config) or NotPermitted.hint
                yield one_line(f"{fault.path}: {fault.what}; {advice}")
    if options.json:
        facts = [
            {"path": str(fault.path), "what": fault.what, "is_ours": fault.is_ours}
            for fault in faults
        ]
        yield json_text({"version": VERSION, "size_bytes": total, "faults": facts}, indent=1)
    else:
        said = count(len(faults), "fault") if faults else "all is well"
        yield one_line(f"{human_size(total)} verified in {cache}: {said}")
    return BROKEN if faults else 0


def _entry_cells(holding: Holding) -> tuple[str, ...]:
    from cas.files.lease import is_held

    kernel, state = holding.kernel, "closed"
    if not holding.problem:
        state = "in use" if is_held(holding.entry) else "free"
    cells = (
        kernel.release if kernel else "-",
        kernel.arch if kernel else "-",
        holding.entry.name,
        human_size(holding.size_bytes),
        str(holding.kmods),
        "-" if holding.problem else told_time(_last_use(holding)),
        state,
        str(kernel.source) if kernel else "-",
    )
    return tuple(map(one_line, cells))


def _last_use(holding: Holding) -> datetime:
    return datetime.fromtimestamp(holding.last_use, UTC)


def _entry_facts(holding: Holding) -> dict[str, object]:
    from cas.files.lease import is_held

    kernel = holding.kernel
    return {
        "name": holding.entry.name,
        "release": kernel and kernel.release,
        "arch": kernel and kernel.arch,
        "build_id": kernel and kernel.build_id,
        "size_bytes": holding.size_bytes,
        "has_vmlinux": holding.has_vmlinux,
        "kmods": holding.kmods,
        "last_use": plain(_last_use(holding).replace(microsecond=0)),
        "is_in_use": is_held(holding.entry),
        "problem": holding.problem,
        "source": str(kernel.source) if kernel else None,
        "member": kernel and kernel.member,
    }

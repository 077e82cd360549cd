"""``cas identify FILE``: what a dump says about itself, without a vmlinux."""

from __future__ import annotations

import argparse
import re
from dataclasses import asdict, replace
from pathlib import Path

from cas.commands.invocation import Output, World, file_of
from cas.errors import UsageError
from cas.files.whole import is_there
from cas.text import json_text, located, short_line, wholeness
from cas.units import human_size, plain, told_time

PLACE = 1
HELP = "tell what a dump says about itself"
EXAMPLE = "cas identify FILE; the parts of a split one, each with -f: cas -i TICKET -f FILE -f …"
DAMAGED = 3
HIDDEN = frozenset(
    {
        *("version", "dmesg", "log_digest", "vmcoreinfo", "registers"),
        "is_crash_id_weak",
        *("checked", "pages", "pages_checked"),
    }
)
"""Facts that only JSON has room for, or that are told beside what is missing."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("dump", metavar="FILE", type=file_of, help="the dump, packed or not")
    text = "the dump to take from an archive of several"
    parser.add_argument("--member", dest="chosen", metavar="NAME", help=text)
    parser.add_argument("--json", action="store_true", help="print everything, as JSON")


def uploads(options: argparse.Namespace) -> tuple[Path, ...]:
    """The file, if it must be unpacked, which is not for root to do."""
    from cas.commands.uploaded import packed_files

    return packed_files(options.dump)


def run(options: argparse.Namespace, world: World) -> Output:
    """Print the facts; a damaged dump gives status 3.

    :raises NotADump: it is not a kernel dump
    :raises DiskFull: it cannot be unpacked
    """
    from cas.commands.answers import VERSION
    from cas.commands.uploaded import identify_upload
    from cas.report.registers import register_facts

    is_url = re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", str(options.dump))
    if is_url and not is_there(options.dump):
        raise UsageError(
            "identify reads a file, no URL", hint="fetch it first, or: cas -i TICKET -f URL"
        )
    dump = identify_upload(options.dump, options.chosen, world)
    facts = {"version": VERSION, **asdict(replace(dump, vmcoreinfo={}, registers=()))}
    del facts["locations"]  # they are told with a vmlinux alone
    facts["path"] = str(dump.path)
    facts["crash_time"] = dump.crash_time and plain(dump.crash_time)
    facts["kaslr_offset"] = None if dump.kaslr_offset is None else hex(dump.kaslr_offset)
    facts["vmcoreinfo"] = dict(dump.vmcoreinfo)
    facts["registers"] = register_facts(dump)
    status = 0 if dump.is_whole else DAMAGED
    if options.json:
        yield json_text(facts, indent=1)
        return status
    shown = {key: value for key, value in facts.items() if key not in HIDDEN}
    lacks = (located(lack.what, lack.offset) for lack in dump.missing)
    shown["missing"] = "; ".join(lacks) or f"nothing: {wholeness(dump)}"
    shown["size_bytes"] = f"{dump.size_bytes:,} ({human_size(dump.size_bytes)})"
    shown["crash_time"] = told_time(dump.crash_time) if dump.crash_time else None
    shown["remarks"] = "; ".join(facts["remarks"])
    for key, text in shown.items():
        if text not in (None, ""):
            yield f"{key:14} {short_line(str(text))}"
    return status

"""``cas identify FILE``: what a dump says about itself, without a vmlinux."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cas.commands.asked import Answer, World
from cas.dump import SEARCH_BYTES
from cas.dump import identify as identify_dump
from cas.model import Dump
from cas.report.result import registers
from cas.text import json_text, located, short_line, wholeness

HIDDEN = frozenset({"dmesg", "vmcoreinfo", "registers", "checked", "pages", "pages_checked"})
"""Facts that only JSON has room for, or that are told beside what is missing."""


def identify(path: Path, world: World, *, as_json: bool) -> Answer:
    """Print the facts; a damaged dump gives status 3.

    :raises NotADump: it is not a kernel dump
    """
    dump = identify_dump(path, world.config.buffer_size_bytes or SEARCH_BYTES)
    facts = _facts(dump)
    text = json_text(facts, indent=1) if as_json else _table(dump, facts)
    return Answer((text,), 0 if dump.is_whole else 3)


def _facts(dump: Dump) -> dict[str, Any]:
    facts = asdict(replace(dump, vmcoreinfo={}, registers=()))
    facts["path"] = str(dump.path)
    facts["crash_time"] = dump.crash_time.isoformat() if dump.crash_time else None
    facts["kaslr_offset"] = None if dump.kaslr_offset is None else hex(dump.kaslr_offset)
    facts["vmcoreinfo"] = dict(dump.vmcoreinfo)
    facts["registers"] = registers(dump)
    return facts


def _table(dump: Dump, facts: dict[str, Any]) -> str:
    shown = {key: value for key, value in facts.items() if key not in HIDDEN}
    lacks = (located(lack.what, lack.offset) for lack in dump.missing)
    shown["missing"] = "; ".join(lacks) or f"nothing: {wholeness(dump)}"
    shown["remarks"] = "; ".join(facts["remarks"])
    told = {key: short_line(str(text)) for key, text in shown.items() if text not in (None, "")}
    return "\n".join(f"{key:14} {text}" for key, text in told.items())

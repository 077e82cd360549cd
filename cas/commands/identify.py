"""``cas identify FILE``: what a dump says about itself, without a vmlinux."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cas.commands.asked import Answer, World
from cas.dump import SEARCH_BYTES
from cas.dump import identify as identify_dump
from cas.model import Dump


def identify(path: Path, world: World, *, as_json: bool) -> Answer:
    """Print the facts; a damaged dump gives status 3.

    :raises NotADump: it is not a kernel dump
    """
    dump = identify_dump(path, world.config.buffer_size_bytes or SEARCH_BYTES)
    facts = _facts(dump)
    text = json.dumps(facts, indent=1) if as_json else _table(facts)
    return Answer((text,), 0 if dump.is_whole else 3)


def _facts(dump: Dump) -> dict[str, Any]:
    facts = asdict(dump)
    facts["path"] = str(dump.path)
    facts["crash_time"] = dump.crash_time.isoformat() if dump.crash_time else None
    facts["kaslr_offset"] = None if dump.kaslr_offset is None else hex(dump.kaslr_offset)
    facts["vmcoreinfo"] = dict(dump.vmcoreinfo)
    return facts


def _table(facts: dict[str, Any]) -> str:
    shown = {key: value for key, value in facts.items() if key not in {"dmesg", "vmcoreinfo"}}
    shown["missing"] = "; ".join(item["what"] for item in facts["missing"]) or "nothing"
    shown["remarks"] = "; ".join(facts["remarks"])
    return "\n".join(f"{key:14} {value}" for key, value in shown.items() if value not in (None, ""))

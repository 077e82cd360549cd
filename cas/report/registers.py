"""Registers of a dump as JSON has them, also for `cas identify`, which has no report."""

from __future__ import annotations

from typing import Any

from cas.model.dump import Dump


def register_facts(dump: Dump) -> list[dict[str, Any]]:
    """Each processor's registers; in hex, for programs whose numbers end at 53 bits."""
    return [
        {
            "cpu": held.cpu,
            "pid": held.pid,
            "values": {name: hex(value) for name, value in held.values.items()},
        }
        for held in dump.registers
    ]

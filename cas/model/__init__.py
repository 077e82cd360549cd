"""The values that travel between the stages: frozen, in the field's words, free of behaviour.

Each has one home, the module that says what it is about, and is imported from there. Only what a
harness outside of this repository makes itself, to ask for the verdict on a kernel log, can be had
here, too: `Dump`, `FirstAnswer`, `Frame` and `Task`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {"Dump": "dump", "FirstAnswer": "answer", "Frame": "code", "Task": "answer"}


def __getattr__(name: str) -> Any:
    """One of those values; only then its module is imported."""
    if home := _HOMES.get(name):
        return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

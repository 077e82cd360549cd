"""Which kernel modules the kernel itself names in the call traces of its log."""

from __future__ import annotations

import re

TRACE_LIMIT = 64
"""Names taken; an oops names a handful, a damaged log may name anything."""
LIST_LIMIT = 4096
_LISTED = re.compile(r"Modules linked in:([^\n]{0,65536})")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,56}")
_IN_TRACE = re.compile(r"\+0x[0-9a-f]+/0x[0-9a-f]+ \[([A-Za-z0-9_-]{1,56})(?: [0-9a-f]+)?\]")


def kmods_in_list(dmesg: str | None) -> tuple[str, ...]:
    """Names of the kmods that an oops lists as linked in, each once.

    Source: kernel/module/main.c, ``print_modules``: taint letters stand in parentheses.
    """
    found = _LISTED.search(dmesg or "")
    words = found[1].partition("[last unloaded")[0].split() if found else ()
    names = dict.fromkeys(name for word in words if (name := word.partition("(")[0]))
    return tuple(name for name in names if _NAME.fullmatch(name))[:LIST_LIMIT]


def kmods_in_traces(dmesg: str | None) -> tuple[str, ...]:
    """Names of the kmods in frames such as ``ext4_read+0x1c/0x90 [ext4]``, each once."""
    names = dict.fromkeys(found[1] for found in _IN_TRACE.finditer(dmesg or ""))
    return tuple(names)[:TRACE_LIMIT]


def out_of_tree_kmods(dmesg: str | None) -> frozenset[str]:
    """Names of the kmods that an oops lists as not of the kernel's own tree (``O``)."""
    found = _LISTED.search(dmesg or "")
    words = found[1].partition("[last unloaded")[0].split() if found else ()
    parts = (word.partition("(") for word in words)
    return frozenset(name.replace("-", "_") for name, _, taint in parts if "O" in taint)

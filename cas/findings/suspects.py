"""Which kernel modules the kernel itself names in the call traces of its log."""

from __future__ import annotations

import re

TRACE_LIMIT = 64
"""Names taken; an oops names a handful, a damaged log may name anything."""
_IN_TRACE = re.compile(r"\+0x[0-9a-f]+/0x[0-9a-f]+ \[([A-Za-z0-9_-]{1,56})(?: [0-9a-f]+)?\]")


def kmods_in_traces(dmesg: str | None) -> tuple[str, ...]:
    """Names of the kmods in frames such as ``ext4_read+0x1c/0x90 [ext4]``, each once."""
    names = dict.fromkeys(found[1] for found in _IN_TRACE.finditer(dmesg or ""))
    return tuple(names)[:TRACE_LIMIT]

"""Names in a job directory: the job's own; all others belong to the results of snippets."""

from __future__ import annotations

import re

DUMP = "vmcore"
"""The directory of the dump alone: called as it may be, it takes the place of no result."""
SIDECARS = "sidecars"
"""The directory of what came with the dump."""
DOWNLOAD = "download"
"""The directory of what is fetched from a URL or handed over by root, until the dump is kept."""
LINKED = "usr"
"""The directory of kernel modules: names of files that belong to the cache."""
RESULTS = ("result.json", "report.html", "report.txt")
"""What tells of a job's end, in the order in which it is withdrawn."""
DEEP_TRACE = ("glide.txt", "glide.jsonl")
"""The deep trace as text, and as its records, one a line."""
_OWN = re.compile(
    r"crash(\.in|\.out)?|(report|job|result|mail|glide)\..*|(vmcore|vmlinux).*|.*\.(log|trc|eml)"
    rf"|registers|{SIDECARS}|{DOWNLOAD}|{LINKED}",
    re.DOTALL,
)


def is_own(name: str) -> bool:
    """Whether the job has, or may have, a file or directory of this name for itself."""
    return _OWN.fullmatch(name) is not None


def is_for_dumps(name: str) -> bool:
    """Whether nothing but the dump of an earlier release's job has such a name beside results."""
    return name.startswith(("vmcore", "vmlinux")) and not name.endswith((".log", ".trc", ".eml"))

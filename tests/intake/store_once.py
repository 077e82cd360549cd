"""A program: store one upload with a budget, and say how it ended and what it cost.

usage: store_once.py UPLOAD DIRECTORY BUDGET_BYTES [MEMORY_BYTES]
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from cas.errors import CasError
from cas.intake import Intake, Storing
from cas.progress import Silent
from cas.settings.rules import IntakeLimits


def kind_of(head: bytes) -> str | None:
    return "dump" if head[:4] in (b"DUMP", b"\x7fELF") else None


def peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM"))
    return int(line.split()[1]) << 10


def main() -> None:
    upload, directory, budget = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    if len(sys.argv) > 4:
        resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[4]),) * 2)
    limits = IntakeLimits(unpack_bytes=budget, reserve_bytes=1 << 20)
    ended: dict[str, object] = {"error": None}
    try:
        with Storing([upload], directory, Intake(limits, kind_of), Silent()) as storing:
            stored = storing.settled()
            ended |= {"size": stored.vmcore.stat().st_size, "missing": len(stored.missing)}
    except CasError as error:
        ended = {
            "error": type(error).__name__,
            "limit": getattr(error, "limit", None),
            "unpacked": storing.unpacked_bytes,
        }
    print(json.dumps({**ended, "peak": peak_bytes()}))


if __name__ == "__main__":
    main()

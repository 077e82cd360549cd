"""Store one upload with a budget, and say how it ended and what it cost; also as a program.

usage: store_once.py UPLOAD DIRECTORY BUDGET_BYTES
"""

from __future__ import annotations

import json
import resource
import sys
from multiprocessing.connection import Connection
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


def tell(
    told: Connection, upload: Path, directory: Path, budget: int, address_space_bytes: int
) -> None:
    """Send what became of it, from a process of its own, which gets no more memory than this."""
    resource.setrlimit(resource.RLIMIT_AS, (address_space_bytes,) * 2)
    told.send(stored_once(upload, directory, budget))


def stored_once(upload: Path, directory: Path, budget: int) -> dict[str, object]:
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
    return {**ended, "peak": peak_bytes()}


if __name__ == "__main__":
    print(json.dumps(stored_once(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))))

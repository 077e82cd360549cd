"""Debian's debuginfod on loopback, with an index of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from installed import closed_port, needs

IDLE = ('thread_work_pending{role="scan"} 0', 'thread_busy{role="scan"} 0', "ready 1")
START_S = 60.0


@contextlib.contextmanager
def debuginfod(packages: Path, scratch: Path) -> Iterator[str]:
    """The URL of a server that has indexed the packages below a directory."""
    program = needs("debuginfod")
    for _ in range(3):  # another process may take the port that was free
        port = closed_port()
        options = ["-p", str(port), "-d", scratch / "index.sqlite", "-t", "0", "-g", "0"]
        with (scratch / "debuginfod.log").open("wb") as log:
            server = subprocess.Popen(
                [program, *options, "-R", "-U", "--disable-source-scan", "-L", packages],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={"PATH": os.environ["PATH"], "TMPDIR": str(scratch)},
            )
        try:
            url = f"http://127.0.0.1:{port}"
            if _is_idle(server, url):
                yield url
                return
        finally:
            server.kill()  # its index goes with the directory
            server.wait()
    raise AssertionError((scratch / "debuginfod.log").read_text())


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  the scheme is ours
        text: str = answer.read().decode()
        return text


def _is_idle(server: subprocess.Popen[bytes], url: str) -> bool:
    end = time.monotonic() + START_S
    while server.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError):
            metrics = _read(f"{url}/metrics")
            scanned = 'thread_work_total{role="traverse"} 1' in metrics
            if scanned and all(line in metrics for line in IDLE):
                return True
        time.sleep(0.1)
    return False

#!/usr/bin/env python3
"""Dump a guest's memory when its kernel has panicked: DUMP is ELF, beside it is one as KDUMP.

dump_guest.py CONSOLE_LOG DUMP QEMU [ARGUMENT ...]
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

PANIC_TIMEOUT_S = 300
PANIC_MARK = b"end Kernel panic"


def main(arguments: list[str]) -> None:
    console, dump, *qemu = arguments
    with started(Path(console), qemu) as guest:
        guest.wait_for(PANIC_MARK)
        guest.dump(Path(dump))
        guest.dump(Path(dump).with_suffix(".kdump"), "kdump-zlib")


@dataclass(frozen=True)
class Guest:
    """A running QEMU with its serial console in a file."""

    process: subprocess.Popen[bytes]
    console: Path
    monitor: Path

    def wait_for(self, mark: bytes, timeout_s: float = PANIC_TIMEOUT_S) -> None:
        deadline = time.monotonic() + timeout_s
        while mark not in (self.console.read_bytes() if self.console.exists() else b""):
            if self.process.poll() is not None:
                raise SystemExit(f"QEMU ended with {self.process.returncode}; see {self.console}")
            if time.monotonic() > deadline:
                raise SystemExit(f"no {mark.decode()!r} within {timeout_s} s; see {self.console}")
            time.sleep(0.5)

    def dump(self, path: Path, format: str = "elf") -> None:
        place = f"file:{path.absolute()}"
        self.run("dump-guest-memory", paging=False, protocol=place, format=format)

    def run(self, name: str, **arguments: Any) -> None:
        """Run one QMP command."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.monitor))
            stream = connection.makefile("rw")
            json.loads(stream.readline())
            command(stream, "qmp_capabilities")
            command(stream, name, **arguments)


@contextmanager
def started(console: Path, qemu: list[str]) -> Iterator[Guest]:
    with tempfile.TemporaryDirectory() as directory:
        monitor = Path(directory, "qmp")
        process = subprocess.Popen(
            [
                *qemu,
                "-display",
                "none",
                "-no-reboot",
                "-monitor",
                "none",
                "-serial",
                f"file:{console}",
                "-qmp",
                f"unix:{monitor},server=on,wait=off",
            ]
        )
        try:
            guest = Guest(process, console, monitor)
            yield guest
            guest.run("quit")
        finally:
            process.terminate()
            process.wait()


def command(stream: TextIO, name: str, **arguments: object) -> None:
    """Run one QMP command; events that arrive before its answer are passed over."""
    stream.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
    stream.flush()
    for line in stream:
        answer = json.loads(line)
        if "error" in answer:
            raise SystemExit(f"{name}: {answer['error']['desc']}")
        if "return" in answer:
            return
    raise SystemExit(f"{name}: QEMU closed the monitor")


if __name__ == "__main__":
    main(sys.argv[1:])

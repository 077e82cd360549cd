#!/usr/bin/env python3
"""Dump a guest's memory when its kernel has panicked.

dump_guest.py CONSOLE_LOG DUMP QEMU [ARGUMENT ...]
"""

import json
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TextIO

PANIC_TIMEOUT_S = 300
PANIC_MARK = b"end Kernel panic"


def main(arguments: list[str]) -> None:
    console, dump, *qemu = arguments
    with tempfile.TemporaryDirectory() as directory:
        monitor = Path(directory, "qmp")
        guest = subprocess.Popen(
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
            wait_for_panic(guest, Path(console))
            dump_memory(monitor, Path(dump).absolute())
        finally:
            guest.terminate()
            guest.wait()


def wait_for_panic(guest: "subprocess.Popen[bytes]", console: Path) -> None:
    deadline = time.monotonic() + PANIC_TIMEOUT_S
    while PANIC_MARK not in (console.read_bytes() if console.exists() else b""):
        if guest.poll() is not None:
            raise SystemExit(f"QEMU ended with {guest.returncode}; see {console}")
        if time.monotonic() > deadline:
            raise SystemExit(f"no panic within {PANIC_TIMEOUT_S} s; see {console}")
        time.sleep(0.5)


def dump_memory(monitor: Path, dump: Path) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(monitor))
        stream = connection.makefile("rw")
        json.loads(stream.readline())
        command(stream, "qmp_capabilities")
        command(stream, "dump-guest-memory", paging=False, protocol=f"file:{dump}")


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

"""``python -m cas.findings LOG``: the verdict on a kernel log, without a dump.

The one entry that stays for whoever measures how well a crash is read.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from cas.findings.outline import Backtrace, outline, read_backtrace, sentences
from cas.text import printable

UNREADABLE = 2


def main(arguments: list[str]) -> int:
    """Read, judge, print.

    :return: the exit code: 0, or 2 if a file cannot be read
    """
    parser = argparse.ArgumentParser(
        prog="python -m cas.findings", description="The verdict on a kernel log, without a dump."
    )
    parser.add_argument("log", type=Path, metavar="LOG", help="a kernel log; - reads it from stdin")
    parser.add_argument(
        "--stack",
        type=Path,
        metavar="FILE",
        help="the panic task's backtrace: `task PID COMM CPU`, then a function a line",
    )
    parser.add_argument("--json", action="store_true", help="everything, for programs")
    asked = parser.parse_args(arguments)
    try:
        dmesg = _read_text(asked.log)
        stack = read_backtrace(_read_text(asked.stack).splitlines()) if asked.stack else Backtrace()
    except OSError as error:
        print(f"! {error.filename} cannot be read: {error.strerror}", file=sys.stderr)
        return UNREADABLE
    told = outline(dmesg, stack)
    if asked.json:
        print(json.dumps(told, indent=1))
    else:
        print(*(printable(line) for line in sentences(told)), sep="\n")
    return 0


def _read_text(path: Path) -> str:
    raw = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    return raw.replace(b"\r", b"").decode("utf-8", "replace")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

#!/usr/bin/env python3
"""How long a kernel log takes to judge: an ordinary one, and those made to take long.

usage: klog.py [MIB]
"""

import sys
import time
from pathlib import Path

from cas.findings import find
from cas.model.dump import Dump

OOPS = (
    "[99999.1] BUG: kernel NULL pointer dereference, address: 0000000000000008\n"
    "[99999.1] Oops: 0000 [#1] SMP\n[99999.1] RIP: 0010:f+0x1/0x2 [m]\n"
    "[99999.1] Call Trace:\n[99999.1]  g+0x1/0x2 [m]\n"
)
LINES = {
    "ordinary": "[  123.456789] usb 1-1: a line that is as long as most are, and says little",
    "warnings": "[  123.456789] WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2",
    "panics": "[  123.456789] Kernel panic - not syncing: x",
    "everything": "[  1.0] BUG: unable to handle [#1] WARNING: INFO: Oops general protection fault",
    "names": "[  1.0] INFO: task " + "x:" * 30 + "1 blocked for more than 120 seconds.",
}


def main() -> None:
    size_bytes = int(sys.argv[1] if len(sys.argv) > 1 else 16) << 20
    for name, line in LINES.items():
        log = f"{line}\n" * (size_bytes // len(line)) + OOPS
        dump = Dump(Path("vmcore"), "ELF", len(log), "x86_64", dmesg=log)
        begun = time.process_time()
        find(dump, None, None)
        print(f"{name:12} {size_bytes >> 20:4} MiB {time.process_time() - begun:6.2f} s")


if __name__ == "__main__":
    main()

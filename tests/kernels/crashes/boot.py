#!/usr/bin/env python3
"""Crash a guest by each cause and keep its dump: boot.py DIRECTORY [CAUSE ...].

DIRECTORY has a folder of each kernel, as ``make`` leaves it. DIRECTORY/CAUSE gets ``vmcore`` and
``console.log``, of those that are shipped also ``vmcore.kdump.xz``.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from expected import HERE, Facts, read_causes

sys.path.insert(0, str(HERE.parent))

import dump_guest
import fix_elf

PANIC_WITHIN_S = 240
HOST_WAIT_S = 4
"""From the cause's line in the kernel log to what the host does."""
HOST: dict[str, tuple[str, dict[str, Any]]] = {
    "nmi": ("inject-nmi", {}),
    # CPU 1, bank 4: uncorrected, context corrupt, address valid; MCIP without RIPV
    "mce": (
        "human-monitor-command",
        {"command-line": "mce 1 4 0xbe00000000800400 0x4 0x3f5c1000 0"},
    ),
}


def main(directory: Path, names: list[str]) -> None:
    causes, sets = read_causes()
    if unknown := set(names) - set(causes):
        raise SystemExit(f"no such cause: {', '.join(sorted(unknown))}")
    failed = []
    for name in names or causes:
        try:
            crash(directory, name, causes[name], sets)
        except (SystemExit, subprocess.CalledProcessError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed.append(name)
    if failed:
        raise SystemExit(f"without a dump: {', '.join(failed)}")


def crash(directory: Path, name: str, cause: Facts, sets: dict[str, str]) -> None:
    """Boot one guest, wait for its panic and keep the dump."""
    kernel, target = directory / cause.get("kernel", "a"), directory / name
    target.mkdir(exist_ok=True)
    console, full, dump = target / "console.log", target / "full.elf", target / "vmcore"
    console.unlink(missing_ok=True)
    boot = [*(sets[each] for each in cause["boot"].split()), cause.get("more", "")]
    started = time.monotonic()
    with dump_guest.started(console, qemu(kernel, name, cause, boot)) as guest:
        if "host" in cause:
            guest.wait_for(f"cas_crashes: {name}".encode(), PANIC_WITHIN_S)
            time.sleep(HOST_WAIT_S)
            command, arguments = HOST[cause["host"]]
            guest.run(command, **arguments)
        guest.wait_for(dump_guest.PANIC_MARK, PANIC_WITHIN_S)
        guest.dump(full)
    fix_elf.main(full)
    filter_pages(full, dump, "-c")
    if cause.get("shipped"):
        plain = target / "vmcore.kdump"
        filter_pages(full, plain)
        subprocess.run(["xz", "-9e", "-f", plain], check=True)
    full.unlink()
    print(f"{name}: {dump.stat().st_size / 1e6:.1f} MB, {time.monotonic() - started:.0f} s")


def filter_pages(full: Path, dump: Path, *options: str) -> None:
    run = ["makedumpfile", "-f", *options, "-d", "31", full, dump]
    subprocess.run(run, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    dump.chmod(0o644)


def qemu(kernel: Path, name: str, cause: Facts, boot: list[str]) -> list[str]:
    arguments = {
        "-M": "pc",
        "-accel": "tcg",
        "-cpu": "max",
        "-smp": "2,sockets=2",
        "-m": str(cause.get("memory_mib", 128)),
        "-device": "vmcoreinfo",
        "-rtc": "base=2025-11-21T08:41:20",
        "-kernel": str(kernel / "bzImage"),
        "-initrd": str(kernel / "initramfs.gz"),
        "-append": f"console=ttyS0 no_timer_check cas={name} {' '.join(boot)}",
        "-drive": f"file={kernel / 'disk.ext2'},format=raw,if=virtio,snapshot=on",
    }
    options = [part for argument in arguments.items() for part in argument]
    return ["qemu-system-x86_64", "-nodefaults", *options]


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), sys.argv[2:])

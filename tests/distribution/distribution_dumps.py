"""Dumps of a distribution's kernel, in which disks, servers or a cgroup are stuck; see README."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from installed import Site

DIRECTORY = Path(os.environ.get("CAS_DISTRIBUTION", "/nowhere"))


def analyse(site: Site, name: str) -> None:
    """Make a job of a dump."""
    site.settings |= {"kernels": str(DIRECTORY / "kernels"), "engine": "drgn"}
    site.settings["debugs"] = str(DIRECTORY / "debugs")
    site.keep_snippets("sys")
    assert site.admin("-b").returncode == 0
    done = site.cas("-i", "T-1", "-f", DIRECTORY / f"{name}.vmcore", timeout=900)
    assert done.returncode in (0, 3), done.stderr


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "cgroup",
            [
                "memory_groups cause cgroup /app.slice/x reached its limit of 64.0 MiB "
                r"\(it uses 6[34].\d MiB\)",
            ],
        ),
        (
            "io",
            [
                r"disks context sda \(SCSI 0:0:0:0\) is offline",
                r"disks context dm-0 \(data1\) is suspended",
                r"file_systems context ext4 on loop0 \(/frozen\) is frozen; init \(pid \d+\) waits",
                r"file_systems context ext4 on loop2 \(/error\) has given up its journal",
                r"requests context (nvme0n1|vda): a request has waited for \d+.* \(read, in flight",
                r"rpc context a call to the nfs server 10\.0\.2\.100 has no answer, for 4\d",
            ],
        ),
    ],
)
def test_what_is_stuck_is_named(site: Site, name: str, expected: list[str]) -> None:
    analyse(site, name)
    found = site.result("T-1")["detections"]
    said = [
        f"{each['detector']} {evidence['weight']} {evidence['sentence']}"
        for each in found
        for evidence in each["evidence"]
    ]
    for words in expected:
        assert any(re.match(words, line) for line in said), (words, said)
    assert {each["status"] for each in found} <= {"ok", "skipped"}


TOLD = {
    "bonding": [
        "bond0, active-backup: 2 devices, dummy0 is active; looks each 100 ms; .*",
        "dummy0, link up, active, .*",
        "dummy1, link down, backup, .*; 1 failures; .*",
    ],
    "dm": [
        'dm-0 "slow-ext4": in use; 1 users, .*',
        "[1-9][0-9]* under way, 0 held back",
        "sectors 0 to 131071: delay",
        "reads 0 ms, writes 5000 ms later; [1-9][0-9]* wait",
        r'on \S+ \S+ "vdb"',
    ],
    "ext4": [
        r"ext4 on dm-0 \(/mnt\)",
        ".* KiB, .* KiB free, .*",
        "clean, in error; .*",
        "1 errors, .*",
        "the last in trigger_test_error, line .*",
        "journal .*: loaded, with barriers",
        "running: transaction .*, T_RUNNING, begun .* before the crash, .*",
        "committing: transaction .*, T_.*, begun .* before the crash, .*",
        r"ext4 on loop3 \(/frozen\)",
    ],
    "md": [
        r"md0 \(raid1\): 2 disks, 0 of them missing, .*",
        "loop1, disk 0: In_sync.*; 0 requests",
        "rebuild: .*MD_RECOVERY_RUNNING, MD_RECOVERY_SYNC.*",
        ".* sectors done, asked for up to .*",
        'by pid .* "md0_resync", .*',
    ],
    "nfs": [
        r"NFS 4.2 server 127.0.0.1; .*",
        "ready; .*",
        'mount "0:.*" "nfs4": read .* bytes at a time',
        "nfs at 127.0.0.1: [1-9] calls wait; the connection is .*connected.*",
        "nfs OPEN, status .*, begun .* before the crash: rpc_task .*",
        r"NFS 4.0 server 10.0.2.100; .*",
        "being set up; .*",
    ],
    "nvme": [
        "nvme0 NVME_CTRL_.*: QEMU NVMe Ctrl, serial number cas, by pcie, 3 queues; .*",
        "queue 1: 1024 entries, sent up to .*, answers taken up to .*; enabled",
        "read sector .*, 65,536 bytes, in flight, made .* before the crash: request .*",
    ],
    "virtio": [
        r"virtio0 \(network\) at 0000:00:0.*, virtio_net; .*",
        'network device "eth0"',
        "queue 0 input.0: 256 entries, 2.. in use, 2.. with the host, tells skb_recv_done; .*",
        'disk "vda"',
        "read sector .*, 65,536 bytes, in flight, .*",
        "queue . req.0: 256 entries, .* in use, .* with the host, .*tells virtblk_done; .*",
    ],
    "xfs": [
        r"xfs on dm-1 \(/xfs\)",
        ".* KiB, .* KiB free; .* inodes, .* of them free; 4 groups",
        "log of .* KiB: begins at .*, is written up to .*",
        "waiting to be written in their places: .*inode.*buffer.*",
        'the oldest is of .*; pid .* "xfsaild/dm-1", .* writes up to .*',
    ],
}


def test_modules_tell_what_their_drivers_were_doing(site: Site) -> None:
    analyse(site, "busy")
    done = site.cas("glide", "T-1", "--tasks", "panic", timeout=900)
    assert (done.returncode, "is disabled" in done.stdout) == (0, False), done.stderr
    sections: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        if head := re.fullmatch("== (.*) ==", line):
            told = sections[head[1]] = []
        elif sections:
            told.append(line.strip())
    for module, forms in TOLD.items():
        for form in forms:
            assert any(re.fullmatch(form, line) for line in sections[module]), (module, form)

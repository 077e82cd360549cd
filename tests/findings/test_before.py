"""What the kernel log says of the time before a crash."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from cas.findings import find
from cas.findings.before_crash import GROUPS_LIMIT
from cas.findings.outline import outline, sentences
from cas.klog.troubles import _TABLE, LINES_LIMIT, PASSING, Trouble, trouble_in
from cas.model.dump import Dump
from cas.model.finding import Finding, LogEvent
from cas.report.before_crash import SHOWN, before_phrases, first_before
from cas.text import log_event

SYSRQ = """\
[{0}.000000] sysrq: Trigger a crash
[{0}.000001] Kernel panic - not syncing: sysrq triggered crash
"""
HUNG = """\
[{0}.000000] INFO: task {1} blocked for more than {2} seconds.
[{0}.000001] Call Trace:
[{0}.000002]  schedule+0x55/0xa0
[{0}.000003]  {3}+0x18/0x2c [nfs]
"""
TROUBLES = [
    ("mce: [Hardware Error]: Machine check events logged", Trouble.MACHINE_CHECK),
    ("mce: [Hardware Error]: CPU 3: Machine Check: 0 Bank 5: be00000000800400", "machine check"),
    ("{1}[Hardware Error]: event severity: fatal", Trouble.MACHINE_CHECK),
    ("{1}[Hardware Error]: event severity: corrected", Trouble.CORRECTED),
    ("BERT: Error records from previous boot:", Trouble.MACHINE_CHECK),
    ("EDAC MC0: 1 UE memory read error on CPU_SrcID#0", Trouble.BAD_MEMORY),
    ("EDAC MC0: 1 CE memory read error on CPU_SrcID#0", Trouble.CORRECTED),
    (
        "pcieport 0000:00:1c.0: AER: Uncorrected (Non-Fatal) error received: 0000:01:00.0",
        Trouble.PCIE,
    ),
    ("pcieport 0000:00:1c.0: AER: Corrected error received: 0000:01:00.0", Trouble.CORRECTED),
    ("pcieport 0000:00:1c.0: DPC: containment event, status:0x1f01", Trouble.PCIE),
    ("Uhhuh. NMI received for unknown reason 2d on CPU 0.", Trouble.NMI),
    ("CPU3: Core temperature above threshold, cpu clock throttled", Trouble.THERMAL),
    ("DMAR: [DMA Write] Request device [03:00.0] fault addr f0000000", Trouble.DEVICE),
    ("AMD-Vi: Event logged [IO_PAGE_FAULT device=03:00.0]", Trouble.DEVICE),
    ("NVRM: Xid (PCI:0000:3b:00): 79, pid=1, GPU has fallen off the bus.", Trouble.DEVICE),
    ("blk_update_request: I/O error, dev sda, sector 1 op 0x0:(READ)", Trouble.IO_ERROR),
    ("end_request: I/O error, dev sdb, sector 1", Trouble.IO_ERROR),
    ("critical medium error, dev nvme0n1, sector 8 op 0x0:(READ)", Trouble.IO_ERROR),
    ("Buffer I/O error on dev dm-3, logical block 8, lost async page write", Trouble.IO_ERROR),
    ("sd 0:0:0:0: [sda] tag#0 Sense Key : Medium Error [current]", Trouble.IO_ERROR),
    ("sd 0:0:0:0: [sda] tag#3 FAILED Result: hostbyte=DID_TIME_OUT", Trouble.STORAGE),
    ("sd 0:0:0:0: rejecting I/O to offline device", Trouble.STORAGE),
    ("ata1.00: exception Emask 0x0 SAct 0x0 SErr 0x0 action 0x6 frozen", Trouble.STORAGE),
    ("nvme nvme0: I/O 12 QID 3 timeout, aborting", Trouble.STORAGE),
    (
        "nvme nvme0: I/O tag 12 (100c) opcode 0x1 (I/O Cmd) QID 3 timeout, aborting",
        "storage timeout",
    ),
    ("nvme nvme0: controller is down; will reset: CSTS=0x3", Trouble.STORAGE),
    ("device-mapper: multipath: 253:0: Failing path 8:16.", Trouble.STORAGE),
    ("md/raid1:md0: Disk failure on sda1, disabling device.", Trouble.STORAGE),
    (" rport-0:0-1: blocked FC remote port time out: removing target", Trouble.STORAGE),
    ("EXT4-fs error (device sda1): ext4_find_entry:1455: inode #2: comm ls", Trouble.FILE_SYSTEM),
    ("EXT4-fs (sda1): Remounting filesystem read-only", Trouble.FILE_SYSTEM),
    ("Aborting journal on device dm-3-8.", Trouble.FILE_SYSTEM),
    ("XFS (dm-0): Metadata corruption detected at xfs_agf_read_verify", Trouble.FILE_SYSTEM),
    ("XFS (dm-0): log I/O error -5", Trouble.FILE_SYSTEM),
    ("BTRFS error (device sda1): parent transid verify failed", Trouble.FILE_SYSTEM),
    ("nfs: server fs1.example.com not responding, still trying", Trouble.NOT_RESPONDING),
    ("CIFS: VFS: \\\\fs1 has not responded in 180 seconds. Reconnecting", Trouble.NOT_RESPONDING),
    ("Out of memory: Killed process 812 (java) total-vm:1kB", Trouble.OUT_OF_MEMORY),
    ("Memory cgroup out of memory: Kill process 812 (java) score 9", Trouble.OUT_OF_MEMORY),
    ("java: page allocation failure: order:4, mode:0x40d0", Trouble.ALLOCATION),
    ("sched: RT throttling activated", Trouble.STALL),
    ("rcu: rcu_preempt kthread starved for 5000 jiffies!", Trouble.STALL),
    ("e1000e 0000:00:19.0 eth0: Detected Hardware Unit Hang:", Trouble.NETWORK),
    ("nf_conntrack: nf_conntrack: table full, dropping packet", Trouble.NETWORK),
    ("clocksource: timekeeping watchdog on CPU1: Marking clocksource 'tsc' as unstable", "clock"),
    ("usb 1-1: USB disconnect, device number 2", Trouble.GONE),
    ("demo: loading out-of-tree module taints kernel.", Trouble.KMOD),
    ("livepatch: 'demo_fix': starting patching transition", Trouble.KMOD),
    ("sysrq: Show Blocked State", Trouble.SYSRQ),
    ("mce: [Hardware Error]: Corrected error, no action required.", Trouble.CORRECTED),
    ("pcieport 0000:00:1c.0: AER: device recovery failed", Trouble.PCIE),
    (
        "pcieport 0000:00:1c.0: PCIe Bus Error: severity=Uncorrected (Fatal)",
        Trouble.PCIE,
    ),
    (
        "pcieport 0000:00:1c.0: AER: PCIe Bus Error: severity=Corrected, type=Physical Layer",
        Trouble.CORRECTED,
    ),
    (
        "nvme 0000:01:00.0: Unable to change power state from D3cold to D0, device inaccessible",
        Trouble.PCIE,
    ),
    ("pcieport 0000:00:1c.0: pciehp: Slot(1): Link Down", Trouble.GONE),
    ("NMI: IOCK error (debug interrupt?) for reason 71 on CPU 0.", Trouble.BUS),
    ("NMI: PCI system error (SERR) for reason b1 on CPU 0.", Trouble.BUS),
    ("thermal thermal_zone0: acpitz: critical temperature reached, shutting down", Trouble.THERMAL),
    ("arm-smmu 12d00000.iommu: Unhandled context fault: fsr=0x2, iova=0x0", Trouble.DEVICE),
    ("i915 0000:00:02.0: [drm] GPU HANG: ecode 9:1:85dffffb", Trouble.DEVICE),
    ("[drm:amdgpu_job_timedout [amdgpu]] *ERROR* ring gfx timeout, signaled seq=1", Trouble.DEVICE),
    ("xhci_hcd 0000:00:14.0: xHCI host controller not responding, assume dead", Trouble.DEVICE),
    ("xhci_hcd 0000:00:14.0: HC died; cleaning up", Trouble.DEVICE),
    ("Read-error on swap-device (8:0:1234)", Trouble.IO_ERROR),
    ("sd 0:0:0:0: Device offlined - not ready after error recovery", Trouble.STORAGE),
    ("sd 0:0:0:0: timing out command, waited 180s", Trouble.STORAGE),
    ("sd 0:0:0:0: attempting task abort! scmd(0xffff8880)", Trouble.STORAGE),
    (
        "Memory failure: 0x12345: recovery action for dirty LRU page: Recovered",
        Trouble.MACHINE_CHECK,
    ),
    ("mpt3sas_cm0: fault_state(0x2665)!", Trouble.STORAGE),
    (
        "megaraid_sas 0000:03:00.0: Found FW in FAULT state, will reset adapter scsi0.",
        Trouble.STORAGE,
    ),
    ("hpsa 0000:03:00.0: Controller lockup detected: 0x00150000 after 30", Trouble.STORAGE),
    (
        "qla2xxx [0000:05:00.0]-801c:2: Abort command issued nexus=2:0:0 --  0 2002.",
        Trouble.STORAGE,
    ),
    (" connection1:0: detected conn error (1020)", Trouble.STORAGE),
    (" session1: session recovery timed out after 120 secs", Trouble.STORAGE),
    ("ata1: hard resetting link", Trouble.STORAGE),
    ("ata1: COMRESET failed (errno=-16)", Trouble.STORAGE),
    ("nvme0n1: I/O Cmd(0x2) @ LBA 8, 8 blocks, I/O Error (sct 0x2 / sc 0x81)", Trouble.IO_ERROR),
    (
        "device-mapper: thin: 253:4: metadata operation 'dm_thin_insert_block' failed: error = -5",
        Trouble.IO_ERROR,
    ),
    ("mmc0: Timeout waiting for hardware interrupt.", Trouble.STORAGE),
    ("block nbd0: Connection timed out", Trouble.STORAGE),
    ("libceph: osd3 (1)192.0.2.7:6800 socket closed (con state OPEN)", Trouble.NOT_RESPONDING),
    (
        "WARNING: Pool 'tank' has encountered an uncorrectable I/O failure and has been suspended.",
        Trouble.IO_ERROR,
    ),
    ("FAT-fs (sdb1): error, fat_get_cluster: invalid cluster chain (i_pos 0)", Trouble.FILE_SYSTEM),
    ("JBD2: Detected IO errors while flushing file data on sda1-8", Trouble.FILE_SYSTEM),
    (
        "XFS: rsync(812) possible memory allocation deadlock size 65552",
        Trouble.ALLOCATION,
    ),
    ("BTRFS warning (device sda1): csum failed root 5 ino 257 off 0", Trouble.FILE_SYSTEM),
    ("BTRFS info (device sda1): forced readonly", Trouble.FILE_SYSTEM),
    ("GFS2: fsid=cluster:data.0: fatal: filesystem consistency error", Trouble.FILE_SYSTEM),
    ("OCFS2: ERROR (device sda1): ocfs2_validate_inode_block: bad", Trouble.FILE_SYSTEM),
    (
        "o2net: Connection to node n2 (num 2) at 192.0.2.2:7777 has been idle for 30.2 secs.",
        Trouble.NOT_RESPONDING,
    ),
    ("SQUASHFS error: zlib decompression failed, data probably corrupt", Trouble.FILE_SYSTEM),
    ("LustreError: 11-0: scratch-OST0001: operation ost_connect failed", Trouble.FILE_SYSTEM),
    (
        "Lustre: scratch-OST0001-osc: Connection to scratch-OST0001 (at 192.0.2.9@tcp) was lost",
        Trouble.NOT_RESPONDING,
    ),
    (
        "NFS: state manager: check lease failed on NFSv4 server fs1 with error 13",
        Trouble.NOT_RESPONDING,
    ),
    ("SLUB: Unable to allocate memory on node -1, gfp=0x20(GFP_ATOMIC)", Trouble.ALLOCATION),
    ("java: vmalloc error: size 8589934592, exceeds total pages, mode:0xcc0", Trouble.ALLOCATION),
    ("sched: DL replenish lagged too much", Trouble.STALL),
    (
        "smp: csd: Detected non-responsive CSD lock (#1) on CPU#0, waiting 5000000 ns for CPU#01",
        Trouble.STALL,
    ),
    (
        "e1000e 0000:00:19.0 eth0: NETDEV WATCHDOG: CPU: 1: transmit queue 0 timed out 5376 ms",
        Trouble.NETWORK,
    ),
    ("igb 0000:01:00.0 eth0: Detected Tx Unit Hang", Trouble.NETWORK),
    ("e1000e 0000:00:19.0 eth0: Reset adapter unexpectedly", Trouble.NETWORK),
    ("ixgbe 0000:03:00.0 eth0: initiating reset due to tx timeout", Trouble.NETWORK),
    ("bnxt_en 0000:3b:00.0 eth0: TX timeout detected, starting reset task!", Trouble.NETWORK),
    (
        "mlx5_core 0000:08:00.0: health_care:123:(pid 9): device's health compromised",
        Trouble.NETWORK,
    ),
    ("neighbour: arp_cache: neighbor table overflow!", Trouble.NETWORK),
    ("bond0: (slave eth0): link status definitely down, disabling slave", Trouble.LINK),
    ("bond0: now running without any active interface!", Trouble.NETWORK),
    ("TCP: out of memory -- consider tuning tcp_mem", Trouble.LIMIT),
    ("VFS: file-max limit 1024 reached", Trouble.LIMIT),
    ("cgroup: fork rejected by pids controller in /user.slice", Trouble.LIMIT),
    ("Clock: inserting leap second 23:59:60 UTC", Trouble.CLOCK),
    (
        "demo: module verification failed: signature and/or required key missing - tainting kernel",
        Trouble.KMOD,
    ),
    (
        "demo: module is from the staging directory, the quality is unknown, you have been warned.",
        Trouble.KMOD,
    ),
    ("SysRq : Show Blocked State", Trouble.SYSRQ),
]
ORDINARY = [
    "blk_update_request: I/O error, dev fd0, sector 0 op 0x0:(READ) flags 0x0",
    "Buffer I/O error on dev sr0, logical block 0, async page read",
    "critical target error, dev sda, sector 8 op 0x3:(DISCARD) flags 0x800",
    "EXT4-fs (sda1): mounted filesystem with ordered data mode. Opts: errors=remount-ro",
    "EXT4-fs (sda1): warning: mounting unchecked fs, running e2fsck is recommended",
    "EXT4-fs (sda1): recovery complete",
    "XFS (dm-0): Ending recovery (logdev: internal)",
    "BTRFS info (device sda1): bdev /dev/sda1 errs: wr 0, rd 0, flush 0, corrupt 0, gen 0",
    "FAT-fs (sda1): Volume was not properly unmounted. Some data may be corrupt.",
    "pcieport 0000:00:01.0: AER: enabled with IRQ 24",
    "EDAC MC0: Giving out device to module skx_edac controller Skylake Socket#0 IMC#0",
    "mce: CPU0: Thermal monitoring enabled (TM1)",
    "mce: [Firmware Bug]: Ignoring request to disable invalid MCA bank 14.",
    "ata1: SATA link down (SStatus 0 SControl 300)",
    "ata2: SATA link up 6.0 Gbps (SStatus 133 SControl 300)",
    "nvme nvme0: missing or invalid SUBNQN field.",
    "nvme nvme0: 8/0/0 default/read/poll queues",
    "mpt3sas_cm0: sending diag reset !!",
    "sd 0:0:0:0: Power-on or device reset occurred",
    "megaraid_sas 0000:03:00.0: Waiting for FW to come to ready state",
    "qla2xxx [0000:05:00.0]-500a:2: LOOP UP detected (8 Gbps).",
    "e1000e 0000:00:19.0 eth0: NIC Link is Down",
    "device-mapper: ioctl: 4.47.0-ioctl (2022-07-28) initialised: dm-devel@redhat.com",
    "clocksource: Switched to clocksource tsc",
    "clocksource: timekeeping watchdog on CPU1: hpet retried 2 times before success",
    "NMI watchdog: Enabled. Permanently consumes one hw-PMU counter.",
    "systemd[1]: Starting Remount Root and Kernel File Systems...",
    'audit: type=1400 audit(1.1:1): apparmor="STATUS" name="I/O error, dev sda"',
    "GHES: APEI firmware first mode is enabled by APEI bit and WHEA _OSC.",
    "thermal thermal_zone0: failed to read out thermal zone (-61)",
    "nfs: server fs1 OK",
    "sysrq: HELP : loglevel(0-9) reboot(b) crash(c)",
]


def judged(log: str) -> Finding:
    return find(Dump(Path("vmcore"), "ELF", 1, "x86_64", dmesg=log), None, None)


def told(log: str) -> list[tuple[str, int]]:
    return [(event.kind, event.count) for event in judged(log).before]


@pytest.mark.parametrize(("line", "trouble"), TROUBLES)
def test_a_line_tells_of_trouble(line: str, trouble: str) -> None:
    assert trouble_in(line) == trouble


def test_every_wording_has_an_example() -> None:
    lines = [line.lstrip() for line, _ in TROUBLES]
    reached = {row for row in _TABLE for line in lines if row[0] in line and re.match(row[1], line)}
    assert [row for row in _TABLE if row not in reached] == []


def test_what_any_machine_says_is_no_trouble() -> None:
    log = "".join(f"[{n:5}.000000] {line}\n" for n, line in enumerate(ORDINARY, 1))
    assert [line for line in ORDINARY if trouble_in(line)] == []
    assert told(log + SYSRQ.format(99)) == []


def test_the_same_again_is_told_once_with_its_times() -> None:
    lines = [f"[{900 + n}.500000] I/O error, dev sda, sector {n * 8} op 0x0" for n in range(17)]
    other = "[  950.000000] I/O error, dev sdb, sector 8 op 0x0"
    finding = judged("\n".join([*lines, other, SYSRQ.format(1000)]))
    first, other_disk = finding.before
    assert (other_disk.count, other_disk.text) == (1, "I/O error, dev sdb, sector 8 op 0x0")
    assert first == LogEvent(
        kind="I/O error",
        text="I/O error, dev sda, sector 0 op 0x0",
        count=17,
        first_s=900.5,
        last_s=916.5,
        began_before_s=99.5,
        ended_before_s=83.5,
        line=0,
    )
    assert before_phrases(finding)[0] == (
        "[900.500000] I/O error, dev sda, sector 0 op 0x0 \N{MULTIPLICATION SIGN}17"
        " (1 min 39 s to 1 min 23 s before)"
    )


def test_a_deliberate_crash_tells_which_tasks_hung_before_it() -> None:
    tasks = [(700, "rsync:812", 120), (700, "rsync:813", 120), (820, "rsync:812", 241)]
    log = "".join(HUNG.format(*each, "nfs_wait_bit_killable") for each in tasks)
    finding = judged(log + SYSRQ.format(1012))
    assert finding.what == (
        "SysRq: Trigger a crash (deliberate); before it: 2 tasks hung, the first 5 min 12 s earlier"
        " (rsync in nfs_wait_bit_killable)"
    )
    assert finding.title == "crash by sysrq"
    assert finding.signature is None
    (event,) = finding.before
    assert (event.kind, event.count, event.where) == ("hung task", 3, "nfs_wait_bit_killable")


@pytest.mark.parametrize(
    ("end", "what"),
    [
        (
            "[1012.000000] Kernel panic - not syncing: NMI: Not continuing",
            "NMI: Not continuing; before it: a soft lockup 12 s earlier",
        ),
        (
            "[1900.000000] eth0: all is well",
            "a system that was running; before it: a soft lockup 15 min earlier",
        ),
    ],
)
def test_an_nmi_and_a_running_system_tell_it_too(end: str, what: str) -> None:
    lockup = "[1000.000000] watchdog: BUG: soft lockup - CPU#2 stuck for 23s! [spinner:61]\n"
    assert judged(f"{lockup}{end}\n").what.endswith(what)


def test_a_crash_with_a_cause_of_its_own_is_not_explained_by_what_came_before() -> None:
    log = "[  10.000000] nfs: server fs1 not responding, still trying\n"
    log += "[  20.000000] BUG: kernel NULL pointer dereference, address: 0000000000000008\n"
    finding = judged(log)
    assert "not responding" not in finding.what
    assert [event.kind for event in finding.before] == ["not responding"]


def test_what_happens_anywhere_is_told_only_shortly_before_and_not_of_the_boot() -> None:
    gone = "[{}.000000] usb 1-1: USB disconnect, device number 2\n"
    assert Trouble.GONE in PASSING
    assert told(gone.format(500) + SYSRQ.format(1000)) == [("disconnect", 1)]
    assert told(gone.format(500) + SYSRQ.format(2000)) == []
    assert told(gone.format(50) + SYSRQ.format(500)) == []
    assert told(gone.format(50) + SYSRQ.format(60)) == [("disconnect", 1)]


def test_a_link_is_down_that_was_up() -> None:
    down = "[{}.000000] e1000e 0000:00:19.0 eth0: NIC Link is Down\n"
    up = "[{}.000000] e1000e 0000:00:19.0 eth0: NIC Link is Up 1000 Mbps Full Duplex\n"
    assert told(down.format(900) + up.format(901) + SYSRQ.format(1000)) == []
    log = up.format(4) + down.format(900) + up.format(901) + SYSRQ.format(1000)
    assert told(log) == [("link down", 1)]


def test_another_boot_in_the_log_of_a_console_counts_for_nothing() -> None:
    error = "[ 900.000000] I/O error, dev sda, sector 8\n"
    boot = "[   0.000000] Linux version 6.1.0 (a@b) #1 SMP\n"
    assert told(error + boot + SYSRQ.format(10)) == []


def test_nothing_behind_the_crash_is_told() -> None:
    assert told(SYSRQ.format(10) + "[  11.000000] I/O error, dev sda, sector 8\n") == []


def test_what_is_hours_old_is_told_last() -> None:
    log = "[ 100.000000] mce: [Hardware Error]: Machine check events logged\n"
    log += "[9000.000000] java: page allocation failure: order:4, mode:0x40d0\n"
    assert told(log + SYSRQ.format(9001)) == [("allocation failure", 1), ("machine check", 1)]


def test_the_most_telling_is_told_first_and_of_hangs_a_sentence_speaks_first() -> None:
    log = "[ 900.000000] java: page allocation failure: order:4, mode:0x40d0\n"
    log += HUNG.format(905, "cat:62", 120, "f")
    log += "[ 910.000000] I/O error, dev sda, sector 8\n"
    log += "[ 920.000000] mce: [Hardware Error]: Machine check events logged\n"
    finding = judged(log + SYSRQ.format(1000))
    assert [event.kind for event in finding.before] == [
        *("machine check", "I/O error", "hung task", "allocation failure")
    ]
    assert finding.what.endswith(
        "; before it: a task hung 1 min 35 s earlier (cat in f); a machine check 1 min 20 s earlier"
    )


@pytest.mark.parametrize(
    ("line", "trouble"),
    [
        ("BUG: unable to handle page fault for address: ffffdead00001000", Trouble.OOPS),
        ("WARNING: CPU: 1 PID: 9 at lib/list_debug.c:26 f+0x1/0x2", Trouble.OVERWRITTEN),
        ("BUG: KASAN: slab-use-after-free in demo_poke+0x10/0x20 [demo]", Trouble.OVERWRITTEN),
        ("WARNING: CPU: 1 PID: 9 at net/core/demo.c:12 demo_send+0x10/0x20", Trouble.WARNING),
        ("INFO: task cat:62 blocked for more than 120 seconds.", Trouble.HUNG),
        ("watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [insmod:99]", Trouble.SOFT_LOCKUP),
        ("NMI watchdog: Watchdog detected hard LOCKUP on cpu 3", Trouble.HARD_LOCKUP),
        ("rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", Trouble.RCU_STALL),
        ("SError Interrupt on CPU12, code 0x00000000be000411 -- SError", Trouble.MACHINE_CHECK),
        ("Out of memory: Killed process 812 (java) total-vm:1kB", Trouble.OUT_OF_MEMORY),
        ("Uhhuh. NMI received for unknown reason 2d on CPU 0.", Trouble.NMI),
    ],
)
def test_a_report_that_the_kernel_survived_is_told_once_by_its_kind(
    line: str, trouble: str
) -> None:
    assert told(f"[ 900.000000] {line}\n{SYSRQ.format(1000)}") == [(trouble, 1)]


def test_a_log_without_stamps_has_no_times() -> None:
    (event,) = judged("I/O error, dev sda, sector 8\nsysrq: Trigger a crash\n").before
    assert (event.first_s, event.began_before_s) == (None, None)
    assert log_event(event) == "I/O error, dev sda, sector 8"


def test_a_flood_is_bounded_and_says_so() -> None:
    flood = "[ 900.000000] I/O error, dev sda, sector 8\n" * (LINES_LIMIT + 5)
    many = "".join(f"[ 901.000000] I/O error, dev sd{n:04}, sector 8\n" for n in range(300))
    (event, *_) = judged(flood + SYSRQ.format(999)).before
    assert log_event(event).endswith(
        "\N{MULTIPLICATION SIGN}2,000 or more (the last 1 min 39 s before)"
    )
    assert judged(flood + SYSRQ.format(999)).what.endswith(
        "; before it: 2,000 or more lines of I/O errors, the last 1 min 39 s earlier"
    )
    tasks = "".join(HUNG.format(900, f"cat:{n}", 120, "f") for n in range(1200))
    assert re.search(r": \d+ or more tasks hung, ", judged(tasks + SYSRQ.format(999)).what)
    finding = judged(many + SYSRQ.format(999))
    assert len(finding.before) == GROUPS_LIMIT
    assert len(before_phrases(finding)) == SHOWN + 1
    assert first_before(finding)[-1] == "and 97 more"


def test_a_hostile_line_does_nothing_to_a_reader() -> None:
    line = "[1.000000] nfs: server \x1b[2J\u202e" + "x" * 40 + " not responding " + "y" * 5000
    finding = judged(line + "\n" + SYSRQ.format(9))
    assert len(finding.before[0].text) <= 300
    assert all(text.isprintable() for text in first_before(finding))


def test_the_outline_of_a_log_has_it() -> None:
    told = outline("[  8.000000] I/O error, dev sda, sector 8\n" + SYSRQ.format(9))
    assert "Before: [8.000000] I/O error, dev sda, sector 8 (1 s before)" in list(sentences(told))


def test_lines_that_say_the_same_as_the_crash_are_not_before_it() -> None:
    line = "[  8.000000] Kernel panic - not syncing: Fatal hardware error!\n"
    (event,) = judged("[  7.900000] {1}[Hardware Error]: event severity: fatal\n" + line).before
    assert replace(event, began_before_s=None).kind == "machine check"

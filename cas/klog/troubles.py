"""With which words a kernel tells of trouble that it survives: disks, links, servers, hardware.

The texts are those of the kernel's sources, from Linux 2.6 to 7.x; each group names the files that
print them. What makes a report of its own (an oops, a hung task) is in ``wordings``. To add one: a
literal part that every such line has (the log is searched for it), a pattern for the line, and what
it means. The group ``on`` of a pattern is what it is about, a device or a server: lines of one
wording about one thing are the same again. What any machine says while it starts is no trouble: an
empty drive, a link that is not up yet, a signature that is tried.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import cache
from itertools import islice
from typing import NamedTuple

from cas.klog.lines import Log

LINES_LIMIT = 2000
"""Lines with one literal part, the newest, that are looked at."""


class Trouble(StrEnum):
    """What a line tells of, the most telling first; the values stand in result.json."""

    MACHINE_CHECK = "machine check"
    """The processor or the firmware reports broken hardware, or does not say how bad it is."""
    BAD_MEMORY = "memory error"
    """A memory controller could not correct what it read."""
    PCIE = "PCIe error"
    """An error on a PCI Express link that was not corrected, or a device that is gone."""
    OOPS = "oops"
    OVERWRITTEN = "bad memory access"
    """A checker caught a bad access, or a list, a page or a slab was found corrupt."""
    IO_ERROR = "I/O error"
    FILE_SYSTEM = "file system error"
    NOT_RESPONDING = "not responding"
    """A server on the network."""
    STORAGE = "storage timeout"
    """A disk or its path timed out, was reset or is gone."""
    HARD_LOCKUP = "hard lockup"
    SOFT_LOCKUP = "soft lockup"
    RCU_STALL = "RCU stall"
    HUNG = "hung task"
    OUT_OF_MEMORY = "out of memory"
    """A task was killed for its memory."""
    ALLOCATION = "allocation failure"
    STALL = "stall"
    """Something else that did not get the processor, or did not answer another one."""
    DEVICE = "device fault"
    """A device hangs, or reaches for memory that is not its own."""
    BUS = "bus error"
    """The chipset reports an error on a bus by an NMI."""
    NMI = "unknown NMI"
    """An NMI that no driver and no handler of the kernel's takes for its own."""
    THERMAL = "overheating"
    NETWORK = "network"
    """A network device hangs or was reset, or a table of the network is full."""
    WARNING = "warning"
    CORRECTED = "corrected hardware error"
    LIMIT = "limit reached"
    CLOCK = "clock"
    LINK = "link down"
    GONE = "disconnect"
    KMOD = "module loaded"
    """A kernel module that taints the kernel, or a live patch."""
    SYSRQ = "sysrq"
    """Somebody asked the kernel for a state, or to do something."""


PASSING = frozenset({Trouble.CLOCK, Trouble.LINK, Trouble.GONE, Trouble.KMOD, Trouble.SYSRQ})
"""What happens on any machine, and is only worth a word shortly before a crash."""


class Told(NamedTuple):
    """A line of the log that tells of trouble."""

    line: int
    """Its number in the log."""
    trouble: Trouble
    on: str
    """What it is about: with the wording, that by which it is the same as another."""
    is_flood: bool
    """There may be more of them than were looked at."""


_DISK = r"(?P<on>(?!fd\d|sr\d)[\w!/:-]{1,40})"
"""Floppies and drives without a disc fail whenever somebody looks at them."""
_SCSI = r"(?P<on>(?:sd|st|ses|ch|scsi) ?[\d:]{1,24}): (?:\[\w{1,16}\] )?(?:tag#\d+ )?"
_FS = r"\((?:device )?(?P<on>[^) ]{1,60})[^)]{0,40}\)"
_HE = r"(?:mce: |[\w-]{1,20}: )?(?:\{\d+\})?\[Hardware Error\]: "

_SAME_HE = _HE.replace(r"\[Hardware Error\]", r"(?P<on>\[Hardware Error\])")
"""All lines of one machine check, and those of several, are the same again."""
_SYSRQ = (
    r"(?:sysrq: |SysRq : )+(?P<on>Show \w.{0,40}|Emergency .{0,20}|Manual OOM.{0,20}"
    r"|(?:Kill|Terminate) All.{0,10})"
)

_TABLE: tuple[tuple[str, str, Trouble], ...] = (
    # arch/x86/kernel/cpu/mce/core.c, drivers/edac/mce_amd.c, drivers/acpi/apei/ghes.c, bert.c,
    # mm/memory-failure.c; what the last kernel died of comes without a number (bert.c)
    (
        "[Hardware Error]",
        _HE + r"(?:Corrected error|CPU:\d+ .{0,40}\[[^\]]{0,60}\|CE\|)",
        Trouble.CORRECTED,
    ),
    (
        "[Hardware Error]",
        r".{0,40}\{\d+\}\[Hardware Error\]: event severity: (?:corrected|info)",
        Trouble.CORRECTED,
    ),
    (
        "[Hardware Error]",
        r".{0,40}\{\d+\}\[Hardware Error\]: event severity: (?:recoverable|fatal|panic)",
        Trouble.MACHINE_CHECK,
    ),
    (
        "[Hardware Error]",
        _SAME_HE
        + r"(?:CPU \d+: Machine [Cc]heck|Uncorrected|Deferred error|Machine check events logged"
        r"|Machine check: )",
        Trouble.MACHINE_CHECK,
    ),
    ("BERT: ", r"BERT: Error records from previous boot", Trouble.MACHINE_CHECK),
    ("Memory failure: 0x", r"Memory failure: 0x[0-9a-f]{1,16}: ", Trouble.MACHINE_CHECK),
    # drivers/edac/edac_mc.c
    ("EDAC ", r"EDAC (?P<on>\w{1,20}): (?:\d+ )?UE\b", Trouble.BAD_MEMORY),
    ("EDAC ", r"EDAC (?P<on>\w{1,20}): (?:\d+ )?CE\b", Trouble.CORRECTED),
    # drivers/pci/pcie/aer.c, dpc.c, drivers/pci/pci.c
    (
        "AER: ",
        r"(?P<on>[\w-]{1,30} [0-9a-f:.]{7,20}): AER: (?:Multiple )?Uncorrect\w+ \(.{1,12}\) error",
        Trouble.PCIE,
    ),
    ("AER: ", r"(?P<on>[\w-]{1,30} [0-9a-f:.]{7,20}): AER: (?:Multiple )?Corr", Trouble.CORRECTED),
    ("AER: ", r"(?P<on>[\w-]{1,30} [0-9a-f:.]{7,20}): AER: .{0,20}recovery failed", Trouble.PCIE),
    (
        "PCIe Bus Error: ",
        r"(?P<on>[\w-]{1,30} [0-9a-f:.]{7,20}): (?:AER: )?PCIe Bus Error: severity=Unc",
        Trouble.PCIE,
    ),
    (
        "PCIe Bus Error: ",
        r"(?P<on>[\w-]{1,30} [0-9a-f:.]{7,20}): (?:AER: )?PCIe Bus Error: severity=Corr",
        Trouble.CORRECTED,
    ),
    (
        "DPC: containment event",
        r"(?P<on>[\w-]{1,30} [0-9a-f:.]{7,20}): DPC: containment event",
        Trouble.PCIE,
    ),
    (
        "device inaccessible",
        r"(?P<on>[\w-]{1,30} [0-9a-f:.]{7,20}): Unable to change power state .{1,40}inaccessible",
        Trouble.PCIE,
    ),
    # drivers/pci/hotplug/pciehp_ctrl.c
    (
        "Slot(",
        r"(?:pciehp|pcieport) .{0,60}Slot\((?P<on>[^)]{1,20})\): (?:Link Down|Card not present)",
        Trouble.GONE,
    ),
    # arch/x86/kernel/nmi.c: unknown_nmi_error(); pci_serr_error(), io_check_error()
    ("NMI received for unknown", r"Uhhuh\. NMI received for unknown reason", Trouble.NMI),
    ("NMI: ", r"NMI: (?:PCI system error|IOCK error)", Trouble.BUS),
    # arch/x86/kernel/cpu/mce/therm_throt.c, drivers/thermal/thermal_core.c
    (
        "emperature above threshold",
        r"(?:mce: )?CPU\d+: (?:Core |Package )?[Tt]emperature above threshold",
        Trouble.THERMAL,
    ),
    ("ritical temperature reached", r".{0,60}[Cc]ritical temperature reached", Trouble.THERMAL),
    # drivers/iommu/intel/dmar.c, amd/iommu.c, arm/arm-smmu*/
    (
        "Request device [",
        r"DMAR: ?\[.{1,40}\] Request device \[(?P<on>[^\]]{1,20})",
        Trouble.DEVICE,
    ),
    (
        "Event logged [",
        r"(?:AMD-Vi|[\w ]{1,30}[\d:.]{7,14}): .{0,10}Event logged \[",
        Trouble.DEVICE,
    ),
    ("Unhandled context fault", r"(?P<on>arm-smmu\S{0,60} \S{1,40}): Unhandled", Trouble.DEVICE),
    # NVIDIA's driver; drivers/gpu/drm/i915, amd/amdgpu
    ("NVRM: Xid", r"NVRM: Xid \((?P<on>[^)]{1,30})\)", Trouble.DEVICE),
    ("GPU HANG", r".{0,80}GPU HANG", Trouble.DEVICE),
    ("*ERROR* ring ", r".{0,120}\*ERROR\* ring (?P<on>\S{1,20}) timeout", Trouble.DEVICE),
    # drivers/usb/host/xhci*.c
    (
        "xHCI host controller not responding",
        r"xhci_hcd (?P<on>\S{1,30}): xHCI host controller not responding",
        Trouble.DEVICE,
    ),
    ("HC died", r"xhci_hcd (?P<on>\S{1,30}): HC died", Trouble.DEVICE),
    # block/blk-core.c, block/blk-mq.c: print_req_error(); fs/buffer.c; mm/page_io.c. A discard that
    # is refused is none
    (
        "error, dev ",
        r"(?:\w{1,20}_request: |print_req_error: )?(?:I/O|timeout|recoverable transport|protection"
        rf"|critical (?:medium|target|space allocation)) error, dev {_DISK},"
        r"(?! sector \d+ op 0x[39]:)",
        Trouble.IO_ERROR,
    ),
    ("Buffer I/O error on dev", rf"Buffer I/O error on dev(?:ice)? {_DISK},", Trouble.IO_ERROR),
    (
        "-error on swap-device",
        r"(?:Read|Write)-error on swap-device \((?P<on>\S{1,20}?)\)",
        Trouble.IO_ERROR,
    ),
    # drivers/scsi/scsi_error.c, constants.c, scsi_lib.c; the sense is on a line of its own
    (
        "Sense Key : ",
        _SCSI + r"Sense Key : (?:Medium Error|Hardware Error|Aborted Command)",
        Trouble.IO_ERROR,
    ),
    ("hostbyte=DID_", _SCSI + r".{0,60}hostbyte=DID_(?!OK\b)\w", Trouble.STORAGE),
    ("rejecting I/O to", _SCSI + r"rejecting I/O to (?:offline|dead) device", Trouble.STORAGE),
    ("Device offlined", _SCSI + r"Device offlined", Trouble.STORAGE),
    ("timing out command", _SCSI + r"timing out command", Trouble.STORAGE),
    # drivers/scsi/mpt3sas, megaraid, hpsa, qla2xxx, lpfc, vmw_pvscsi, scsi_transport_{fc,iscsi}.c
    (
        "attempting ",
        _SCSI + r"attempting (?:task abort|(?:device|target|host) reset)",
        Trouble.STORAGE,
    ),
    (
        "mpt",
        r"(?P<on>mpt[23]sas(?:_cm)?\d+): (?:.{0,40}fault_state\(|SAS host is non-operational"
        r"|.{0,40}Command Timeout)",
        Trouble.STORAGE,
    ),
    (
        "mega",
        r"mega(?:raid_)?sas\b.{0,60}(?:FW in FAULT|FAULT state|resetting|timed out|Fatal firmware)",
        Trouble.STORAGE,
    ),
    ("hpsa ", r"hpsa .{0,60}(?:lockup detected|: resetting |aborting)", Trouble.STORAGE),
    (
        "qla2xxx [",
        r"qla2xxx \[(?P<on>\S{1,20})\]-\w+:\d+: .{0,40}(?:Abort command issued|RESET (?:ISS|FAIL)"
        r"|ISP System Error|[Ff]irmware.{0,20}hung|Mailbox (?:cmd|command) timeout)",
        Trouble.STORAGE,
    ),
    (
        "blocked FC remote port time out",
        r" ?(?P<on>rport-[\d:-]{1,20}): blocked FC remote port time out",
        Trouble.STORAGE,
    ),
    ("detected conn error", r" ?(?P<on>connection\d+:\d+): detected conn error", Trouble.STORAGE),
    (
        "ession recovery timed out",
        r" ?(?P<on>session\d+): session recovery timed out",
        Trouble.STORAGE,
    ),
    # drivers/ata/libata-{eh,core}.c
    ("exception Emask", r"(?P<on>ata\d+(?:\.\d+)?): exception Emask 0x", Trouble.STORAGE),
    ("hard resetting link", r"(?P<on>ata\d+): hard resetting link", Trouble.STORAGE),
    ("COMRESET failed", r"(?P<on>ata\d+): COMRESET failed", Trouble.STORAGE),
    # drivers/nvme/host/{pci,core,tcp,rdma,fc}.c
    (
        " timeout, ",
        r"(?:nvme |block )(?P<on>nvme\w{1,16}): I/O (?:tag )?\d+ .{0,60}QID \d+ timeout, ",
        Trouble.STORAGE,
    ),
    (
        "nvme nvme",
        r"nvme (?P<on>nvme\d+): (?:controller is down; will reset|Device not ready; aborting"
        r"|(?:Disabling|Removing) (?:device )?after (?:reset|probe) failure"
        r"|starting error recovery|failed nvme_keep_alive_end_io)",
        Trouble.STORAGE,
    ),
    ("I/O Error (sct ", r"(?P<on>nvme\w{1,16}): .{0,80}I/O Error \(sct ", Trouble.IO_ERROR),
    # drivers/md/dm-mpath.c, dm-*.c, raid*.c
    (
        "Failing path",
        r"device-mapper: multipath: (?:\d+:\d+: )?Failing path (?P<on>[\d:]{1,16})",
        Trouble.STORAGE,
    ),
    (
        "device-mapper: ",
        r"device-mapper: (?:thin|space map|cache|block manager|raid|integrity|snapshots|verity)\b"
        r".{0,120}(?:fail|error|out[ -]of[ -](?:data )?space|corrupt|Invalidating snapshot)",
        Trouble.IO_ERROR,
    ),
    (
        "Disk failure on",
        r"(?:md/)?raid\S{0,20}:? ?Disk failure on (?P<on>\w{1,32})",
        Trouble.STORAGE,
    ),
    # drivers/mmc, drivers/block/{nbd,drbd,rbd}, net/ceph
    (
        "mmc",
        r"(?P<on>mmc(?:blk)?\d+): (?:Timeout waiting for hardware|recovery failed|Card stuck"
        r"|error -\d+ (?:sending|transferring|requesting))",
        Trouble.STORAGE,
    ),
    (
        "block nbd",
        r"block (?P<on>nbd\d+): (?:Connection timed out|Possible stuck request|Dead connection"
        r"|(?:Receive|Send) control failed)",
        Trouble.STORAGE,
    ),
    (
        "libceph: ",
        r"libceph: (?P<on>(?:mon|osd|mds)\d+) .{0,99}(?:session lost|socket (?:clos|err)|down$)",
        Trouble.NOT_RESPONDING,
    ),
    (
        "uncorrectable I/O failure",
        r"WARNING: Pool '(?P<on>.{1,60}?)' has encountered an unc",
        Trouble.IO_ERROR,
    ),
    # fs/{ext2,ext4,udf,nilfs2,fat,f2fs}/super.c; fs/jbd2
    ("-fs", rf"[\w-]{{2,12}}-fs:? (?:error|abort|critical)[ :]{{1,2}}{_FS}", Trouble.FILE_SYSTEM),
    ("-fs (", rf"FAT-fs {_FS}: (?:error,|Filesystem has been set read-only)", Trouble.FILE_SYSTEM),
    (
        "-fs (",
        rf"EXT[34]-fs {_FS}: (?:Remounting filesystem read-only|Delayed block allocation failed"
        r"|failed to convert unwritten|previous I/O error to superblock|This should not happen"
        r"|I/O error while writing superblock)",
        Trouble.FILE_SYSTEM,
    ),
    (
        "borting journal on device",
        r"Aborting journal on device (?P<on>\S{1,40}?)\.",
        Trouble.FILE_SYSTEM,
    ),
    ("JBD", r"JBD2?: (?:Detected I/?O errors|I/?O error|Error -?\d)", Trouble.FILE_SYSTEM),
    # fs/xfs/xfs_{fsops,buf,log,error,aops,trans_ail}.c
    (
        "XFS (",
        rf"XFS {_FS}: (?:[Mm]etadata I/O [Ee]rror|Metadata (?:corruption|CRC error)|[Cc]orruption "
        r"(?:of in-memory|detected)|[Ll]og I/O [Ee]rror|I/O Error Detected|xfs_do_force_shutdown"
        r"|xfs_log_force: error|Internal error|writeback error|[Ff]ilesystem has been shut down"
        r"|Failing async write|log mount/recovery failed|page discard on page)",
        Trouble.FILE_SYSTEM,
    ),
    (
        "possible memory allocation deadlock",
        r"XFS: .{1,40} possible memory allocation deadlock",
        Trouble.ALLOCATION,
    ),
    # fs/btrfs/{messages,super}.c
    ("BTRFS", rf"BTRFS:? (?:error|critical) {_FS}", Trouble.FILE_SYSTEM),
    ("BTRFS", rf"BTRFS (?:warning {_FS}: csum failed)", Trouble.FILE_SYSTEM),
    ("BTRFS", rf"BTRFS(?: info {_FS})?: forced readonly", Trouble.FILE_SYSTEM),
    # fs/gfs2/util.c, fs/ocfs2, fs/squashfs; Lustre
    (
        "GFS2: fsid=",
        r"GFS2: fsid=(?P<on>[^ ]{1,80}): .{0,20}(?:fatal: |about to withdraw|withdrawn)",
        Trouble.FILE_SYSTEM,
    ),
    ("OCFS2: ERROR", rf"OCFS2: ERROR {_FS}", Trouble.FILE_SYSTEM),
    (
        "o2net: ",
        r"o2net: .{0,80}(?:has been idle|No connection established)",
        Trouble.NOT_RESPONDING,
    ),
    ("SQUASHFS error", r"SQUASHFS error: ", Trouble.FILE_SYSTEM),
    ("LustreError: ", r"LustreError: \S", Trouble.FILE_SYSTEM),
    (
        "was lost",
        r"Lustre: (?P<on>\S{1,60}): Connection to .{1,80} was lost",
        Trouble.NOT_RESPONDING,
    ),
    # net/sunrpc/clnt.c, fs/nfs/nfs4state.c, fs/{cifs,smb/client}/connect.c
    (
        " not responding",
        r"\w{1,12}: server (?P<on>\S{1,80}) (?:\S{1,20} )?not responding",
        Trouble.NOT_RESPONDING,
    ),
    (
        "state manager",
        r"NFS: state manager(?:: .{0,60})? failed on NFSv4 server (?P<on>\S{1,80}) with error",
        Trouble.NOT_RESPONDING,
    ),
    (
        "has not responded in",
        r"CIFS:? VFS: .{0,80}has not responded in \d+ seconds",
        Trouble.NOT_RESPONDING,
    ),
    # mm/oom_kill.c, mm/page_alloc.c, mm/slub.c, mm/vmalloc.c
    (
        "ut of memory",
        r"(?:Out of memory|Memory cgroup out of memory)(?: \(.{1,40}\))?: Kill(?:ed)? process \d+ "
        r"\((?P<on>.{1,40}?)\)",
        Trouble.OUT_OF_MEMORY,
    ),
    (
        "page allocation ",
        r"(?P<on>.{1,40}?): page allocation (?:failure|stalls)",
        Trouble.ALLOCATION,
    ),
    ("Unable to allocate memory on", r"SLUB: Unable to allocate memory on", Trouble.ALLOCATION),
    ("vmalloc", r".{0,40}\bvmalloc(?:: allocation failure| error: size)", Trouble.ALLOCATION),
    # kernel/sched/{rt,deadline}.c, kernel/smp.c, kernel/rcu/tree_stall.h
    ("throttling activated", r"(?:sched: )?\[?.{0,20}RT throttling activated", Trouble.STALL),
    ("lagged too much", r"sched: DL replenish lagged too much", Trouble.STALL),
    ("non-responsive CSD lock", r".{0,20}Detected non-responsive CSD lock", Trouble.STALL),
    (
        "kthread starved for",
        r"(?:rcu: )?[ \t]*(?P<on>rcu\w{1,20}) kthread starved for",
        Trouble.STALL,
    ),
    # net/sched/sch_generic.c since 6.7 without a warning; drivers/net/ethernet
    (
        "NETDEV WATCHDOG: ",
        r"(?:\S{1,40} \S{1,20} (?P<on>\S{1,16}): )?NETDEV WATCHDOG: ",
        Trouble.NETWORK,
    ),
    ("Detected Hardware Unit Hang", r".{0,80}Detected Hardware Unit Hang", Trouble.NETWORK),
    ("Detected Tx Unit Hang", r".{0,80}Detected Tx Unit Hang", Trouble.NETWORK),
    ("Reset adapter", r"(?P<on>\S{1,20} \S{1,20} \S{1,16}): Reset adapter", Trouble.NETWORK),
    ("due to tx timeout", r".{0,80}initiating reset due to tx timeout", Trouble.NETWORK),
    (
        "X timeout",
        r"(?P<on>\w{1,20} \S{1,20}(?: \S{1,16})?): TX timeout (?:detected|on queue)",
        Trouble.NETWORK,
    ),
    ("health compromised", r"mlx5_core .{0,80}device's health compromised", Trouble.NETWORK),
    ("table full, dropping packet", r".{0,20}nf_conntrack: table full", Trouble.NETWORK),
    (
        "neighbor table overflow",
        r"neighbour: (?P<on>\S{1,20}): neighbor table overflow",
        Trouble.NETWORK,
    ),
    # drivers/net/bonding/bond_main.c
    (
        "link status definitely down",
        r"(?P<on>.{1,60}link status definitely down(?: for interface \S{1,16})?)",
        Trouble.LINK,
    ),
    (
        "without any active interface",
        r"(?:bonding: )?(?P<on>\S{1,16}): now running without any",
        Trouble.NETWORK,
    ),
    # net/ipv4/tcp.c, fs/file_table.c, kernel/cgroup/pids.c
    ("TCP: out of memory", r"TCP: out of memory", Trouble.LIMIT),
    ("file-max limit", r"VFS: file-max limit \d+ reached", Trouble.LIMIT),
    ("fork rejected by pids", r"cgroup: fork rejected by pids controller", Trouble.LIMIT),
    # kernel/time/{clocksource,ntp}.c
    (
        "timekeeping watchdog on",
        r"clocksource: timekeeping watchdog on .{1,90}unstable",
        Trouble.CLOCK,
    ),
    ("leap second", r"Clock: (?:inserting|deleting) leap second", Trouble.CLOCK),
    # drivers/usb/core/hub.c
    ("USB disconnect", r"usb (?P<on>[\d.-]{1,24}): USB disconnect", Trouble.GONE),
    # kernel/module/{main,signing}.c, kernel/livepatch/transition.c
    (
        "taints kernel",
        r"(?P<on>[\w-]{1,64}): (?:loading out-of-tree module|module license '.{0,40}') taints",
        Trouble.KMOD,
    ),
    (
        "tainting kernel",
        r"(?P<on>[\w-]{1,64}): module verification failed: .{0,60}tainting kernel",
        Trouble.KMOD,
    ),
    (
        "staging directory",
        r"(?P<on>[\w-]{1,64}): module is from the staging directory",
        Trouble.KMOD,
    ),
    (
        "livepatch: ",
        r"livepatch: '(?P<on>[\w-]{1,64})': (?:starting|completing|reversing) ",
        Trouble.KMOD,
    ),
    # drivers/tty/sysrq.c
    *((key, _SYSRQ, Trouble.SYSRQ) for key in ("SysRq : ", "sysrq: ")),
)

_LINK = re.compile(r":?(?: NIC)? [Ll]ink (?:is )?([Uu]p|UP|[Dd]own|DOWN)\b")
_LINK_KEYS = ("ink is ", "ink down", "ink Down", "ink up", "ink Up", "ink UP")
_BOOT = "Linux version "
_NUMBER = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{8,16}\b|\d+")


class _Wording(NamedTuple):
    pattern: re.Pattern[str]
    trouble: Trouble


@cache
def _keys() -> tuple[str, ...]:
    return tuple(dict.fromkeys(key for key, _, _ in _TABLE))


@cache
def _wordings_with(key: str) -> tuple[_Wording, ...]:
    """Those with a literal part; compiled when a log has it, as most have few."""
    own = (row for row in _TABLE if row[0] == key)
    return tuple(_Wording(re.compile(pattern), trouble) for _, pattern, trouble in own)


def troubles(log: Log, first: int, end: int) -> list[Told]:
    """What the lines of a log tell of trouble, in their order.

    :param first: number of the first line that counts
    :param end: number of the line behind the last
    """
    found: dict[int, Told] = {}
    for key in _keys():
        numbers = [n for n in islice(log.having(key), LINES_LIMIT) if first <= n < end]
        is_flood = len(numbers) == LINES_LIMIT
        for number in numbers:
            if number not in found and (
                told := _told_by_line(log, number, _wordings_with(key), is_flood)
            ):
                found[number] = told
    # links that were up and went down: any is down while a machine starts
    having = (islice(log.having(key), LINES_LIMIT) for key in _LINK_KEYS)
    up = set[str]()
    for number in sorted({n for numbers in having for n in numbers if first <= n < end}):
        text = log[number].text.strip()
        if link := _LINK.search(text):
            name = text[: link.start()]
            if link[1].lower() == "up":
                up.add(name)
            elif name in up:
                up.discard(name)
                told = Told(number, Trouble.LINK, name, is_flood=False)
                found.setdefault(number, told)
    return [found[number] for number in sorted(found)]


def boot(log: Log, end: int) -> int:
    """Number of the line with which the machine booted that crashed; the log of a console may have
    several boots.

    :param end: number of the line of the crash
    """
    boots = (number for number in log.having(_BOOT) if number < end)
    return next((number for number in boots if log[number].text.startswith(_BOOT)), 0)


def trouble_in(text: str) -> Trouble | None:
    """What one line tells of; ``None``: no trouble, or it takes others to say so."""
    found = (each for key in _keys() if key in text for each in _wordings_with(key))
    return next((each.trouble for each in found if each.pattern.match(text)), None)


def _told_by_line(
    log: Log, number: int, wordings: tuple[_Wording, ...], is_flood: bool
) -> Told | None:
    text = log[number].text.lstrip()
    for wording in wordings:
        if found := wording.pattern.match(text):
            on = found.groupdict().get("on")
            return Told(number, wording.trouble, on or general(found[0]), is_flood)
    return None


def general(text: str) -> str:
    """A line without the numbers that differ from one time to the next."""
    return _NUMBER.sub("#", text)

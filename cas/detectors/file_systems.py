"""File systems that are frozen, shut down, or read-only against their mount."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

from drgn import Object

from cas.choices import Kind, Weight
from cas.detectors.blocked_io import waiting_in
from cas.detectors.case import Broken, Case, stamped_line
from cas.detectors.layout import looking_at
from cas.detectors.mounts import called, mounts, super_blocks, type_name
from cas.detectors.needs import Needs
from cas.model.evidence import Evidence

NEEDS = Needs(symbols=("super_blocks",), types=("struct super_block", "struct mount"))
FROZEN = {
    1: "writes are held back",
    2: "writes and page faults are held back",
    3: "all is held back but the file system itself",
    4: "frozen",
}
"""SB_FREEZE_WRITE, SB_FREEZE_PAGEFAULT, SB_FREEZE_FS, SB_FREEZE_COMPLETE, include/linux/fs.h; the
first three only while it is being frozen."""
SB_RDONLY = 1
MNT_READONLY = 0x40
"""A bit of ``mnt_flags``, include/linux/mount.h."""
JBD2_ABORT = 0x2
"""A bit of ``j_flags``, include/linux/jbd2.h."""
XFS_SHUTDOWN_BIT = 2
"""XFS_OPSTATE_SHUTDOWN, fs/xfs/xfs_mount.h, since Linux 5.15 (2e973b2cd4cd)."""
XFS_SHUTDOWN_FLAG = 1 << 4
"""XFS_MOUNT_FS_SHUTDOWN, before."""
BTRFS_ERROR_BIT = 0
"""BTRFS_FS_STATE_ERROR, fs/btrfs/fs.h."""
WRITABLE = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "gfs2", "jfs", "vfat", "exfat", "nilfs2"}
)
"""File systems that are read-only by choice or because of an error, not by their nature."""
HELD_BACK = frozenset(
    {"__sb_start_write", "sb_start_write", "percpu_rwsem_wait", "__percpu_down_read"}
)


def detect(case: Case) -> Iterator[Evidence]:
    """Those that are not as they should be."""
    for sb in super_blocks(case):
        with looking_at(case, "a file system"):
            yield from _frozen(case, sb)
            kind = type_name(case, sb)
            if kind not in WRITABLE:
                continue
            what = list(filter(None, [_own_error(case, sb, kind)]))
            # whether the kernel itself made it read-only: where a user did, the mount is so, too
            flags = [int(mount.mnt.mnt_flags.value_()) for mount in mounts(sb)]
            is_writable = flags and not any(each & MNT_READONLY for each in flags)
            if int(sb.s_flags.value_()) & SB_RDONLY and is_writable:
                what.append("is read-only although it is mounted for writing")
            if not what:
                continue
            # the first lines of the kernel log that tell of trouble with it
            device = case.text(sb.s_id, 32)
            words = (f"({device}): ", f"(device {device}): ", f"(device {device}) ")
            numbers = {n for each in words for n in islice(case.log.having(each), 1000)}
            telling = (
                line
                for line in (case.log[number] for number in sorted(numbers))
                if "mounted filesystem" not in (text := line.text.lower())
                and any(word in text for word in TROUBLE)
            )
            yield Evidence(
                f"{called(case, sb)} {' and '.join(what)}",
                f"super_block {sb.value_():#x}",
                "mount",
                details=tuple(map(stamped_line, islice(telling, 3))),
            )


def _frozen(case: Case, sb: Object) -> Iterator[Evidence]:
    level = int(sb.s_writers.frozen.value_())
    if level not in FROZEN:
        return
    writer = waiting_in(case, HELD_BACK)
    state = FROZEN[level] if level == max(FROZEN) else f"being frozen ({FROZEN[level]})"
    waits = f"; {writer.name} waits to write to a frozen file system" if writer else ""
    is_cause = case.kind == Kind.HUNG_TASK and writer is not None
    yield Evidence(
        f"{called(case, sb)} is {state}{waits}",
        f"super_block {sb.value_():#x}",
        f"struct super_block.s_writers {sb.value_():x}",
        Weight.CAUSE if is_cause else Weight.CONTEXT,
    )


def _own_error(case: Case, sb: Object, kind: str) -> str | None:
    """What has happened to a file system, by its own state."""
    look = ERRORS.get(kind)
    try:
        return look(case, sb) if look else None
    except LookupError as error:
        case.remark(f"{kind}: {error}")
    except (AttributeError, *Broken) as error:
        case.remark(f"the state of {called(case, sb)} cannot be read: {error}")
    return None


def _ext4(case: Case, sb: Object) -> str | None:
    info = Object(case.prog, "struct ext4_sb_info *", sb.s_fs_info.value_())
    journal = info.s_journal.read_()
    if journal and int(journal.j_flags.value_()) & JBD2_ABORT:
        return "has given up its journal after an error"
    return None


def _xfs(case: Case, sb: Object) -> str | None:
    mount = Object(case.prog, "struct xfs_mount *", sb.s_fs_info.value_())
    try:
        is_shut = int(mount.m_opstate.value_()) >> XFS_SHUTDOWN_BIT & 1
    except AttributeError:
        is_shut = int(mount.m_flags.value_()) & XFS_SHUTDOWN_FLAG
    return "has been shut down" if is_shut else None


def _btrfs(case: Case, sb: Object) -> str | None:
    info = Object(case.prog, "struct btrfs_fs_info *", sb.s_fs_info.value_())
    is_ill = int(info.fs_state.value_()) >> BTRFS_ERROR_BIT & 1
    return "is in error" if is_ill else None


TROUBLE = ("error", "read-only", "shut down", "shutdown", "corrupt", "abort")
ERRORS: dict[str, Callable[[Case, Object], str | None]] = {
    "ext3": _ext4,
    "ext4": _ext4,
    "xfs": _xfs,
    "btrfs": _btrfs,
}

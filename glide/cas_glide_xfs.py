"""What XFS knows of its file systems: room, the log, what waits in it, who waits for room there."""

from collections import Counter

from drgn import Object
from drgn.helpers.linux.percpu import percpu_counter_sum

STATES = (
    (0, "unmounting"),
    (1, "clean"),
    (2, "shut down"),
    (3, "32-bit inodes"),
    (4, "read-only"),
    (5, "inodes are reclaimed"),
    (6, "inodes are freed in the background"),
    (7, "blocks are freed in the background"),
)
"""XFS_OPSTATE_UNMOUNTING and what follows it, fs/xfs/xfs_mount.h."""
ITEMS = {
    0x1236: "EFI",
    0x1237: "EFD",
    0x1238: "unlink",
    0x123B: "inode",
    0x123C: "buffer",
    0x123D: "dquot",
    0x123E: "quotaoff",
    0x123F: "icreate",
    0x1240: "RUI",
    0x1241: "RUD",
    0x1242: "CUI",
    0x1243: "CUD",
    0x1244: "BUI",
    0x1245: "BUD",
    0x1246: "ATTRI",
    0x1247: "ATTRD",
}
"""XFS_LI_EFI and what follows it, fs/xfs/libxfs/xfs_log_format.h."""
LOG_STATES = ((0, "active recovery"), (1, "recovery is needed"), (2, "in error"), (3, "shut down"))
SECTOR = 512
WAITERS = 10


def sequence(number):
    """A place in the log as XFS writes it: cycle and block."""
    return f"{number >> 32}:{number & 0xFFFFFFFF}"


def mounted(found):
    """A struct xfs_mount in a few words."""
    return f"XFS on {found.m_super.s_id.string_().decode('utf-8', 'replace')}"


def inode(found):
    """A struct xfs_inode in a few words."""
    return f"inode {found.i_ino.value_()}, {found.i_delayed_blks.value_()} blocks without a place"


PRINTERS = {"struct xfs_mount": mounted, "struct xfs_inode": inode}


def end(trace):
    """Every mounted file system."""
    for block, name in trace.file_systems("xfs"):
        trace.say(name)
        mount = Object(trace.prog, "struct xfs_mount *", block.s_fs_info)
        for part in (room, state, log, buffers_of_log, not_in_place, waiters):
            trace.attempt(part, mount)


def room(trace, mount):
    """How large it is, and what is free of it."""
    size = mount.m_sb.sb_blocksize.value_()
    free = percpu_counter_sum(mount.m_fdblocks.address_of_())
    inodes = percpu_counter_sum(mount.m_icount.address_of_())
    unused = percpu_counter_sum(mount.m_ifree.address_of_())
    trace.say(
        f"  {mount.m_sb.sb_dblocks.value_() * size >> 10:,} KiB, {free * size >> 10:,} KiB free;"
        f" {inodes:,} inodes, {unused:,} of them free; {mount.m_sb.sb_agcount.value_()} groups"
    )


def state(trace, mount):
    """Its state; another member before Linux 5.15."""
    bits = mount.m_opstate.value_()
    said = [word for bit, word in STATES if bits >> bit & 1]
    trace.say(f"  {', '.join(said) or 'as it should be'}; xfs_mount {mount.value_():#x}")


def log(trace, mount):
    """How far the log is written."""
    found = mount.m_log
    bits = found.l_opstate.value_()
    said = [word for bit, word in LOG_STATES if bits >> bit & 1]
    size, tail = found.l_logBBsize.value_() * SECTOR, found.l_tail_lsn.counter.value_()
    trace.say(
        f"  log of {size >> 10:,} KiB: begins at {sequence(tail)}, is written up to"
        f" {found.l_curr_cycle.value_()}:{found.l_curr_block.value_()}"
        + (f"; {', '.join(said)}" if said else "")
    )
    context = found.l_cilp.xc_ctx
    size = context.space_used.counter.value_()
    trace.say(f"    checkpoint {context.sequence.value_()} gathers {size:,} bytes")
    for each in trace.entries("struct xfs_cil_ctx", found.l_cilp.xc_committing, "committing"):
        trace.say(
            f"    checkpoint {each.sequence.value_()} is being written"
            f" at {sequence(each.start_lsn.value_())}"
        )


def buffers_of_log(trace, mount):
    """The buffers in which the log is written, those that are at work."""
    first = at = mount.m_log.l_iclog
    for number in range(mount.m_log.l_iclog_bufs.value_()):
        kind = trace.enumerator(at.ic_state).removeprefix("XLOG_STATE_").lower()
        if kind != "active" or at.ic_offset:
            trace.say(
                f"    buffer {number} is {kind}: {at.ic_offset.value_():,} bytes,"
                f" {at.ic_refcnt.counter.value_()} references, xlog_in_core {at.value_():#x}"
            )
        at = at.ic_next
        if at == first:
            break


def not_in_place(trace, mount):
    """What is in the log, and not in its place yet: the active item list."""
    found = mount.m_ail
    kinds, oldest, newest = Counter(), 0, 0
    for item in trace.entries("struct xfs_log_item", found.ail_head, "li_ail"):
        kinds[ITEMS.get(item.li_type.value_(), f"{item.li_type.value_():#x}")] += 1
        newest = item.li_lsn.value_()
        oldest = oldest or newest
    if not kinds:
        trace.say("  nothing of the log waits to be written in its place")
        return
    items = ", ".join(f"{number:,} {kind}" for kind, number in kinds.most_common())
    trace.say(f"  waiting to be written in their places: {items}")
    trace.say(
        f"    the oldest is of {sequence(oldest)}, the newest of {sequence(newest)};"
        f" {trace.words(found.ail_task[0])} writes up to {sequence(found.ail_target.value_())}"
    )


def waiters(trace, mount):
    """The tasks that wait for room in the log."""
    for name in ("l_reserve_head", "l_write_head"):
        head = mount.m_log.member_(name)
        for number, ticket in enumerate(
            trace.entries("struct xlog_ticket", head.waiters, "t_queue")
        ):
            if number == WAITERS:
                trace.say("    …")
                break
            size = ticket.t_unit_res.value_()
            trace.say(f"    {trace.words(ticket.t_task[0])} waits for {size:,} bytes of the log")

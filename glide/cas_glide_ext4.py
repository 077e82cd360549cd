# kmods: ext4 jbd2
"""What ext4 knows of its file systems: room, errors, the journal and who writes to it."""

from drgn import Object
from drgn.helpers.linux.percpu import percpu_counter_sum

VALID, IN_ERROR, ORPHANS = 1, 2, 4
"""EXT4_VALID_FS and the bits beside it, fs/ext4/ext4.h."""
JOURNAL_FLAGS = {
    0x1: "unmounting",
    0x2: "aborted",
    0x4: "its error is acknowledged",
    0x8: "flushed",
    0x10: "loaded",
    0x20: "with barriers",
    0x40: "aborts on data errors",
}
"""JBD2_UNMOUNT and what follows it, include/linux/jbd2.h."""
TRANSACTIONS = 100


def matches(trace):
    """Most distributions build it in."""
    return trace.symbol("ext4_fs_type") is not None


def transaction(found):
    """A struct transaction_s in a few words."""
    return f"transaction {found.t_tid.value_()}, {found.t_state.format_(type_name=False)}"


def handle(found):
    """A struct jbd2_journal_handle in a few words."""
    number = found.h_transaction.t_tid.value_() if found.h_transaction else "?"
    return f"handle of transaction {number}, made at line {found.h_line_no.value_()} of its caller"


PRINTERS = {"struct transaction_s": transaction, "struct jbd2_journal_handle": handle}


def end(trace):
    """Every mounted file system, and the tasks that have a part in a transaction."""
    for block, name in trace.file_systems("ext4", "ext3", "ext2"):
        trace.say(name)
        info = Object(trace.prog, "struct ext4_sb_info *", block.s_fs_info)
        for part in (room, state, errors, journal):
            trace.attempt(part, info)
    trace.attempt(writers)


def room(trace, info):
    """How large it is, and what is free of it."""
    size = info.s_sb.s_blocksize.value_()
    clusters = size * info.s_cluster_ratio.value_() >> 10
    blocks = info.s_es.s_blocks_count_lo.value_()
    free = percpu_counter_sum(info.s_freeclusters_counter.address_of_())
    delayed = percpu_counter_sum(info.s_dirtyclusters_counter.address_of_())
    trace.say(
        f"  {blocks * size >> 10:,} KiB, {free * clusters:,} KiB free,"
        f" {delayed * clusters:,} KiB written but without a place yet"
    )


def state(trace, info):
    """What the superblock says of it."""
    bits = info.s_mount_state.value_()
    said = ["clean" if bits & VALID else "not clean"]
    said += ["in error"] if bits & IN_ERROR else []
    said += ["with orphans"] if bits & ORPHANS else []
    trace.say(
        f"  {', '.join(said)}; super_block {info.s_sb.value_():#x}, ext4_sb_info {int(info):#x}"
    )


def errors(trace, info):
    """The first and the last error; those that are not written yet are counted apart."""
    known = info.s_es.s_error_count.value_()
    fresh = info.s_add_error_count.value_()
    if not known + fresh:
        return
    trace.say(f"  {known + fresh} errors, {fresh} of them not in the superblock yet")
    for which in ("first", "last"):
        place = info.member_(f"s_{which}_error_func")
        line = info.member_(f"s_{which}_error_line").value_()
        inode = info.member_(f"s_{which}_error_ino").value_()
        if not place:
            place = info.s_es.member_(f"s_{which}_error_func")
            line = info.s_es.member_(f"s_{which}_error_line").value_()
            inode = info.s_es.member_(f"s_{which}_error_ino").value_()
        if place := place.string_().decode("utf-8", "replace")[:32]:
            trace.say(
                f"    the {which} in {place}, line {line}" + (f", inode {inode}" if inode else "")
            )


def journal(trace, info):
    """Where the journal stands."""
    found = info.s_journal
    if not found:
        trace.say("  no journal")
        return
    flags = found.j_flags.value_()
    said = [word for bit, word in JOURNAL_FLAGS.items() if flags & bit]
    failed = found.j_errno.value_()
    said += [f"error {failed}"] if failed else []
    trace.say(f"  journal {found.value_():#x}: {', '.join(said) or 'no flags'}")
    trace.say(
        f"    {found.j_free.value_():,} blocks free of it; committed up to"
        f" {found.j_commit_sequence.value_()}, wanted {found.j_commit_request.value_()}"
    )
    if found.j_barrier_count.value_():
        trace.say("    it is locked: no task may begin to write")
    told(trace, "running", found.j_running_transaction)
    told(trace, "committing", found.j_committing_transaction)
    first = at = found.j_checkpoint_transactions
    number = 0
    while at and number < TRANSACTIONS:
        number, at = number + 1, at.t_cpnext
        if at == first:
            break
    if number:
        trace.say(f"    {number} committed, whose blocks are not all in their places yet")


def told(trace, role, found):
    """A transaction that is under way."""
    if not found:
        trace.say(f"    no transaction is {role}")
        return
    trace.say(
        f"    {role}: {transaction(found)}, begun {trace.ticks(found.t_start)},"
        f" {found.t_updates.counter.value_()} tasks write to it,"
        f" {found.t_outstanding_credits.counter.value_()} blocks wanted"
    )


def writers(trace):
    """The tasks that are between the begin and the end of a change."""
    for task in trace.tasks():
        if not task.journal_info:
            continue
        own = Object(trace.prog, "struct jbd2_journal_handle *", task.journal_info)
        try:
            if own.h_transaction and own.h_transaction.t_journal.j_task:
                trace.say(f"{trace.words(task[0])}: {handle(own)}")
        except LookupError:
            continue  # another file system's, which has something else there

# kmods: md_mod
"""What md knows: its arrays, whether they are whole, their disks, and a rebuild that goes on."""

RAID_LEVELS = {-1: "linear", -4: "multipath", -1000000: "none"}
ARRAYS = 500


def matches(trace):
    """Some kernels have it built in."""
    return trace.symbol("all_mddevs") is not None


def array(found):
    """A struct mddev in a few words."""
    level = found.level.value_()
    kind = text(found.pers.name) if found.pers else RAID_LEVELS.get(level, f"level {level}")
    return f"md{found.md_minor.value_()} ({kind})"


def disk(found):
    """A struct md_rdev in a few words."""
    where = found.bdev.bd_disk.disk_name if found.bdev else None
    place = found.raid_disk.value_()
    part = f"disk {place}" if place >= 0 else "spare, or out of use"
    return f"{text(where) if where is not None else '?'}, {part}"


PRINTERS = {"struct mddev": array, "struct md_rdev": disk}


def end(trace):
    """Every array."""
    for number, found in enumerate(
        trace.entries("struct mddev", trace.prog["all_mddevs"], "all_mddevs")
    ):
        if number < ARRAYS:
            trace.attempt(told, found)


def told(trace, found):
    """An array, its disks, its rebuild."""
    lacking = found.degraded.value_()
    state = "clean" if found.in_sync else "being written to"
    trace.say(
        f"{array(found)}: {found.raid_disks.value_()} disks, {lacking} of them missing,"
        f" {found.array_sectors.value_() >> 1:,} KiB, {state};"
        f" mddev {found.value_():#x}"
    )
    trace.say(
        f"  flags: {trace.bits('enum mddev_flags', found.flags)};"
        f" superblock: {trace.bits('enum mddev_sb_flags', found.sb_flags)},"
        f" {found.events.value_()} events"
    )
    for each in trace.entries("struct md_rdev", found.disks, "same_set"):
        trace.attempt(member, each)
    trace.attempt(rebuild, found)


def member(trace, each):
    """A disk of an array."""
    failed = each.read_errors.counter.value_()
    bad = each.badblocks.count.value_()
    trace.say(
        f"  {disk(each)}: {trace.bits('enum flag_bits', each.flags)};"
        f" {each.nr_pending.counter.value_()} requests"
        + (f", {failed} read errors" if failed else "")
        + (f", {bad} bad ranges" if bad else "")
    )


def rebuild(trace, found):
    """How far a resync, a recovery or a reshape is."""
    flags = found.recovery.value_()
    if not flags:
        trace.say("  nothing is rebuilt")
        return
    trace.say(f"  rebuild: {trace.bits('enum recovery_flags', flags)}")
    done, size = found.curr_resync_completed.value_(), found.resync_max_sectors.value_()
    trace.say(
        f"    {done:,} of {size:,} sectors done, asked for up to {found.curr_resync.value_():,}"
    )
    thread = found.sync_thread
    if thread:
        trace.say(f"    by {trace.words(thread.tsk[0])}")


def text(found):
    """A string of the kernel."""
    return found.string_().decode("utf-8", "replace")

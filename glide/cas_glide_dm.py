# kmods: dm_mod dm_delay dm_crypt
"""What device mapper knows: its devices, their tables and what is on its way through them."""

from drgn import Object
from drgn.helpers.linux.block import for_each_disk
from drgn.helpers.linux.cpumask import for_each_possible_cpu
from drgn.helpers.linux.percpu import per_cpu_ptr

FLAGS = (
    "I/O is held back",
    "suspended",
    "frozen",
    "being freed",
    "being deleted",
    "no flush while it is suspended",
    "deferred removal",
    "suspended by the kernel",
)
"""DMF_BLOCK_IO_FOR_SUSPEND and what follows it, drivers/md/dm-core.h."""
DEVICES, TARGETS, HELD = 500, 20, 10_000


def matches(trace):
    """Some kernels have it built in."""
    return trace.symbol("dm_table_find_target") is not None


def device(found):
    """A struct mapped_device in a few words."""
    return f"{text(found.name)} {name_of(found)}".strip()


def target(found):
    """A struct dm_target in a few words."""
    begin, length = found.begin.value_(), found.len.value_()
    return f"sectors {begin} to {begin + length - 1}: {text(found.type.name)}"


PRINTERS = {"struct mapped_device": device, "struct dm_target": target}


def end(trace):
    """Every device."""
    for number, disk in enumerate(for_each_disk(trace.prog)):
        if number < DEVICES and text(disk.disk_name).startswith("dm-"):
            trace.attempt(mapped, disk)


def mapped(trace, disk):
    """A device: its state, its table, what is on its way."""
    found = Object(trace.prog, "struct mapped_device *", disk.private_data)
    flags = found.flags.value_()
    said = [word for bit, word in enumerate(FLAGS) if flags >> bit & 1]
    trace.say(
        f"{text(disk.disk_name)} {name_of(found)}: {', '.join(said) or 'in use'};"
        f" {found.open_count.counter.value_()} users, mapped_device {found.value_():#x}"
    )
    trace.attempt(on_its_way, found, disk)
    trace.attempt(table, found)


def on_its_way(trace, found, disk):
    """What has begun and not ended, and what is kept until the device is resumed."""
    held, at = 0, found.deferred.head
    while at and held < HELD:
        held, at = held + 1, at.bi_next
    trace.say(f"  {under_way(trace.prog, found, disk)} under way, {held} held back")
    trace.say_requests(disk.queue)


def under_way(prog, found, disk):
    """Reads and writes that have not ended; by the statistics before Linux 5.18."""
    cpus = list(for_each_possible_cpu(prog))
    try:
        counts = [per_cpu_ptr(found.pending_io, cpu)[0].value_() for cpu in cpus]
    except AttributeError:
        each = [per_cpu_ptr(disk.part0.bd_stats, cpu).in_flight for cpu in cpus]
        counts = [one[which].a.counter.value_() for one in each for which in range(2)]
    # one that begins on a CPU may end on another: only the sum means something
    return sum(counts) % (1 << 64)


def table(trace, found):
    """What its sectors are made of."""
    mapping = Object(trace.prog, "struct dm_table *", found.map)
    if not mapping:
        trace.say("  it has no table")
        return
    number = mapping.num_targets.value_()
    for at in range(min(number, TARGETS)):
        one = mapping.targets[at]
        trace.say(f"  {target(one)}")
        if tell := TARGETS_OF_TYPES.get(text(one.type.name)):
            trace.attempt(tell, one)
    if number > TARGETS:
        trace.say(f"  … {number - TARGETS} more")
    for each in trace.entries("struct dm_dev_internal", mapping.devices, "list"):
        own = each.dm_dev
        trace.say(f"  on {text(own.name)} {trace.words(own.bdev[0])}")


def linear(trace, one):
    """Where a linear target begins."""
    own = Object(trace.prog, "struct linear_c *", one.private)
    trace.say(f"    from sector {own.start.value_()} of {text(own.dev.name)} on")


def delay(trace, one):
    """How long a target delays, and what it keeps."""
    own = Object(trace.prog, "struct delay_c *", one.private)
    kept = sum(1 for _ in trace.entries("struct dm_delay_info", own.delayed_bios, "list"))
    trace.say(
        f"    reads {own.read.delay.value_()} ms, writes {own.write.delay.value_()} ms later;"
        f" {kept} wait"
    )


def crypt(trace, one):
    """How a target encrypts; its key is not told."""
    own = Object(trace.prog, "struct crypt_config *", one.private)
    trace.say(f"    {text(own.cipher_string)} on {text(own.dev.name)}")


TARGETS_OF_TYPES = {"linear": linear, "delay": delay, "crypt": crypt}


def name_of(found):
    """The name that users gave it."""
    cell = Object(found.prog_, "struct hash_cell *", found.interface_ptr)
    return f'"{text(cell.name)}"' if cell else ""


def text(found):
    """A string of the kernel."""
    return found.string_().decode("utf-8", "replace")

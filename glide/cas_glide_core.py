"""What concerns every kernel: memory, what each CPU was to run, mounts, the end of the log."""

from drgn.helpers.linux.cpumask import for_each_possible_cpu
from drgn.helpers.linux.fs import d_path, for_each_mount
from drgn.helpers.linux.mm import totalram_pages
from drgn.helpers.linux.percpu import per_cpu
from drgn.helpers.linux.printk import get_printk_records
from drgn.helpers.linux.sched import cpu_curr

LOG_LINES = 40
MOUNTS = 100


def end(trace):
    """Memory, run queues, mounts and the log; each stands alone."""
    for part in (memory, run_queues, mounts, log):
        try:
            part(trace)
        except (LookupError, ValueError, AttributeError) as error:
            trace.say(f"{part.__name__}: {error}")


def memory(trace):
    """How much there was, and how much of it was free."""
    page = trace.prog["PAGE_SIZE"].value_()
    total = int(totalram_pages(trace.prog))
    counts = trace.prog["vm_zone_stat"]
    free = counts[trace.prog["NR_FREE_PAGES"].value_()].counter.value_()
    trace.say(f"memory: {total * page >> 20} MiB, {free * page >> 20} MiB free")


def run_queues(trace):
    """What ran on each CPU, and how much waited for it."""
    for cpu in for_each_possible_cpu(trace.prog):
        queue = per_cpu(trace.prog["runqueues"], cpu)
        task = cpu_curr(trace.prog, cpu)
        comm = task.comm.string_().decode("utf-8", "replace")
        trace.say(
            f"CPU {cpu}: pid {task.pid.value_()} ({comm}), {queue.nr_running.value_()} to run,"
            f" {queue.nr_switches.value_()} switches"
        )


def mounts(trace):
    """Which file systems were mounted where."""
    for number, mount in enumerate(for_each_mount(trace.prog)):
        if number == MOUNTS:
            trace.say("  …")
            break
        kind = mount.mnt.mnt_sb.s_type.name.string_().decode("utf-8", "replace")
        path = d_path(mount.mnt.address_of_(), mount.mnt.mnt_root).decode("utf-8", "replace")
        trace.say(f"mount {path} ({kind})")


def log(trace):
    """The end of the kernel log."""
    records = list(get_printk_records(trace.prog))
    trace.say(f"kernel log, the last {min(LOG_LINES, len(records))} of {len(records)} records")
    for record in records[-LOG_LINES:]:
        seconds = record.timestamp / 1e9
        trace.say(f"  [{seconds:12.6f}] {record.text.decode('utf-8', 'replace')}")

# kmods: nvme_core nvme
"""What nvme knows: its controllers, their queues, and the commands that have no answer yet."""

from drgn import Object, container_of
from drgn.helpers.linux.block import for_each_disk

DISKS, QUEUES = 5000, 256
QUEUE_FLAGS = ("enabled", "submitted by the CPU", "polled", "its deletion failed")
"""NVMEQ_ENABLED and what follows it, drivers/nvme/host/pci.c."""


def matches(trace):
    """Some kernels have it built in."""
    return trace.symbol("nvme_wq") is not None


def controller(found):
    """A struct nvme_ctrl in a few words."""
    return f"nvme{found.instance.value_()} {found.state.format_(type_name=False)}"


PRINTERS = {"struct nvme_ctrl": controller}


def end(trace):
    """Every controller that has a disk, once, and its disks."""
    seen = set()
    for number, disk in enumerate(for_each_disk(trace.prog)):
        if number >= DISKS:
            break
        if not text(disk.disk_name).startswith("nvme") or not disk.queue.tag_set:
            continue  # one that stands for several paths has no tags
        space = Object(trace.prog, "struct nvme_ns *", disk.queue.queuedata)
        if space.ctrl.value_() not in seen:
            seen.add(space.ctrl.value_())
            trace.attempt(told, space.ctrl)
        trace.say(f"  {text(disk.disk_name)}:")
        trace.attempt(requests, disk)


def told(trace, found):
    """A controller."""
    model = text(found.subsys.model[0].address_of_(), 40)
    serial = text(found.subsys.serial[0].address_of_(), 20)
    transport = text(found.ops.name)
    trace.say(
        f"{controller(found)}: {model}, serial number {serial}, by {transport},"
        f" {found.queue_count.value_()} queues; nvme_ctrl {found.value_():#x}"
    )
    if found.admin_q:
        trace.say("  commands to the controller itself:")
        trace.say_requests(found.admin_q)
    if transport == "pcie":
        trace.attempt(rings, found)


def requests(trace, disk):
    """What was sent to a disk."""
    trace.say_requests(disk.queue)


def rings(trace, found):
    """The queues of a controller on the bus."""
    own = container_of(found, "struct nvme_dev", "ctrl")
    for number in range(min(own.online_queues.value_(), QUEUES)):
        each = own.queues[number]
        flags = each.flags.value_()
        said = [word for bit, word in enumerate(QUEUE_FLAGS) if flags >> bit & 1]
        trace.say(
            f"  queue {each.qid.value_()}: {each.q_depth.value_()} entries, sent up to"
            f" {each.sq_tail.value_()}, answers taken up to {each.cq_head.value_()};"
            f" {', '.join(said) or 'not enabled'}"
        )


def text(found, length=64):
    """A string of the kernel; those of a controller end in blanks, not in NUL."""
    raw = found.string_() if length == 64 else found.prog_.read(found.value_(), length)
    return raw.partition(b"\0")[0].decode("utf-8", "replace").strip()

# kmods: virtio virtio_ring virtio_blk virtio_net
"""What virtio knows: its devices, and in their queues what the host has not given back."""

from drgn import Object, container_of
from drgn.helpers.linux.device import bus_for_each_dev, dev_name

KINDS = {
    1: "network",
    2: "block",
    3: "console",
    4: "random numbers",
    5: "balloon",
    8: "SCSI",
    9: "9P",
    16: "GPU",
    18: "input",
    19: "vsock",
    20: "crypto",
    23: "IOMMU",
    24: "memory",
    25: "sound",
    26: "file system",
    27: "persistent memory",
}
"""VIRTIO_ID_NET and what follows it, include/uapi/linux/virtio_ids.h."""
DEVICES = 500


def matches(trace):
    """Some kernels have it built in."""
    return trace.symbol("virtio_bus") is not None


def queue(found):
    """A struct virtqueue in a few words."""
    name = found.name.string_().decode("utf-8", "replace") if found.name else "?"
    return f"queue {found.index.value_()} {name}"


def device(found):
    """A struct virtio_device in a few words."""
    kind = found.id.device.value_()
    return f"virtio{found.index.value_()} ({KINDS.get(kind, f'kind {kind}')})"


PRINTERS = {"struct virtqueue": queue, "struct virtio_device": device}


def end(trace):
    """Every device with its queues."""
    bus = trace.prog["virtio_bus"].address_of_()
    for number, one in enumerate(bus_for_each_dev(bus)):
        if number < DEVICES:
            trace.attempt(told, container_of(one, "struct virtio_device", "dev"))


def told(trace, found):
    """A device."""
    driver = found.dev.driver
    by = driver.name.string_().decode("utf-8", "replace") if driver else "no driver"
    parent = dev_name(found.dev.parent).decode("utf-8", "replace") if found.dev.parent else "?"
    trace.say(f"{device(found)} at {parent}, {by}; virtio_device {found.value_():#x}")
    trace.attempt(user, found, by)
    for each in trace.entries("struct virtqueue", found.vqs, "list"):
        trace.attempt(ring, each)


def user(trace, found, by):
    """What the device is for the kernel: a disk with its requests, a network device."""
    if by == "virtio_blk":
        disk = Object(trace.prog, "struct virtio_blk *", found.priv).disk
        trace.say(f"  disk {trace.words(disk[0])}")
        trace.say_requests(disk.queue)
    elif by == "virtio_net":
        own = Object(trace.prog, "struct virtnet_info *", found.priv).dev
        trace.say(f"  network device {trace.words(own[0])}")


def ring(trace, each):
    """A queue: what the host has of it, and what it gave back that nobody took yet."""
    own = container_of(each, "struct vring_virtqueue", "vq")
    size = ring_size(own)
    busy = size - each.num_free.value_()
    said = [f"{size} entries, {busy} in use"]
    if own.packed_ring:
        said.append("packed")
    else:
        shared = own.split.vring
        offered, given_back = own.split.avail_idx_shadow.value_(), shared.used.idx.value_()
        taken = own.last_used_idx.value_() & 0xFFFF
        said.append(f"{offered - given_back & 0xFFFF} with the host")
        if waiting := given_back - taken & 0xFFFF:
            said.append(f"{waiting} given back and not taken")
    said += ["broken"] if own.broken else []
    callback = each.callback
    said += [f"tells {trace.name(callback)}"] if callback else []
    trace.say(f"  {queue(each)}: {', '.join(said)}; virtqueue {each.value_():#x}")


def ring_size(own):
    """Entries of a ring."""
    return (own.packed if own.packed_ring else own.split).vring.num.value_()

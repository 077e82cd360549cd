"""Disks that take no I/O: offline, suspended, or being reset.

What a driver knows of its disk stands in structures of kernel modules, whose debug information must
be at hand: scsi_mod, nvme_core, dm_mod.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

from drgn import Object
from drgn.helpers.linux.block import for_each_disk

from cas.choices import Kind, Weight
from cas.detectors.blocked_io import waiting_for_io
from cas.detectors.case import Broken, Case, stamped_line
from cas.detectors.layout import looking_at
from cas.detectors.needs import Needs, has_type
from cas.model.evidence import Evidence

NEEDS = Needs(symbols=("block_class",))
MAX_DISKS = 5000
TIME_SHARE = 0.7
MAX_BIOS = 1000
SCSI_WELL = frozenset({"SDEV_CREATED", "SDEV_RUNNING", "SDEV_DEL", "SDEV_CANCEL"})
SCSI_GONE = frozenset({"SDEV_OFFLINE", "SDEV_TRANSPORT_OFFLINE"})
SCSI_HOST_ILL = frozenset({"SHOST_RECOVERY", "SHOST_CANCEL_RECOVERY", "SHOST_DEL_RECOVERY"})
NVME_WELL = frozenset({"NVME_CTRL_LIVE", "NVME_CTRL_NEW", "NVME_CTRL_DELETING"})
WORDS = {
    "SDEV_OFFLINE": "offline: the kernel has given it up after errors, or somebody has set it so",
    "SDEV_TRANSPORT_OFFLINE": "offline: the path to it is gone",
    "SDEV_QUIESCE": "quiesced",
    "SDEV_BLOCK": "blocked: the path to it is down for the time being",
    "SDEV_CREATED_BLOCK": "blocked before it was ready",
    "NVME_CTRL_RESETTING": "being reset",
    "NVME_CTRL_CONNECTING": "being connected again",
    "NVME_CTRL_DEAD": "dead",
    "NVME_CTRL_DELETING_NOIO": "being removed, without I/O",
}
DM_BLOCKED, DM_SUSPENDED = 1 << 0, 1 << 1
"""DMF_BLOCK_IO_FOR_SUSPEND, DMF_SUSPENDED, drivers/md/dm-core.h (dm.c before 5.16)."""


def detect(case: Case) -> Iterator[Evidence]:
    """The disks that are not well."""
    hosts: set[int] = set()
    lacking: set[str] = set()
    for number, disk in enumerate(islice(for_each_disk(case.prog), MAX_DISKS)):
        if case.clock.is_used(TIME_SHARE):
            case.remark(f"looked at {number:,} disks, of more")
            break
        name = case.text(disk.disk_name, 32)
        kind = next((kind for kind in KINDS if name.startswith(kind)), None)
        if kind is None:
            continue
        type_name, look = KINDS[kind]
        if not has_type(case.prog, type_name):
            lacking.add(type_name)
            continue
        with looking_at(case, name):
            yield from look(case, name, disk, hosts)
    for type_name in sorted(lacking):
        case.remark(f"there is no debug information of {type_name}")


def _scsi(case: Case, name: str, disk: Object, hosts: set[int]) -> Iterator[Evidence]:
    device = Object(case.prog, "struct scsi_device *", disk.queue.queuedata.value_())
    if not device or device.request_queue.value_() != disk.queue.value_():
        return  # another driver's of that name
    state = enumerator(device.sdev_state)
    place = ":".join(
        str(int(each)) for each in (device.host.host_no, device.channel, device.id, device.lun)
    )
    if state not in SCSI_WELL:
        yield Evidence(
            f"{name} (SCSI {place}) is {state_in_words(state)}",
            f"scsi_device {device.value_():#x}",
            f"struct scsi_device.sdev_state {device.value_():x}",
            disk_weight(case, holds_back=state not in SCSI_GONE),
        )
    host = device.host
    if host.value_() in hosts:
        return
    hosts.add(host.value_())
    if enumerator(host.shost_state) in SCSI_HOST_ILL:
        failed = int(host.host_failed.value_())
        yield Evidence(
            f"SCSI host {host.host_no.value_()} is recovering from errors: {failed:,} commands have"
            " failed or timed out, and its disks take no others",
            f"Scsi_Host {host.value_():#x}",
            f"struct Scsi_Host.shost_state,host_failed {host.value_():x}",
            disk_weight(case),
        )


def _nvme(case: Case, name: str, disk: Object, controllers: set[int]) -> Iterator[Evidence]:
    queue = disk.queue
    if not queue or not queue.tag_set:
        return  # one that stands for several paths
    space = Object(case.prog, "struct nvme_ns *", queue.queuedata.value_())
    if not space or space.queue.value_() != queue.value_():
        return
    controller = space.ctrl
    if controller.value_() in controllers:
        return
    controllers.add(controller.value_())
    state = enumerator(controller.state)
    if state in NVME_WELL:
        return
    newest = islice(case.log.having(f"nvme nvme{controller.instance.value_()}: "), 3)
    yield Evidence(
        f"the NVMe controller nvme{controller.instance.value_()} of {name} is"
        f" {state_in_words(state)}",
        f"nvme_ctrl {controller.value_():#x}",
        f"struct nvme_ctrl.state {controller.value_():x}",
        disk_weight(case),
        details=tuple(stamped_line(case.log[number]) for number in newest),
    )


def _device_mapper(case: Case, name: str, disk: Object, _: set[int]) -> Iterator[Evidence]:
    device = Object(case.prog, "struct mapped_device *", disk.private_data.value_())
    if not device or device.disk.value_() != disk.value_():
        return
    flags = int(device.flags.value_())
    if not flags & DM_SUSPENDED:
        return
    bios = held_bios(device)
    number = f"{bios:,}" if bios < MAX_BIOS else f"{bios:,} or more"
    waits = {0: "no I/O waits for it", 1: "an I/O waits for it"}.get(
        bios, f"{number} I/Os wait for it"
    )
    yield Evidence(
        f"{name}{mapped_name(case, device)} is suspended; {waits}",
        f"mapped_device {device.value_():#x}",
        f"struct mapped_device.flags,deferred {device.value_():x}",
        disk_weight(case, holds_back=bios > 0),
    )


def disk_weight(case: Case, *, holds_back: bool = True) -> Weight:
    """What a disk that is not well means for the crash.

    :param holds_back: whether I/O waits there, and does not fail at once
    """
    is_cause = case.kind == Kind.HUNG_TASK and holds_back and waiting_for_io(case) is not None
    return Weight.CAUSE if is_cause else Weight.CONTEXT


def held_bios(device: Object) -> int:
    """How many I/Os a suspended device keeps until it is resumed, of at most so many."""
    number, bio = 0, device.deferred.head.read_()
    while bio and number < MAX_BIOS:
        number += 1
        bio = bio.bi_next.read_()
    return number


def mapped_name(case: Case, device: Object) -> str:
    """The name of a device of device mapper's for its users, ``: data1``; empty: unknown."""
    try:
        cell = Object(case.prog, "struct hash_cell *", device.interface_ptr.value_())
        return f" ({case.text(cell.name)})" if cell else ""
    except (AttributeError, *Broken):
        return ""


def enumerator(value: Object) -> str:
    """The name of a value of an enumeration, or its number."""
    number = int(value.value_())
    names = value.type_.unaliased().enumerators or ()
    return next((each.name for each in names if each.value == number), str(number))


def state_in_words(state: str) -> str:
    """A state in words."""
    return WORDS.get(state, f"in the state {state}")


Look = Callable[[Case, str, Object, set[int]], Iterator[Evidence]]
KINDS: dict[str, tuple[str, Look]] = {
    "sd": ("struct scsi_device", _scsi),
    "sr": ("struct scsi_device", _scsi),
    "nvme": ("struct nvme_ns", _nvme),
    "dm-": ("struct mapped_device", _device_mapper),
}
"""By the beginning of a disk's name: the driver's structure, and what is to be looked at in it."""

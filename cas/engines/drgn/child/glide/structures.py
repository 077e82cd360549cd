"""What a structure of the kernel is about, in a few words: a file's path, a socket's addresses.

Each teller takes the structure itself, and may fail as the dump makes it: then its members alone
are told. Members are those of Linux 6.1; where others had them otherwise, both are looked for.
"""

from __future__ import annotations

import socket as sockets
import struct
from collections.abc import Callable, Mapping
from typing import Any

from drgn import Object, Program, TypeKind, sizeof
from drgn.helpers.linux.block import disk_name
from drgn.helpers.linux.cpumask import cpumask_to_cpulist
from drgn.helpers.linux.device import dev_name
from drgn.helpers.linux.fs import d_path, dentry_path
from drgn.helpers.linux.mm import page_to_pfn
from drgn.helpers.linux.percpu import per_cpu_ptr
from drgn.helpers.linux.sched import get_task_state
from drgn.helpers.linux.timekeeping import ktime_get_coarse_boottime_ns, ktime_get_coarse_ns

from cas.engines.drgn.child.glide.containers import CONTAINERS, TELLERS
from cas.engines.drgn.child.glide.drawing import Told, Unreadable, quoted
from cas.engines.drgn.child.glide.names import (
    Symbols,
    open_names,
    plain_type,
)
from cas.text import count
from cas.units import human_span

Teller = Callable[[Object], str | None]

LANDMARKS = frozenset(
    {
        "task_struct",
        "mm_struct",
        "signal_struct",
        "sighand_struct",
        "super_block",
        "module",
        "net_device",
        "net",
        "user_namespace",
        "nsproxy",
        "cred",
        "file_system_type",
        "mnt_namespace",
        "pid_namespace",
        "css_set",
        "cgroup",
        "request_queue",
        "gendisk",
        "rq",
        "cfs_rq",
        "workqueue_struct",
        "worker_pool",
        "bus_type",
        "device",
        "device_driver",
        "kset",
        "kobj_type",
        "kernfs_node",
        "mem_cgroup",
        "proto",
        "pglist_data",
        "zone",
        "files_struct",
        "fs_struct",
    }
)
"""Large structures that everything points to."""

JIFFIES = frozenset(
    {
        ("timer_list", "expires"),
        ("task_struct", "last_switch_time"),
        ("request", "deadline"),
        ("inode", "dirtied_when"),
        ("dst_entry", "lastuse"),
        ("neighbour", "used"),
        ("neighbour", "confirmed"),
        ("neighbour", "updated"),
        ("netdev_queue", "trans_start"),
        ("worker", "last_active"),
        ("worker_pool", "watchdog_ts"),
        ("mq_ctx", "last_used"),
    }
)
MONOTONIC_NS = frozenset(
    {("task_struct", "start_time"), ("request", "start_time_ns"), ("timerqueue_node", "expires")}
)
BOOTTIME_NS = frozenset({("task_struct", "start_boottime"), ("task_struct", "real_start_time")})
PER_CPU = frozenset(
    {
        ("kmem_cache", "cpu_slab"),
        ("percpu_counter", "counters"),
        ("workqueue_struct", "cpu_pwq"),
        ("workqueue_struct", "cpu_pwqs"),
        ("mount", "mnt_pcp"),
        ("net_device", "pcpu_refcnt"),
        ("net_device", "lstats"),
        ("net_device", "tstats"),
        ("net_device", "dstats"),
        ("module", "percpu"),
        ("gendisk", "part0_stats"),
        ("block_device", "bd_stats"),
        ("request_queue", "queue_ctx"),
        ("rt_rq", "rq"),
        ("srcu_struct", "sda"),
        ("zone", "per_cpu_pageset"),
        ("zone", "per_cpu_zonestats"),
        ("pglist_data", "per_cpu_nodestats"),
        ("fib_nh_common", "nhc_pcpu_rth_output"),
        ("netns_mib", "net_statistics"),
        ("netns_mib", "ip_statistics"),
        ("netns_mib", "tcp_statistics"),
        ("sbitmap", "alloc_hint"),
        ("percpu_rw_semaphore", "read_count"),
    }
)


class Structures:
    """What is known of the kernel's types, with what modules know besides."""

    def __init__(self, symbols: Symbols, prog: Program) -> None:
        """Nothing is read yet."""
        self._symbols, self._prog = symbols, prog
        self.cpu = 0
        """What per-CPU pointers are resolved for."""
        self.of_modules: Callable[[str, Object], str | None] = lambda kind, found: None
        """What a module says of a structure, by the name of its type."""
        self._hertz: int | None = None
        self._tellers: Mapping[str, Teller] = {
            "work_struct": self._work,
            "delayed_work": lambda one: self._work(one.work),
            "timer_list": lambda one: self._function(one.function),
            "hrtimer": lambda one: self._function(one.function),
            "callback_head": lambda one: self._function(one.func),
            "wait_queue_entry": lambda one: self._function(one.func),
            "irqaction": lambda one: f"{text_at(one.name)}, {self._function(one.handler)}",
            "notifier_block": lambda one: self._function(one.notifier_call),
            "pt_regs": self._registers,
            "worker": self._worker,
            **TELLERS_OF_TAGS,
        }

    def is_landmark(self, tag: str) -> bool:
        """Whether a structure is large and known: pointers of others to it are not followed."""
        return tag in LANDMARKS

    def tell(self, found: Object, holder: str, member: str) -> Told | None:
        """What to say of a structure; ``None``: nothing is known of its type."""
        name = found.type_.unqualified().type_name()
        if note := self.of_modules(name, found):
            return Told(note)
        if whole := COUNTERS.get(name):
            return Told(whole(found) or "", is_all=True)
        tag = plain_type(found.type_).tag or ""
        if container := TELLERS.get(tag):
            return container(found, CONTAINERS.get((holder, member)))
        if lock := LOCKS.get(tag):
            return Told(lock(found), is_all=True)
        teller = self._tellers.get(tag)
        note = teller(found) if teller else None
        return Told(note) if note else None

    def number(self, value: int, holder: str, member: str) -> str | None:
        """A time, as how long before the crash it was."""
        place = (holder, member)
        if not value:
            return None
        try:
            if place in JIFFIES:
                return self.moment_of_ticks(value)
            if place in MONOTONIC_NS:
                return self.moment_of_nanoseconds(value)
            if place in BOOTTIME_NS:
                return _before((ktime_get_coarse_boottime_ns(self._prog).value_() - value) / 1e9)
        except Unreadable:
            return None
        return None

    def per_cpu(self, found: Object, holder: str, member: str) -> Object | None:
        """What a per-CPU pointer means on the CPU that is looked at."""
        if (holder, member) not in PER_CPU:
            return None
        return per_cpu_ptr(found, self.cpu)

    def moment_of_nanoseconds(self, value: int) -> str | None:
        """A time by the monotonic clock, as how long before the crash it was."""
        return _before((ktime_get_coarse_ns(self._prog).value_() - value) / 1e9)

    def moment_of_ticks(self, value: int) -> str | None:
        """A time in jiffies, as how long before the crash it was."""
        if self._hertz is None:
            self._hertz = _hertz(self._prog)
        if not self._hertz:
            return None
        ticks = self._prog["jiffies"].value_() - value
        bits = 8 * self._prog.type("long").size
        ticks = (ticks + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1))
        return _before(ticks / self._hertz)

    def _function(self, pointer: Object) -> str | None:
        address = pointer.value_()
        return self._symbols.name(address) or (f"{address:#x}" if address else None)

    def _work(self, work: Object) -> str | None:
        return self._function(work.func)

    def _worker(self, worker: Object) -> str | None:
        doing = self._function(worker.current_func)
        said = text_in(worker.desc) if plain_type(worker.type_).has_member("desc") else ""
        return " ".join(filter(None, (f"runs {doing}" if doing else "idle", said)))

    def _registers(self, regs: Object) -> str | None:
        kind = plain_type(regs.type_)
        for name in ("ip", "pc", "nip", "epc"):
            if kind.has_member(name):
                address = regs.member_(name).value_()
                return f"at {self._symbols.name(address) or hex(address)}"
        return None


def _before(seconds: float) -> str | None:
    if abs(seconds) > 100 * 365 * 86_400:
        return None
    if seconds < 0:
        return f"{human_span(-seconds)} after the crash"
    return f"{human_span(seconds)} before the crash"


def _hertz(prog: Program) -> int:
    """Ticks in a second: the length of one stands in the clock that counts them."""
    try:
        # a tick is mult >> shift nanoseconds (kernel/time/jiffies.c)
        clock = prog["clocksource_jiffies"]
        return int((10**9 << clock.shift.value_()) // clock.mult.value_())
    except (*Unreadable, ZeroDivisionError):
        return 0


def text_in(array: Object) -> str:
    """A string in an array, quoted."""
    return quoted(array.string_()[:256])


def text_at(pointer: Object) -> str:
    """A string that a pointer leads to, quoted."""
    if not pointer.value_():
        return "NULL"
    return quoted(pointer.prog_.read_c_string(pointer.value_(), max_size=256))


def _task(task: Object) -> str:
    return f"pid {task.pid.value_()} {text_in(task.comm)}, {get_task_state(task)}"


def task_in_words(pointer: Object) -> str:
    """A task that a number or a pointer means, in a few words."""
    return f"pid {pointer.pid.value_()} {text_in(pointer.comm)}"


def _counter(found: Object) -> str:
    value = found.counter.value_()
    return str(value) if value else ""


def _refs(found: Object) -> str:
    return _counter(found.refs)


def _cpumask(found: Object) -> str:
    return f"CPUs {cpumask_to_cpulist(found.address_of_())}" if found.address_ else ""


COUNTERS: Mapping[str, Teller] = {
    "atomic_t": _counter,
    "atomic64_t": _counter,
    "atomic_long_t": _counter,
    "refcount_t": _refs,
    "struct refcount_struct": _refs,
    "struct kref": lambda found: _refs(found.refcount),
    "cpumask_t": _cpumask,
    "struct cpumask": _cpumask,
}
"""Typedefs of structures without a tag that are a number, or next to it."""


def _spinlock(found: Object) -> str:
    if not found.address_ or not sizeof(found):
        return ""
    word = int.from_bytes(found.prog_.read(found.address_, 4), "little")
    # the lowest byte is `locked`, include/asm-generic/qspinlock_types.h
    return "locked" if word & 0xFF else ("contended" if word else "")


def _owned(word: int, prog: Any, flags: int) -> str:
    owner = word & ~flags & 0xFFFF_FFFF_FFFF_FFFF
    if not owner:
        return ""
    task = Object(prog, "struct task_struct *", owner)
    return f"held by {task_in_words(task)}, {owner:#x}"


def _mutex(found: Object) -> str:
    # owner and three flags, kernel/locking/mutex.c
    said = _owned(found.owner.counter.value_(), found.prog_, 7)
    waiting = told_waiters(found.wait_list)
    return "; ".join(filter(None, (said, waiting)))


def _rw_semaphore(found: Object) -> str:
    count = found.count.counter.value_()
    if not count:
        return ""
    # RWSEM_WRITER_LOCKED, readers from bit 8 on, kernel/locking/rwsem.c
    if count & 1:
        said = _owned(found.owner.counter.value_(), found.prog_, 7) or "held by a writer"
    else:
        said = f"{count >> 8 & 0xFFFFFFFF} readers"
    return "; ".join(filter(None, (said, told_waiters(found.wait_list))))


def told_waiters(head: Object) -> str:
    """How many wait on a list of a lock."""
    told = TELLERS["list_head"](head, None)
    return "" if told is None or told.note == "empty" else f"{told.note.split()[0]} waiting"


LOCKS: Mapping[str, Callable[[Object], str]] = {
    "spinlock": _spinlock,
    "raw_spinlock": _spinlock,
    "qspinlock": _spinlock,
    "mutex": _mutex,
    "rw_semaphore": _rw_semaphore,
}


def _path_of_file(found: Object) -> str:
    path = quoted(d_path(found.f_path.address_of_()))
    return f"{path} {open_names(found.f_flags.value_(), found.prog_)}"


def _inode(found: Object) -> str:
    return (
        f"inode {found.i_ino.value_()} of {text_in(found.i_sb.s_id)},"
        f" mode {found.i_mode.value_():#o}, {found.i_size.value_():,} bytes"
    )


def _super_block(found: Object) -> str:
    return f"{text_in(found.s_id)} {text_at(found.s_type.name)}"


def _sk_buff(found: Object) -> str:
    device = found.dev
    at = f" {text_in(device.name)}" if device.value_() else ""
    protocol = int.from_bytes(struct.pack("<H", found.protocol.value_()), "big")
    return f"{found.len.value_()} bytes, protocol {protocol:#06x}{at}"


_STATES = {
    1: "ESTABLISHED",
    2: "SYN_SENT",
    3: "SYN_RECV",
    7: "CLOSE",
    8: "CLOSE_WAIT",
    10: "LISTEN",
}


def _sock(found: Object) -> str:
    common = found.__getattribute__("__sk_common")
    family = common.skc_family.value_()
    if family == sockets.AF_INET:
        local = sockets.inet_ntop(family, common.skc_rcv_saddr.to_bytes_())
        remote = sockets.inet_ntop(family, common.skc_daddr.to_bytes_())
    elif family == sockets.AF_INET6:
        local = f"[{sockets.inet_ntop(family, common.skc_v6_rcv_saddr.to_bytes_())}]"
        remote = f"[{sockets.inet_ntop(family, common.skc_v6_daddr.to_bytes_())}]"
    else:
        return f"family {family}, state {common.skc_state.value_()}"
    there = int.from_bytes(common.skc_dport.to_bytes_(), "big")
    state = common.skc_state.value_()
    return f"{local}:{common.skc_num.value_()} to {remote}:{there} {_STATES.get(state, state)}"


def _bio(found: Object) -> str:
    size = found.bi_iter.bi_size.value_()
    return f"{_operation(found.bi_opf)} sector {found.bi_iter.bi_sector.value_()}, {size:,} bytes"


def _request(found: Object) -> str:
    sector = found.member_("__sector").value_()
    size = found.member_("__data_len").value_()
    return f"{_operation(found.cmd_flags)} sector {sector}, {size:,} bytes"


_OPERATIONS = {
    0: "read",
    1: "write",
    2: "flush",
    3: "discard",
    5: "secure erase",
    9: "write zeroes",
}


def _operation(flags: Object) -> str:
    # REQ_OP_BITS is 8, include/linux/blk_types.h
    number = flags.value_() & 0xFF
    return _OPERATIONS.get(number, f"operation {number}")


def _page_flags(page: Object) -> str:
    """Names of a page's flags, each by its first; what follows __NR_PAGEFLAGS are others' names."""
    names: list[str] = []
    flags = page.flags.value_()
    for one in page.prog_.type("enum pageflags").enumerators or ():
        if one.name.startswith("__NR"):
            break
        if flags >> one.value & 1:
            names.append(one.name.removeprefix("PG_"))
    return "|".join(names) or "no flags"


def _page(found: Object) -> str:
    page = found.address_of_()
    return f"pfn {page_to_pfn(page).value_():#x}, {_page_flags(page)}"


def _vma(found: Object) -> str:
    flags = found.vm_flags.value_()
    rights = "".join(
        letter if flags & bit else "-" for bit, letter in ((1, "r"), (2, "w"), (4, "x"))
    )
    rights += "s" if flags & 8 else "p"
    file = found.vm_file
    path = f" {quoted(d_path(file.f_path.address_of_()))}" if file.value_() else ""
    return f"{found.vm_start.value_():#x}-{found.vm_end.value_():#x} {rights}{path}"


def _block_device(found: Object) -> str:
    number = found.bd_dev.value_()
    return f"{number >> 20}:{number & 0xFFFFF} {quoted(disk_name(found.bd_disk))}"


def _name_of(found: Object) -> str:
    """What a member ``name`` says, a string or an array of its own."""
    name = found.member_("name")
    is_array = plain_type(name.type_).kind == TypeKind.ARRAY
    return text_in(name) if is_array else text_at(name)


def _qstr(found: Object) -> str:
    length = min(found.len.value_(), 255)
    return quoted(found.prog_.read(found.name.value_(), length))


def _pool_workqueue(found: Object) -> str:
    return f"of {text_in(found.wq.name)}, CPU {found.pool.cpu.value_()}"


TELLERS_OF_TAGS: Mapping[str, Teller] = {
    "task_struct": _task,
    "mm_struct": lambda one: count(one.mm_users.counter.value_(), "user"),
    "pid": lambda one: f"pid {one.numbers[0].nr.value_()}",
    "cred": lambda one: f"uid {one.uid.val.value_()}, gid {one.gid.val.value_()}",
    "file": _path_of_file,
    "path": lambda one: quoted(d_path(one.address_of_())),
    "dentry": lambda one: quoted(dentry_path(one.address_of_())),
    "inode": _inode,
    "super_block": _super_block,
    "file_system_type": _name_of,
    "qstr": _qstr,
    "vm_area_struct": _vma,
    "sk_buff": _sk_buff,
    "sock": _sock,
    "net_device": _name_of,
    "bio": _bio,
    "request": _request,
    "gendisk": lambda one: text_in(one.disk_name),
    "block_device": _block_device,
    "page": _page,
    "folio": _page,
    "module": _name_of,
    "kobject": _name_of,
    "device_driver": _name_of,
    "bus_type": _name_of,
    "device": lambda one: quoted(dev_name(one.address_of_())),
    "kmem_cache": _name_of,
    "workqueue_struct": _name_of,
    "pool_workqueue": _pool_workqueue,
    "worker_pool": lambda one: (
        f"CPU {one.cpu.value_()}, {count(one.nr_workers.value_(), 'worker')}"
    ),
    "completion": lambda one: f"done {one.done.value_()}",
    "timespec64": lambda one: f"{one.tv_sec.value_()}.{one.tv_nsec.value_():09} s",
}
"""What is said of a structure, by its tag."""

"""Detectors on a dump whose memory was spoilt where they read: one opened dump for all trials.

What is spoilt are words of the kernel's own structures: tasks, their stacks, run queues, lists. The
dump stays open meanwhile, since opening spoilt dumps is another sweep's business.
"""

from __future__ import annotations

import os
import random
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from drgn import FaultError, Object, Program, sizeof
from drgn.helpers.linux.block import for_each_disk
from drgn.helpers.linux.idr import idr_for_each
from drgn.helpers.linux.irq import for_each_irq_desc
from drgn.helpers.linux.list import list_for_each_entry
from drgn.helpers.linux.mm import follow_phys
from drgn.helpers.linux.module import for_each_module
from drgn.helpers.linux.percpu import per_cpu
from drgn.helpers.linux.pid import find_pid, for_each_task
from drgn.helpers.linux.sched import cpu_rq, idle_task
from drgn.helpers.linux.slab import for_each_slab_cache
from dump.writer import Elf, info_note

from cas import elf
from cas.detectors.registry import detectors_of
from cas.detectors.running import run_detector
from cas.dump import identify, source
from cas.dump.kdump import open_kdump
from cas.engines.drgn.child.detect import case_of
from cas.engines.drgn.child.fault import Wanted, read_fault
from cas.engines.drgn.child.fit import Known
from cas.engines.drgn.child.target import File, Request, Target
from cas.engines.drgn.fault_answer import reading_of
from cas.findings import FaultCase, fault_case
from cas.text import printable

from installed import FIXTURES, needs

WORD = 8
LIMIT_S = 10.0
"""Of one detector, by the wall's clock: a machine under load needs more than its processor's."""
VARIABLES = (
    *("init_task", "runqueues", "nr_threads", "rcu_state", "rcu_data", "call_single_queue"),
    *("__cpu_online_mask", "__cpu_active_mask", "__per_cpu_offset", "init_pid_ns", "modules"),
    *(
        "slab_caches",
        "workqueues",
        "super_blocks",
        "init_net",
        "panic_cpu",
        "jiffies",
        "timer_bases",
    ),
    *("node_data", "contig_page_data", "mem_cgroup_subsys", "irq_desc_tree", "klist_devices"),
    *("tainted_mask", "taint_flags", "klp_patches", "mce_exception_count", "thermal_state"),
)
"""Of which this kernel has some; each word of them may be spoilt."""
MAX_BYTES = 16 << 10
"""Of one structure."""


@dataclass(frozen=True)
class Subject:
    """A dump that is open in drgn, and its file that may be written to."""

    target: Target
    dump: Path
    arch: str
    case: FaultCase | None = None
    """Its fault, as the kernel log has it; no address of it is spoilt."""
    kinds: tuple[str, ...] = ("hung-task", "soft-lockup", "out-of-memory", "null-dereference")
    """Kinds of crashes that the detectors are told, in turns."""

    @cached_property
    def places(self) -> list[tuple[int, int]]:
        """Address and size of what may be spoilt."""
        return [*_places(self.target.prog)]

    @cached_property
    def _loads(self) -> list[elf.Segment]:
        read = elf.reader(self.dump.read_bytes())
        return [each for each in elf.segments(read, elf.header(read)) if each.type == elf.PT_LOAD]

    def offset_of(self, address: int) -> int | None:
        """Where a word of the kernel's memory stands in the file."""
        try:
            physical = follow_phys(self.target.prog["init_mm"].address_of_(), address).value_()
        except (FaultError, LookupError):
            return None
        for load in self._loads:
            if load.paddr <= physical <= load.paddr + load.filesz - WORD:
                return int(load.offset + physical - load.paddr)
        return None

    def edits(self, number: int) -> list[tuple[int, bytes]]:
        """What the mutation of that number puts where in the file."""
        chance = random.Random(f"detect/{number}")  # noqa: S311
        made = []
        for _ in range(chance.choice((1, 1, 2, 4, 16))):
            address, size = chance.choice(self.places)
            address += chance.randrange(max(size // WORD, 1)) * WORD
            offset = self.offset_of(address)
            if offset is not None:
                made.append((offset, self._word(address, chance)))
        return made

    def _word(self, address: int, chance: random.Random) -> bytes:
        prog = self.target.prog
        value = int(prog.read_u64(address))
        other, size = chance.choice(self.places)
        values = [
            0,
            1,
            (1 << 64) - 1,
            1 << 63,
            0xDEAD000000000100,
            value ^ 1 << chance.randrange(64),
        ]
        values += [value + WORD, value - WORD, value << 8, address, address - WORD, other]
        values += [other + chance.randrange(size) & ~7, chance.getrandbits(64), 0x1B1B1B1B1B1B1B1B]
        return struct.pack("<Q", chance.choice(values) & (1 << 64) - 1)

    def trial(self, number: int) -> list[str]:
        """What is wrong with the detectors on a spoilt dump; how they ended, behind ``=``."""
        edits = self.edits(number)
        with self.dump.open("r+b", buffering=0) as file:
            before = [(at, os.pread(file.fileno(), len(word), at)) for at, word in edits]
            for at, word in edits:
                os.pwrite(file.fileno(), word, at)
            try:
                return list(self._complaints(self.kinds[number % len(self.kinds)]))
            finally:
                for at, word in reversed(before):
                    os.pwrite(file.fileno(), word, at)

    def _complaints(self, kind: str) -> Iterator[str]:
        case = case_of(self.target, {"arch": self.arch, "kind": kind, "uptime_s": 8.0})
        for detector in detectors_of():
            found = run_detector(detector, case)
            yield f"={found.status}"
            if found.seconds > LIMIT_S:
                yield f"{found.detector} took {found.seconds} s"
            text = str(asdict(found))
            if printable(text) != text:
                yield f"{found.detector} says what does not print: {text!a}"
        yield from self._fault_complaints()

    def _fault_complaints(self) -> Iterator[str]:
        """What is wrong with the reading of the fault, and with what is said of it."""
        if self.case is None:
            return
        begun, reading, problem = time.monotonic(), dict[str, Any](), None
        try:
            read_fault(self.target, Wanted(**self.case.wanted()), reading)
        except Exception as error:
            problem = str(error)
        if (seconds := time.monotonic() - begun) > LIMIT_S:
            yield f"the fault took {seconds:.1f} s"
        fault = self.case.explained(reading_of(reading, problem) if reading else None)
        said = [each.sentence for each in fault.evidence] if fault else []
        if any("a bit may have flipped" in sentence for sentence in said):
            yield "a bit of NULL is said to have flipped"


def opened(dump: Path, vmlinux: Path, arch: str = "x86_64") -> Subject:
    """A whole dump, to be spoilt; warmed up, so that no trial pays for what is read once."""
    files = [File(str(path), os.open(path, os.O_RDONLY)) for path in (dump, vmlinux)]
    case = fault_case(identify(dump), None)
    subject = Subject(Target(Request(*files, arch, known=Known())), dump, arch, case)
    list(subject._complaints("hung-task"))
    return subject


def as_elf(path: Path) -> bytes:
    """A dump as an ELF file, in which memory can be written to."""
    if path.read_bytes()[:4] == b"\x7fELF":
        return path.read_bytes()
    with source.opened_source(path) as file:
        image = open_kdump(file, checked=False)
        runs: dict[int, bytearray] = {}
        begin, end = 0, -1
        for address, data in image.memory.chunks(0, 1 << 64):
            begin = begin if address == end else address
            runs.setdefault(begin, bytearray()).extend(data)
            end = address + len(data)
    notes = [(note.name, note.type, note.desc) for note in image.notes]
    if image.vmcoreinfo and not any(name == "VMCOREINFO" for name, _, _ in notes):
        notes.append(info_note(image.vmcoreinfo))
    return Elf(runs, notes).build()  # type: ignore[arg-type]


def vmlinux_of_a() -> bytes:
    """That of the shipped x86_64 dump."""
    (package,) = (FIXTURES / "a").glob("*.rpm")
    argv = [needs("bsdtar"), "-xOf", package, "*/vmlinux"]
    return subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout


def _places(prog: Program) -> Iterator[tuple[int, int]]:
    for name in VARIABLES:
        yield from _found(lambda name=name: [_extent(prog[name])])
    for cpu in (0, 1):
        yield from _found(lambda cpu=cpu: [_extent(cpu_rq(prog, cpu)[0])])
        yield from _found(lambda cpu=cpu: [_extent(per_cpu(prog["rcu_data"], cpu))])
        yield from _found(lambda cpu=cpu: [*_of_task(idle_task(prog, cpu))])
    yield from _of_resources(prog)
    for task in for_each_task(prog):
        yield from _of_task(task)
    for kmod in for_each_module(prog):
        yield _extent(kmod[0])


def _of_resources(prog: Program) -> Iterator[tuple[int, int]]:
    """Memory, disks, file systems, workers, timers, interrupts."""
    for name in ("vm_node_stat", "vm_zone_stat", "tk_core", "jiffies_64", "worker_pool_idr"):
        yield from _found(lambda name=name: [_extent(prog[name])])
    for cpu in (0, 1):
        for name in ("timer_bases", "hrtimer_bases", "cpu_worker_pools"):
            yield from _found(lambda cpu=cpu, name=name: [_extent(per_cpu(prog[name], cpu))])
    yield from _found(lambda: [*_of_disks(prog)])
    yield from _found(lambda: [*_of_workers(prog)])
    sbs = list_for_each_entry("struct super_block", prog["super_blocks"].address_of_(), "s_list")
    for sb in sbs:
        yield _extent(sb[0])
        mounts = list_for_each_entry("struct mount", sb.s_mounts.address_of_(), "mnt_instance")
        yield from (_extent(mount[0]) for mount in mounts)
    for cache in for_each_slab_cache(prog):
        yield _extent(cache[0])
        yield _extent(cache.node[0][0])
    for _, desc in for_each_irq_desc(prog):
        yield _extent(desc[0])


def _of_disks(prog: Program) -> Iterator[tuple[int, int]]:
    for disk in for_each_disk(prog):
        yield _extent(disk[0])
        yield _extent(disk.queue[0])
        yield _extent(disk.queue.tag_set[0])
        tags = disk.queue.tag_set.tags[0]
        yield _extent(tags[0])
        yield tags.bitmap_tags.sb.map.value_(), 64
        yield tags.rqs.value_(), 64
        yield _extent(tags.static_rqs[0][0])


def _of_workers(prog: Program) -> Iterator[tuple[int, int]]:
    for _, entry in idr_for_each(prog["worker_pool_idr"].address_of_()):
        pool = Object(prog, "struct worker_pool *", entry.value_())
        yield _extent(pool[0])
        workers = list_for_each_entry("struct worker", pool.workers.address_of_(), "node")
        yield from (_extent(worker[0]) for worker in workers)


def _of_task(task: Object) -> Iterator[tuple[int, int]]:
    yield _extent(task[0])
    yield from _found(lambda: [_extent(task.mm[0])])
    yield from _found(lambda: [_extent(find_pid(task.prog_, task.pid)[0])])
    size = int(task.prog_["THREAD_SIZE"])
    yield task.stack.value_() + size - 1024, 1024
    yield from _found(lambda: [(int(task.thread.sp), 512)] * 3)


def _found(read: Callable[[], Sequence[tuple[int, int]]]) -> Sequence[tuple[int, int]]:
    """What there is; nothing where this kernel has no such thing."""
    try:
        return [each for each in read() if each[1] >= WORD]
    except (FaultError, LookupError, TypeError):
        return []


def _extent(value: Object) -> tuple[int, int]:
    assert value.address_ is not None
    return value.address_, min(sizeof(value), MAX_BYTES)

"""What drgn asks first of a dump, read ahead: for a dump of which each read costs time.

drgn asks for one thing after another, and each is a request to a server. Most of them are variables
of the kernel, which its vmlinux names, and what these lead to: all of that can be asked for at
once, while drgn still reads the debug information. What is read in vain costs a block; what is
missing here drgn asks for itself.

The list of kernel modules is one thing after another for us, too; but it is begun earlier.

Source: drgn 0.3.0, drgn/helpers/linux/{percpu,sched,cpumask,module}.py; `cas.engines.drgn.child`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

from cas import elf
from cas.dump.image import open_image
from cas.dump.memory import Source
from cas.dump.translate import Kernel, Machine, kernel_order, page_size_of
from cas.dump.vmcoreinfo import VmcoreInfo
from cas.errors import CasError
from cas.model.dump import Dump

VARIABLES = (
    "__cpu_active_mask",
    "__cpu_online_mask",
    "__cpu_possible_mask",
    "__per_cpu_offset",
    "_totalram_pages",
    "init_task",
    "init_uts_ns",
    "linux_banner",
    "modules",
    "nr_cpu_ids",
    "swapper_pg_dir",
    "tainted_mask",
    "task_state_array",
    "tk_core",
    "vmcoreinfo_data",
)
"""Variables of the kernel that the first answer is made of, or that lead there."""
RUN_QUEUES = "runqueues"
TASKS = ("current_task", "pcpu_hot")
"""Where the pointer to a processor's task is, on x86; arm64 has it in a register."""
CRASHED = ("panic_cpu", "crashing_cpu")
"""Where the kernel has the number of the processor that panicked, see ``child/backtrace.py``."""
STEXT = "_stext"
VARIABLE_BYTES = 64
TASK_BYTES = 8192
"""Of a ``struct task_struct``, which has up to 10 KiB."""
STACK_BYTES = 8192
"""Of a stack, from the stack pointer on."""
KMODS = 512
"""Kernel modules that are read at most; distribution kernels load a few hundred."""
KMOD_BYTES = 512
"""Of a ``struct module``, from its place in the list on."""
STATES = 9
"""Pointers to strings in ``task_state_array``, fs/proc/array.c."""
AT_ONCE = 8
STACK_POINTERS = ("rsp", "sp", "esp", "gpr1", "r15", "r3")
"""By their names in `Registers`, the first of them that there is."""
_PER_CPU_BYTES = 1 << 24
"""Per-CPU variables of x86_64 are linked to begin at 0, and are not moved with the kernel."""


class Ahead:
    """Reads ahead in threads of its own; a context manager that waits for none of them."""

    def __init__(self, source: Source) -> None:
        """Nothing is read yet.

        :param source: it keeps what it has read, and may be read by several threads
        """
        self._source = source
        self._pool = ThreadPoolExecutor(AT_ONCE, "ahead")
        self._left = 0
        """Things that are still to be read."""
        self._changed = threading.Condition()

    def wait(self) -> None:
        """Wait until all of it was read."""
        with self._changed:
            self._changed.wait_for(lambda: self._left == 0)

    def close(self) -> None:
        """Begin no further read."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def begin(self, dump: Dump, vmlinux: Path) -> None:
        """Read what drgn will ask of a dump; what cannot be read is passed over.

        :param vmlinux: its kernel's
        """
        self._submit(partial(self._begin, dump, vmlinux))

    def _begin(self, dump: Dump, vmlinux: Path) -> None:
        kernel, info = _kernel_of(self._source, dump), VmcoreInfo(dump.vmcoreinfo)
        where = _moved(_linked(vmlinux), info)
        for name in VARIABLES:
            if name in where:
                self._submit(partial(kernel.read, where[name], VARIABLE_BYTES))
        for follow in (_kmods, _own_vmcoreinfo, _states, _first_processor):
            self._submit(partial(follow, kernel, where))
        self._submit(partial(self._crashed, kernel, where, dump))

    def _crashed(self, kernel: Kernel, where: Where, dump: Dump) -> None:
        """The processor that panicked: its stack, its run queue, its task."""
        variable = next(name for name in CRASHED if name in where)
        number = kernel.unsigned(where[variable])
        if number < len(dump.registers):
            values = dump.registers[number].values
            pointer = next(values[name] for name in STACK_POINTERS if name in values)
            self._submit(partial(kernel.read, pointer, STACK_BYTES))
        _run_queue(kernel, where, number)
        for name in TASKS:
            if name in where:
                task = kernel.long(_per_cpu(kernel, where, name, number))
                kernel.read(task, TASK_BYTES)

    def _submit(self, read: Callable[[], object]) -> None:
        self._count(1)
        try:
            self._pool.submit(self._attempt, read)
        except RuntimeError:  # it is closed
            self._count(-1)

    def _attempt(self, read: Callable[[], object]) -> None:
        try:
            with suppress(CasError, OSError, LookupError, StopIteration):
                read()  # the last two: this kernel has no such variable
        finally:
            self._count(-1)

    def _count(self, more: int) -> None:
        with self._changed:
            self._left += more
            self._changed.notify_all()


Where = Mapping[str, int]
"""The addresses of variables, as the crashed kernel had them."""


def _kernel_of(source: Source, dump: Dump) -> Kernel:
    """The dump's memory by virtual address."""
    image, info = open_image(source, checked=False, is_far=True), VmcoreInfo(dump.vmcoreinfo)
    arch, order = dump.arch, kernel_order(image, info)
    page_size = page_size_of(image, info) or 4096
    return Kernel(Machine(arch, order, page_size, image.memory, image.phys_base, info))


def _linked(vmlinux: Path) -> Where:
    with vmlinux.open("rb") as file:
        read: elf.Read = lambda offset, size: os.pread(file.fileno(), size, offset)  # noqa: E731
        return elf.addresses(
            read, elf.header(read), (STEXT, *VARIABLES, RUN_QUEUES, *TASKS, *CRASHED)
        )


def _moved(linked: Where, info: VmcoreInfo) -> Where:
    """Where the kernel really was: KASLR moved it."""
    told, stext = info.symbol(STEXT), linked.get(STEXT)
    moved = 0 if told is None or stext is None else told - stext
    return {
        name: address if address < _PER_CPU_BYTES else address + moved
        for name, address in linked.items()
    }


def _kmods(kernel: Kernel, where: Where) -> None:
    """The list of kernel modules; each is where the one before it says."""
    at = head = where["modules"]
    for _ in range(KMODS):
        at = kernel.long(at)
        if at == head:
            break
        kernel.read(at, KMOD_BYTES)


def _own_vmcoreinfo(kernel: Kernel, where: Where) -> None:
    kernel.read(kernel.long(where["vmcoreinfo_data"]), VARIABLE_BYTES)


def _states(kernel: Kernel, where: Where) -> None:
    for address in _pointers(kernel, where["task_state_array"], STATES):
        kernel.read(address, 1)


def _pointers(kernel: Kernel, address: int, number: int) -> Iterator[int]:
    data = kernel.read(address, number * kernel.long_bytes)
    for offset in range(0, len(data), kernel.long_bytes):
        yield kernel.number_in("L", data, offset)


def _first_processor(kernel: Kernel, where: Where) -> None:
    _run_queue(kernel, where, 0)


def _run_queue(kernel: Kernel, where: Where, processor: int) -> None:
    kernel.read(_per_cpu(kernel, where, RUN_QUEUES, processor), VARIABLE_BYTES)


def _per_cpu(kernel: Kernel, where: Where, name: str, processor: int) -> int:
    """Where a processor has a variable of its own."""
    offsets = where["__per_cpu_offset"]
    return where[name] + kernel.long(offsets + processor * kernel.long_bytes)

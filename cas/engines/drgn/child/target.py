"""A dump opened in drgn, with exactly the debug information that we were given.

drgn's own search is switched off: it would ask the running system and the network.
"""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from typing import Any, NamedTuple

from drgn import (
    Architecture,
    FaultError,
    Module,
    ModuleFileStatus,
    Object,
    ObjectNotFoundError,
    Platform,
    PlatformFlags,
    Program,
    ProgramFlags,
    Symbol,
    SymbolIndex,
)

from cas import elf
from cas.engines.drgn.child.fit import (
    PLACES,
    Known,
    contradictions,
    distance,
    is_of_another,
    other_identity,
    unseen_places,
    with_distance,
)
from cas.errors import NotADump, plain_reason
from cas.frozen import dataclass

MAX_KMODS = 4096
"""A corrupt list has no end; distribution kernels load a few hundred."""

CORE_REGIONS = 4
"""Text, data, rodata, rodata after init, since Linux 6.4 (ac3b43283923); the rest is freed after
init."""

BITS_64 = PlatformFlags.IS_64_BIT
LITTLE_64 = BITS_64 | PlatformFlags.IS_LITTLE_ENDIAN
PLATFORMS: Mapping[str, tuple[Architecture, PlatformFlags]] = {
    "x86_64": (Architecture.X86_64, LITTLE_64),
    "i686": (Architecture.I386, PlatformFlags.IS_LITTLE_ENDIAN),
    "aarch64": (Architecture.AARCH64, LITTLE_64),
    "armv7l": (Architecture.ARM, PlatformFlags.IS_LITTLE_ENDIAN),
    "ppc64": (Architecture.PPC64, BITS_64),
    "ppc64le": (Architecture.PPC64, LITTLE_64),
    "s390x": (Architecture.S390X, BITS_64),
    "riscv64": (Architecture.RISCV64, LITTLE_64),
}

USER_HALF_BYTES = 1 << 47
NULL_AREA_BYTES = 64 << 10
NOT_THE_KERNELS: Mapping[Architecture, int] = {
    Architecture.AARCH64: USER_HALF_BYTES,
    Architecture.ARM: NULL_AREA_BYTES,
    Architecture.I386: NULL_AREA_BYTES,
    Architecture.PPC64: USER_HALF_BYTES,
    Architecture.RISCV64: USER_HALF_BYTES,
    Architecture.X86_64: USER_HALF_BYTES,
}
"""How many of the lowest virtual addresses, in bytes, never mean the kernel's own memory."""


class CannotOpen(Exception):
    """The dump and the vmlinux do not make a program; the message says why."""


class Misfit(CannotOpen):
    """What is read of the dump through the vmlinux is not what the dump says otherwise."""


class Partial(NamedTuple):
    """A fact that is not whole, or not certain."""

    value: Any
    problem: str | None


class LoadedKmod(NamedTuple):
    """A kernel module in the dump's own list."""

    name: str
    object: Object
    """``struct module *``."""
    regions: tuple[tuple[int, int], ...]
    """Address and size in bytes of each part, code first; a part may be empty."""

    @property
    def size_bytes(self) -> int:
        """All that the module occupies; on Linux 6.4 and later without its init sections."""
        return sum(size for _, size in self.regions[:CORE_REGIONS])

    def holds(self, address: int) -> bool:
        """Whether the address is in the module's code or data."""
        return any(start <= address < start + size for start, size in self.regions)


class File(NamedTuple):
    """A file that the parent opened for us, for reading."""

    name: str
    """How to call it in a sentence: its path, which we could not open."""
    descriptor: int

    @property
    def is_served(self) -> bool:
        """There is no file: the parent answers what is asked of it over a socket."""
        return stat.S_ISSOCK(os.fstat(self.descriptor).st_mode)

    @property
    def state(self) -> tuple[int, ...]:
        """By what it is told from another file, and from the same that was written to."""
        now = os.fstat(self.descriptor)
        return now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns

    def another(self) -> int:
        """The file once more, for someone who closes it."""
        return os.dup(self.descriptor)


@dataclass(frozen=True, slots=True)
class Request:
    """What the parent asks to open."""

    dump: File
    vmlinux: File
    arch: str | None = None
    """``uname -m`` spelling, for dumps that do not tell drgn themselves."""
    kmods: Mapping[str, File] | None = None
    """Debug files of kernel modules by the kernel's name for the module."""
    vmcoreinfo: str | None = None
    """In place of the dump's note, where drgn cannot use that, or it is another kernel's."""
    known: Known = field(default_factory=Known)
    """What must be read through the vmlinux again."""
    is_forced: bool = False
    """The vmlinux may be another kernel's."""
    death: str | None = None
    """How drgn ended when it read the dump by itself, which is then the last to be tried."""
    is_ahead: bool = False
    """It is asked for before anything is known: what drgn does not open at once is left."""


Opening = Callable[[Platform | None, str | None], Program]
"""Opens the dump, on a platform and with a VMCOREINFO that are known better than by its headers.

Whatever is wrong with the dump is raised.
"""


class View(NamedTuple):
    """A dump, opened in one of the ways."""

    prog: Program
    main: Module
    """The vmlinux in it."""
    wrong: list[str]
    """What is read through the vmlinux and is not what the dump says."""
    remarks: list[str]
    unseen: list[FaultError]
    """Where the kernel's own data cannot be read."""
    is_fed: bool = False
    """Whether we read it for drgn."""

    @property
    def is_clear(self) -> bool:
        """Whether all that was looked at is there, and right."""
        return not self.wrong and not self.unseen

    @property
    def is_blind(self) -> bool:
        """Whether nothing of what was looked at is there."""
        return len(self.unseen) == len(PLACES)

    @property
    def reason(self) -> str:
        """What is not right with it."""
        return "; ".join(self.wrong) or next(map(str, self.unseen), "")


class Target:
    """An opened dump."""

    def __init__(self, request: Request) -> None:
        """Open the dump and give drgn the vmlinux.

        :raises Misfit: what is read through the vmlinux is not what the dump says
        :raises CannotOpen: drgn's own words, or that the vmlinux is another kernel's
        """
        self.remarks: list[str] = []
        """What a reader should know of how it was opened."""
        self._request = request
        self._states = (request.dump.state, request.vmlinux.state)
        """What the files were before they were read."""
        self._view = view = _best_view(request)
        self.prog, self.main = view.prog, view.main
        self.remarks += view.remarks
        self._files = dict(request.kmods or {})
        self.names = {str(self.prog.core_dump_path): request.dump.name}
        """What to call what drgn calls otherwise: it was given a descriptor."""
        self.kmods_end: str | None = None
        """Why the list of kernel modules could not be read further."""
        self._kmods: list[LoadedKmod] = []
        """Those that were read so far."""
        self._unread = self._read_kmods()
        self.refused: list[str] = []
        """Kernel modules whose debug file is of another build."""
        self._described: set[str] = set()
        self._described_all = False
        self._symbols: dict[str, SymbolIndex] = {}
        self.prog.register_symbol_finder("kmods", self._find_symbols, enable_index=-1)

    @property
    def kmods(self) -> list[LoadedKmod]:
        """The kernel modules that were loaded, newest first, as far as they can be read."""
        return list(self._each_kmod())

    def kmod_at(self, address: int) -> LoadedKmod | None:
        """The kernel module whose code or data is at an address.

        Where that is the kernel's own, or no kernel's at all, the list is not even looked at, and
        else no further than to that module: each lies elsewhere in the dump.
        """
        if self.is_own(address) or self._is_no_kernels(address):
            return None
        return next((kmod for kmod in self._each_kmod() if kmod.holds(address)), None)

    def is_own(self, address: int) -> bool:
        """Whether an address is in the kernel's own image."""
        return any(low <= address < high for low, high in self.main.address_ranges or ())

    def _is_no_kernels(self, address: int) -> bool:
        platform = self.prog.platform
        return platform is not None and address < NOT_THE_KERNELS.get(platform.arch, 0)

    def _each_kmod(self) -> Iterator[LoadedKmod]:
        """Those that were read before, then the others, each read when it is asked for."""
        number = 0
        while number < len(self._kmods) or self._read_another_kmod():
            yield self._kmods[number]
            number += 1

    def _read_another_kmod(self) -> bool:
        """Whether there was another one."""
        kmod = next(self._unread, None)
        if kmod is not None:
            self._kmods.append(kmod)
        return kmod is not None

    def _read_kmods(self) -> Iterator[LoadedKmod]:
        from drgn.helpers.linux.module import for_each_module, module_address_regions

        self.kmods_end = "it was not read to its end in time"
        end, seen = None, set()
        try:
            for module in itertools.islice(for_each_module(self.prog), MAX_KMODS):
                if module.value_() in seen:
                    break  # a damaged list that leads back into itself
                seen.add(module.value_())
                name = module.name.string_().decode("utf-8", "replace")
                regions = tuple(module_address_regions(module))
                yield LoadedKmod(name, module, regions)
        except (FaultError, LookupError) as error:
            end = str(error)
        self.kmods_end = end

    def has_debuginfo(self, name: str) -> bool:
        """Whether a debug file of the kernel module was given, and not refused so far."""
        return name in self._files and name not in self.refused

    def serves(self, request: Request) -> bool:
        """Whether this is what a request asks to open; then it is, from now on.

        To read the debug information once more takes most of an opening.
        """
        mine = self._request
        if request.death or request.is_forced or self._view.is_fed or not self._view.is_clear:
            return False
        if self._states != (request.dump.state, request.vmlinux.state):
            return False
        if request.vmcoreinfo and is_of_another(self.prog, request.vmcoreinfo):
            return False
        if contradictions(self.prog, request.known):
            return False
        self._request = request
        self.names = {str(self.prog.core_dump_path): request.dump.name}
        for file in (mine.dump, mine.vmlinux):
            os.close(file.descriptor)
        self.supply(request.kmods or {})
        return True

    def supply(self, files: Mapping[str, File]) -> None:
        """Take debug files of kernel modules that were not there, or of another build, before."""
        self._files.update(files)
        self.refused = [name for name in self.refused if name not in files]
        self._described.difference_update(files)
        self._described_all = False

    def describe(self, kmod: LoadedKmod) -> bool:
        """Let drgn know a kernel module: its debug file, else its unwind tables in the dump.

        :return: whether that may show more than before
        """
        if kmod.name in self._described:
            return False
        self._described.add(kmod.name)
        try:
            module = self.prog.linux_kernel_loadable_module(kmod.object, create=True)
            file = self._files.get(kmod.name)
            if file is not None and module.debug_file_status != ModuleFileStatus.HAVE:
                # drgn closes it: hundreds of them would be too many to keep a second time
                module.try_file(file.name, fd=file.descriptor)
                if module.debug_file_status != ModuleFileStatus.HAVE:
                    self.refused.append(kmod.name)
        except (FaultError, LookupError, ValueError):
            # Its sections are not in the dump: what drgn shows of it stays without names.
            return False
        return True

    def describe_all(self) -> None:
        """Do so for every loaded kernel module, as the commands need it."""
        if self._described_all:
            return
        self._described_all = True
        with suppress(ObjectNotFoundError, FaultError):
            # the CPUs that a panic stopped are put back online, else commands leave them and their
            # tasks out; they are still active: only hot-unplugging a CPU makes it inactive
            online, active = self.prog["__cpu_online_mask"], self.prog["__cpu_active_mask"]
            both = bytes(map(int.__or__, online.to_bytes_(), active.to_bytes_()))
            assert online.address_ is not None  # noqa: S101  what can be read has an address
            self.prog.add_memory_segment(
                online.address_,
                len(both),
                lambda _address, size, offset, _: both[offset : offset + size],
            )
        for kmod in self.kmods:
            self.describe(kmod)

    def own_symbol(self, kmod: LoadedKmod, name: str) -> Symbol | None:
        """A symbol of a kernel module, as the kernel itself knows it."""
        found = self._symbols_of(kmod)(self.prog, name, None, True)
        return found[0] if found else None

    def debug_file(self, name: str) -> File | None:
        """The debug file of a kernel module that was given."""
        return self._files.get(name)

    def _symbols_of(self, kmod: LoadedKmod) -> SymbolIndex:
        if kmod.name not in self._symbols:
            self._symbols[kmod.name] = SymbolIndex(_symbols(kmod))
        return self._symbols[kmod.name]

    def _find_symbols(
        self, _: Program, name: str | None, address: int | None, one: bool
    ) -> Sequence[Symbol]:
        """The kernel's own symbols of its modules, read when they are first asked for."""
        kmod = None if address is None else self.kmod_at(address)
        found: list[Symbol] = []
        for each in self.kmods if address is None else filter(None, [kmod]):
            found += self._symbols_of(each)(self.prog, name, address, one)
            if one and found:
                break
        return found


def _best_view(request: Request) -> View:
    """The dump as drgn reads it by itself, else, where that shows more, as we read it for drgn.

    :raises Misfit: what is read through the vmlinux is not what the dump says
    :raises CannotOpen: neither can open it
    """
    if request.dump.is_served:
        return _require_fit(_view(_opening_by_us(request), request))
    own, why = (None, request.death) if request.death else _view_by_drgn(request)
    if own and own.is_clear:
        return own
    if request.is_ahead:
        raise CannotOpen(own.reason if own else why)
    fed = _view_by_us(request, own)
    if fed and not fed.wrong and not fed.is_blind:
        reason = own.reason if own else why
        fed.remarks.append(f"CAS itself reads this dump, for drgn cannot: {reason}")
        return fed
    if request.death:
        own, why = _view_by_drgn(request)
    view = own or fed
    if view is None or (own is None and not view.wrong):
        raise CannotOpen(why)
    return _require_fit(view)


def _view_by_drgn(request: Request) -> tuple[View | None, str]:
    """The dump as drgn reads it, or why it cannot."""
    try:
        return _view(_opening_by_drgn(request.dump), request), ""
    except CannotOpen as error:
        return None, str(error)


def _view_by_us(request: Request, own: View | None) -> View | None:
    """The dump as we read it, where that may show more than drgn's own view."""
    try:
        opening = _opening_by_us(request)
        if own is None or own.wrong or _sees_more(_program(opening, request), own):
            return _view(opening, request)._replace(is_fed=True)
    except CannotOpen:
        pass
    return None


def _require_fit(view: View) -> View:
    if view.wrong:
        raise Misfit("; ".join(view.wrong))
    return view


def _sees_more(prog: Program, own: View) -> bool:
    """Whether a program can read what drgn by itself cannot."""
    for fault in own.unseen:
        with suppress(FaultError):
            prog.read(fault.address, 1)
            return True
    return False


def _view(opening: Opening, request: Request) -> View:
    """The dump opened in one way, with the vmlinux; tried is what may make that fit.

    :raises CannotOpen: it cannot be opened so, or there is no debug information of its kernel
    """
    prog = _program(opening, request)
    main = _load_vmlinux(prog, request)
    if request.is_forced:
        return View(prog, main, [], [], unseen_places(prog))
    wrong = contradictions(prog, request.known)
    remarks: list[str] = []
    moved = distance(prog, main) if wrong else None
    if moved is not None and moved != main.debug_file_bias:
        again = _guarded(opening(prog.platform, with_distance(prog, moved)))
        of_again = _load_vmlinux(again, request)
        if not contradictions(again, request.known):
            prog, main, wrong = again, of_again, []
            remarks.append(
                "the dump's headers do not say how far the kernel was moved: by"
                f" {moved:#x} bytes, as its _stext tells"
            )
    remarks += [] if wrong else other_identity(prog)
    return View(prog, main, wrong, remarks, unseen_places(prog))


def _load_vmlinux(prog: Program, request: Request) -> Module:
    vmlinux = request.vmlinux
    module = next((module for module, _ in prog.loaded_modules()), None)
    if module is None:
        raise CannotOpen("drgn found no kernel in the dump")
    try:
        module.try_file(vmlinux.name, fd=vmlinux.another(), force=request.is_forced)
    except Exception as error:
        raise CannotOpen(f"cannot read {vmlinux.name}: {error}") from error
    if module.debug_file_status != ModuleFileStatus.HAVE:
        wanted = (module.build_id or b"").hex() or "unknown"
        raise CannotOpen(
            f"{vmlinux.name} has no debug information of this kernel (build-id {wanted})"
        )
    # drgn knows a vmlinux by its code, and then leaves out what stands between its first and its
    # last segment: that of the per-CPU variables begins at 0 on x86_64. Of a file with nothing but
    # debug information it takes all segments, and moves those variables with the kernel. So it is
    # told where the kernel begins and ends.
    loads: list[elf.Segment] = []
    with suppress(NotADump, OSError):
        read: elf.Read = lambda offset, size: os.pread(vmlinux.descriptor, size, offset)  # noqa: E731
        segments = elf.segments(read, elf.header(read))
        loads = [one for one in segments if one.type == elf.PT_LOAD and one.memsz]
    if loads and module.debug_file_bias is not None:
        begin, end = loads[0].vaddr, loads[-1].vaddr + loads[-1].memsz
        if begin < end:
            bias = module.debug_file_bias
            module.address_range = (
                (begin + bias) & elf.MAX_ADDRESS,
                (end + bias) & elf.MAX_ADDRESS,
            )
    return module


def _opening_by_drgn(dump: File) -> Opening:
    """drgn reads the file by itself."""

    def open_file(platform: Platform | None, vmcoreinfo: str | None) -> Program:
        prog = Program(platform, vmcoreinfo=vmcoreinfo or None)
        prog.set_enabled_debug_info_finders([])
        prog.set_core_dump(dump.another())
        return prog

    return open_file


def _opening_by_us(request: Request) -> Opening:
    """Our readers read the dump, and feed drgn.

    :raises CannotOpen: they cannot
    """
    from cas.engines.drgn.child.fed import FedDump  # most dumps need none of it

    try:
        return FedDump(request.dump.descriptor, request.arch).program
    except (NotADump, OSError) as error:
        raise CannotOpen(plain_reason(error)) from error


def _program(opening: Opening, request: Request) -> Program:
    """The dump as it describes itself, else as the parent described it."""
    known = PLATFORMS.get(request.arch or "")
    platform = Platform(*known) if known else None
    reasons = []
    attempts = ((None, None), (platform, None), (platform, request.vmcoreinfo))
    for attempt in attempts:
        try:
            prog = _guarded(opening(*attempt))
        except Exception as error:
            reasons.append(str(error))
            continue
        # the parent knows better if the dump's note is another kernel's
        if request.vmcoreinfo and is_of_another(prog, request.vmcoreinfo):
            return _guarded(opening(prog.platform, request.vmcoreinfo))
        return prog
    raise CannotOpen(reasons[0])


def _guarded(prog: Program) -> Program:
    """The program of an opened dump, in which NULL pointers fault."""
    # QEMU's dumps give physical addresses as virtual ones, from 0 on
    size = NOT_THE_KERNELS.get(prog.platform.arch) if prog.platform else None
    if size:
        prog.add_memory_segment(0, size, _raise_fault)
    if not prog.flags & ProgramFlags.IS_LINUX_KERNEL:
        raise CannotOpen("the dump has no VMCOREINFO, without which drgn finds no kernel in it")
    return prog


def _raise_fault(address: int, _size: int, _offset: int, _physical: bool) -> bytes:
    raise FaultError("address is not the kernel's", address)


def _symbols(kmod: LoadedKmod) -> list[Symbol]:
    from drgn.helpers.linux.kallsyms import module_kallsyms

    try:
        return [symbol for symbol in module_kallsyms(kmod.object) if symbol.address]
    except (FaultError, LookupError, ValueError, MemoryError):
        # Its table is not in the dump; other tables may still hold what is looked for.
        return []

"""The kernel's own words for numbers: symbols, errors, flags, states, poison."""

from __future__ import annotations

import errno
import re
from bisect import bisect_right, insort
from collections.abc import Mapping, Sequence
from functools import lru_cache

from drgn import Architecture, FaultError, Program, Type, TypeKind

from cas.engines.drgn.child.target import NOT_THE_KERNELS, Target

MAX_ERRNO = 4095
"""The highest addresses are errors; ``include/linux/err.h``."""
_KERNEL_ERRORS: Mapping[int, str] = {
    **errno.errorcode,
    512: "ERESTARTSYS",
    513: "ERESTARTNOINTR",
    514: "ERESTARTNOHAND",
    515: "ENOIOCTLCMD",
    516: "ERESTART_RESTARTBLOCK",
    517: "EPROBE_DEFER",
    524: "ENOTSUPP",
}
"""``include/linux/errno.h`` behind what users see."""

POISONS: Mapping[int, str] = {
    0x6B6B6B6B6B6B6B6B: "POISON_FREE: freed slab object",
    0x6B6B6B6B6B6B6BA5: "POISON_FREE: end of a freed slab object",
    0x5A5A5A5A5A5A5A5A: "POISON_INUSE: slab object not written to yet",
    0xBBBBBBBBBBBBBBBB: "SLUB_RED_INACTIVE: red zone",
    0xCCCCCCCCCCCCCCCC: "SLUB_RED_ACTIVE or POISON_FREE_INITMEM",
    0xAAAAAAAAAAAAAAAA: "PAGE_POISON: freed page",
    0xDEAD000000000100: "LIST_POISON1: taken off its list",
    0xDEAD000000000122: "LIST_POISON2: taken off its list",
    0xDEAD000000000200: "LIST_POISON2: taken off its list",
    0xDEAD4EAD: "SPINLOCK_MAGIC",
    0x300: "TIMER_ENTRY_STATIC",
}
"""``include/linux/poison.h``; with POISON_POINTER_DELTA of 64-bit kernels."""
_SHORT_POISONS = {0x6B6B6B6B: "POISON_FREE", 0x5A5A5A5A: "POISON_INUSE"}

_GFP = (
    (0x01, "__GFP_DMA"),
    (0x02, "__GFP_HIGHMEM"),
    (0x04, "__GFP_DMA32"),
    (0x08, "__GFP_MOVABLE"),
    (0x10, "__GFP_RECLAIMABLE"),
    (0x20, "__GFP_HIGH"),
    (0x40, "__GFP_IO"),
    (0x80, "__GFP_FS"),
    (0x100, "__GFP_ZERO"),
    (0x200, "__GFP_ATOMIC"),
    (0x400, "__GFP_DIRECT_RECLAIM"),
    (0x800, "__GFP_KSWAPD_RECLAIM"),
    (0x1000, "__GFP_WRITE"),
    (0x2000, "__GFP_NOWARN"),
    (0x4000, "__GFP_RETRY_MAYFAIL"),
    (0x8000, "__GFP_NOFAIL"),
    (0x10000, "__GFP_NORETRY"),
    (0x20000, "__GFP_MEMALLOC"),
    (0x40000, "__GFP_COMP"),
    (0x80000, "__GFP_NOMEMALLOC"),
    (0x100000, "__GFP_HARDWALL"),
    (0x200000, "__GFP_THISNODE"),
    (0x400000, "__GFP_ACCOUNT"),
)
"""``include/linux/gfp_types.h`` of Linux 6.1, which numbered them so from 5.0 on."""
_GFP_RELEASES = (5, 0), (6, 9)
"""The first of them, and the first whose debug information has the numbers itself."""
_GFP_SINCE_ENUM = [(bit, name) for bit, name in _GFP if name != "__GFP_ATOMIC"]
"""Those that are left since Linux 6.9."""
_GFP_SETS = (
    (0x400DC0, "GFP_KERNEL_ACCOUNT|__GFP_ZERO"),
    (0x400CC0, "GFP_KERNEL_ACCOUNT"),
    (0x1100CCA, "GFP_HIGHUSER_MOVABLE"),
    (0xDC0, "GFP_KERNEL|__GFP_ZERO"),
    (0xCC0, "GFP_KERNEL"),
    (0xC40, "GFP_NOFS"),
    (0xC00, "GFP_NOIO"),
    (0xA20, "GFP_ATOMIC"),
    (0x800, "GFP_NOWAIT"),
)
_OPEN = (
    (0o40, "__FMODE_EXEC"),
    (0o100, "O_CREAT"),
    (0o200, "O_EXCL"),
    (0o400, "O_NOCTTY"),
    (0o1000, "O_TRUNC"),
    (0o2000, "O_APPEND"),
    (0o4000, "O_NONBLOCK"),
    (0o10000, "O_DSYNC"),
    (0o20000, "FASYNC"),
    (0o40000, "O_DIRECT"),
    (0o100000, "O_LARGEFILE"),
    (0o200000, "O_DIRECTORY"),
    (0o400000, "O_NOFOLLOW"),
    (0o1000000, "O_NOATIME"),
    (0o2000000, "O_CLOEXEC"),
    (0o4000000, "__O_SYNC"),
    (0o10000000, "O_PATH"),
)
"""``include/uapi/asm-generic/fcntl.h``, and one of ``include/linux/fs.h``."""
_OPEN_ON_ARM = {
    "O_DIRECTORY": 0o40000,
    "O_NOFOLLOW": 0o100000,
    "O_DIRECT": 0o200000,
    "O_LARGEFILE": 0o400000,
}
_OPEN_ELSEWHERE: Mapping[Architecture, Mapping[str, int]] = {
    Architecture.AARCH64: _OPEN_ON_ARM,
    Architecture.ARM: _OPEN_ON_ARM,
    Architecture.PPC64: {
        "O_DIRECTORY": 0o40000,
        "O_NOFOLLOW": 0o100000,
        "O_LARGEFILE": 0o200000,
        "O_DIRECT": 0o400000,
    },
    Architecture.X86_64: {},
    Architecture.I386: {},
    Architecture.S390X: {},
    Architecture.RISCV64: {},
}
"""What differs, ``arch/*/include/uapi/asm/fcntl.h``; of other architectures nothing is named."""
_ACCESS = ("O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE")
_TASK = (
    (0x1, "TASK_INTERRUPTIBLE"),
    (0x2, "TASK_UNINTERRUPTIBLE"),
    (0x4, "__TASK_STOPPED"),
    (0x8, "__TASK_TRACED"),
    (0x10, "EXIT_DEAD"),
    (0x20, "EXIT_ZOMBIE"),
    (0x40, "TASK_PARKED"),
    (0x80, "TASK_DEAD"),
    (0x100, "TASK_WAKEKILL"),
    (0x200, "TASK_WAKING"),
    (0x400, "TASK_NOLOAD"),
    (0x800, "TASK_NEW"),
    (0x1000, "TASK_RTLOCK_WAIT"),
    (0x2000, "TASK_FREEZABLE"),
)
"""``include/linux/sched.h``, Linux 4.14 and later."""
_PF = (
    (0x2, "PF_IDLE"),
    (0x4, "PF_EXITING"),
    (0x10, "PF_IO_WORKER"),
    (0x20, "PF_WQ_WORKER"),
    (0x40, "PF_FORKNOEXEC"),
    (0x100, "PF_SUPERPRIV"),
    (0x400, "PF_SIGNALED"),
    (0x800, "PF_MEMALLOC"),
    (0x8000, "PF_NOFREEZE"),
    (0x20000, "PF_KSWAPD"),
    (0x200000, "PF_KTHREAD"),
    (0x400000, "PF_RANDOMIZE"),
    (0x4000000, "PF_NO_SETAFFINITY"),
    (0x8000000, "PF_MCE_EARLY"),
)
_TCP = (
    "",
    "TCP_ESTABLISHED",
    "TCP_SYN_SENT",
    "TCP_SYN_RECV",
    "TCP_FIN_WAIT1",
    "TCP_FIN_WAIT2",
    "TCP_TIME_WAIT",
    "TCP_CLOSE",
    "TCP_CLOSE_WAIT",
    "TCP_LAST_ACK",
    "TCP_LISTEN",
    "TCP_CLOSING",
    "TCP_NEW_SYN_RECV",
)
"""``include/net/tcp_states.h``; sockets of other protocols take some of them over."""
_FAMILIES: Mapping[int, str] = {
    0: "AF_UNSPEC",
    1: "AF_UNIX",
    2: "AF_INET",
    10: "AF_INET6",
    16: "AF_NETLINK",
    17: "AF_PACKET",
    40: "AF_VSOCK",
}

Bits = Sequence[tuple[int, str]]
_BITS: Mapping[tuple[str, str], Bits] = {
    ("task_struct", "__state"): _TASK,
    ("task_struct", "state"): _TASK,
    ("task_struct", "exit_state"): _TASK,
    ("task_struct", "flags"): _PF,
}
_OPENED = frozenset({("file", "f_flags"), ("open_how", "flags"), ("open_flags", "open_flag")})
"""Members that are the flags of `open`."""
_AT_FDCWD = -100
"""``include/uapi/linux/fcntl.h``"""
_NOT_CACHED = frozenset({("inode", "i_acl"), ("inode", "i_default_acl")})
_LISTS: Mapping[tuple[str, str], Sequence[str]] = {("sock_common", "skc_state"): _TCP}


def flag_names(value: int, bits: Bits) -> str:
    """The flags of a number, joined as C has them; what is unknown is a number among them."""
    names = [name for bit, name in bits if value & bit]
    rest = value & ~sum(bit for bit, _ in bits)
    return "|".join([*names, *([f"{rest:#x}"] if rest else [])])


@lru_cache(4)
def gfp_bits(prog: Program) -> Bits:
    """The flags of allocations of this kernel; none where its numbers are not known."""
    try:  # an enum of their bits, since Linux 6.9
        return [(1 << prog.constant(f"_{name}_BIT").value_(), name) for _, name in _GFP_SINCE_ENUM]
    except LookupError:
        pass
    try:
        found = re.match(r"(\d+)\.(\d+)", prog["UTS_RELEASE"].string_().decode("ascii", "replace"))
    except (LookupError, FaultError):
        return ()
    first, last = _GFP_RELEASES
    return _GFP if found and first <= (int(found[1]), int(found[2])) < last else ()


@lru_cache(4)
def open_bits(arch: Architecture | None) -> Bits:
    """The flags with which files are opened; none where the numbers of its kernel are not known."""
    other = _OPEN_ELSEWHERE.get(arch) if arch else None
    return () if other is None else [(other.get(name, bit), name) for bit, name in _OPEN]


def gfp_names(value: int, bits: Bits) -> str | None:
    """Flags of an allocation, by their sets where one fits; ``None``: they are not known."""
    if not bits:
        return None
    for known, name in _GFP_SETS if bits is _GFP else ():
        if value & known == known:
            rest = value & ~known
            return f"{name}|{flag_names(rest, bits)}" if rest else name
    return flag_names(value, bits)


def open_names(value: int, prog: Program) -> str:
    """How a file was opened."""
    bits = open_bits(prog.platform.arch if prog.platform else None)
    access, rest = _ACCESS[value & 3], value & ~3
    return f"{access}|{flag_names(rest, bits)}" if rest else access


def error_name(value: int) -> str | None:
    """``-ENOMEM`` for a number that may be an error, else ``None``."""
    name = _KERNEL_ERRORS.get(-value)
    return f"-{name}" if name and -MAX_ERRNO <= value < 0 else None


def named_number(value: int, kind: str, structure: str, member: str, prog: Program) -> str | None:
    """What a number means, by its type or the member that it is.

    :param kind: the type's own name, such as ``gfp_t``
    :param structure: tag of the structure that has the member; empty of a variable
    """
    if kind == "gfp_t" or member in ("gfp", "gfp_mask", "gfp_flags"):
        return gfp_names(value, gfp_bits(prog)) if value else None
    if (structure, member) in _OPENED:
        return open_names(value, prog)
    if kind == "umode_t":
        return f"{value:#o}" if value else None
    if member == "dfd" and value == _AT_FDCWD:
        return "AT_FDCWD"
    if kind == "sa_family_t" or member == "skc_family":
        return _FAMILIES.get(value)
    if bits := _BITS.get((structure, member)):
        return flag_names(value, bits) or ("TASK_RUNNING" if "state" in member else None)
    names = _LISTS.get((structure, member), ())
    return names[value] if 0 < value < len(names) else None


def named_pointer(address: int, structure: str, member: str) -> str | None:
    """What a pointer means that is neither an address nor an error."""
    # ACL_NOT_CACHED, include/linux/fs.h
    is_uncached = (structure, member) in _NOT_CACHED and address == (1 << 64) - 1
    return "ACL_NOT_CACHED" if is_uncached else None


def poison_name(value: int) -> str | None:
    """What the kernel writes where nothing is."""
    found = POISONS.get(value) or _SHORT_POISONS.get(value)
    return f"poison {found}" if found else None


class Symbols:
    """Addresses of code and data as symbol and offset.

    drgn takes most of a millisecond for each; what was found serves for the whole symbol.
    """

    def __init__(self, target: Target) -> None:
        """Nothing is looked up yet."""
        self._prog: Program = target.prog
        regions = [(low, high) for low, high in target.main.address_ranges or ()]
        for kmod in target.kmods:
            regions += [(start, start + size) for start, size in kmod.regions if size]
        self._regions = sorted(regions)
        self._starts = [low for low, _ in self._regions]
        self._found: list[tuple[int, int, str]] = []
        self._none: set[int] = set()

    def is_code_or_data(self, address: int) -> bool:
        """Whether an address is in the kernel's image or in that of one of its modules."""
        at = bisect_right(self._starts, address) - 1
        return at >= 0 and address < self._regions[at][1]

    def find(self, address: int) -> tuple[str, int, int] | None:
        """Name, offset and size of the symbol at an address."""
        at = bisect_right(self._found, (address, 1 << 64, "")) - 1
        if at >= 0:
            start, size, name = self._found[at]
            if start <= address < start + max(size, 1):
                return name, address - start, size
        if address in self._none or not self.is_code_or_data(address):
            return None
        try:
            symbol = self._prog.symbol(address)
        except (LookupError, FaultError):
            self._none.add(address)
            return None
        insort(self._found, (symbol.address, symbol.size, symbol.name))
        return symbol.name, address - symbol.address, symbol.size

    def name(self, address: int) -> str | None:
        """``symbol+0xoffset``, or ``symbol`` at its beginning."""
        found = self.find(address)
        if found is None:
            return None
        name, offset, _ = found
        return f"{name}+{offset:#x}" if offset else name


def plain_type(kind: Type) -> Type:
    """A type without its typedefs."""
    while kind.kind == TypeKind.TYPEDEF:
        kind = kind.type
    return kind


def null_area(prog: Program) -> int:
    """How many of the lowest addresses mean no memory of the kernel."""
    return NOT_THE_KERNELS.get(prog.platform.arch, 1 << 16) if prog.platform else 1 << 16

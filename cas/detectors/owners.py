"""Who has a lock, as the lock itself says it, and what to call the lock."""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from drgn import Object, Type, TypeKind, sizeof

from cas.detectors.case import Broken, Case, KernelTask, word_mask

OWNER_FLAGS = 7
"""Low bits of an owner's pointer: MUTEX_FLAGS in kernel/locking/mutex.h, RWSEM_OWNER_FLAGS_MASK in
kernel/locking/rwsem.c."""
PICKUP = 4
"""MUTEX_FLAG_PICKUP: the lock was handed to a task that has not taken it yet, since Linux 4.11
(e274795ea7b7)."""
READER_OWNED = 1
"""RWSEM_READER_OWNED: the owner is the last that took it for reading, even if it has let go."""
READER_SHIFT = 8
"""Above it the count is that of readers."""
WRITER_LOCKED = 1
"""RWSEM_WRITER_LOCKED in the count, since Linux 5.3 (64489e78004c)."""
RT_FLAGS = 1
"""RT_MUTEX_HAS_WAITERS."""
CALLERS = 4
"""Frames above the lock's own in which a variable is looked for that holds the lock."""
MAX_DEPTH = 5
"""How deep members in members are looked for."""


class Owner(NamedTuple):
    """Who has a lock."""

    seen: KernelTask | None = None
    """The task that has it for sure."""
    note: str = ""
    """What is known in place of one."""
    last: KernelTask | None = None
    """The task that took it last for reading; it may have let go."""
    left: int | None = None
    """How often it could still be taken, of a lock that keeps no owner; ``None``: unknown."""


NOBODY = Owner()


def owner_of(case: Case, kind: str, address: int) -> Owner:
    """Who has a lock."""
    try:
        if kind == "mutex":
            return _mutex_owner(case, Object(case.prog, "struct mutex", address=address))
        if kind == "rwsem":
            return _rwsem_owner(case, Object(case.prog, "struct rw_semaphore", address=address))
        if kind == "rt_mutex":
            lock = Object(case.prog, case.first_type(RT_TYPES), address=address)
            return _owner_at(case, lock.owner.value_() & ~RT_FLAGS)
        if kind in OWNERLESS:
            return _state_of_ownerless(case, kind, address)
    except Broken:
        return Owner(note="its owner cannot be read" if kind not in OWNERLESS else "")
    return NOBODY


RT_TYPES = ("struct rt_mutex_base", "struct rt_mutex")
"""What holds the owner: a part of ``struct rt_mutex`` since Linux 5.15 (830e6acc8a1c)."""
OWNERLESS = frozenset({"completion", "semaphore"})
"""Kinds of locks of which the kernel does not note who is to let go."""


def _state_of_ownerless(case: Case, kind: str, address: int) -> Owner:
    """What such a lock says of itself."""
    if kind == "completion":
        done = int(Object(case.prog, "struct completion", address=address).done.value_())
        return Owner(note=f"it is {'not ' if not done else ''}completed (done {done})", left=done)
    count = int(Object(case.prog, "struct semaphore", address=address).count.value_())
    return Owner(
        note=f"its count is {count}, and the kernel keeps no owner of a semaphore", left=count
    )


def _owner_at(case: Case, address: int) -> Owner:
    if not address:
        return Owner(note="nobody has it now")
    seen = case.task_at(address)
    return Owner(seen) if seen else Owner(note=f"owner unknown ({address:#x} is no task)")


def _mutex_owner(case: Case, mutex: Object) -> Owner:
    owner = mutex.owner
    if owner.type_.kind == TypeKind.POINTER:  # before Linux 4.10 (3ca0ff571b09)
        return _owner_at(case, owner.value_())
    value = owner.counter.value_() & word_mask(case.prog)
    told = _owner_at(case, value & ~OWNER_FLAGS)
    if told.seen and value & PICKUP:
        return Owner(note=f"it was just handed to {told.seen.name}")
    return told


def _rwsem_owner(case: Case, rwsem: Object) -> Owner:
    owner, mask = rwsem.owner, word_mask(case.prog)
    if owner.type_.kind == TypeKind.POINTER:
        value, count = owner.value_(), None
    else:  # since Linux 5.3 (94a9717b3c40)
        value, count = owner.counter.value_() & mask, rwsem.count.counter.value_() & mask >> 1
    told = _owner_at(case, value & ~OWNER_FLAGS)
    if value & READER_OWNED:
        note = "readers have it"
        if count is not None:
            readers = count >> READER_SHIFT
            note = f"{readers:,} reader{' has' if readers == 1 else 's have'} it"
        if told.seen:
            note += f", and {told.seen.name} took it last"
        return Owner(note=note, last=told.seen)
    if count is not None and not count & WRITER_LOCKED:
        return Owner(note="no writer has it now")
    return told


def lock_name(case: Case, kind: str, address: int, task: Object) -> tuple[str, str]:
    """What to call a lock, and what that rests on."""
    symbol = case.symbol(address)
    if symbol is not None:
        name = symbol.partition(" ")[0].removesuffix("+0x0")
        # `cas_request.done` for `cas_request+0x8`, where the variable's type is known
        variable, _, offset = name.partition("+")
        with suppress(*Broken, TypeError):
            type_ = case.prog[variable].type_.unaliased()
            is_lock = type_.kind != TypeKind.STRUCT or type_.tag in LOCK_TAGS
            member = member_at(type_, int(offset or "0", 16)) if offset or not is_lock else None
            name = f"{variable}.{member}" if member else name
        return name, f"{symbol} ({address:#x})"
    place = containing(case, address, task)
    where = f"{kind} at {address:#x}"
    return (f"{where}, {place}" if place else where), f"{kind} {address:#x}"


LOCK_TAGS = (
    *("mutex", "rw_semaphore", "semaphore", "completion", "rt_mutex", "wait_queue_head"),
    *("spinlock", "raw_spinlock", "percpu_rw_semaphore", "ww_mutex", "rt_mutex_base"),
)
"""Structures that are a lock and nothing else."""


def containing(case: Case, address: int, task: Object) -> str | None:
    """The structure's member that an address is, by a variable of the task's functions.

    Only what the debug information says stands there, or holds a pointer to it, counts.
    """
    for frame in case.stack(task)[: CALLERS * 3]:
        try:
            names = frame.locals()
        except Broken:
            continue
        for name in names:
            try:
                value = frame[name]
                if value.absent_:
                    continue
                target, base = value.type_.unaliased(), value.address_
                if target.kind == TypeKind.POINTER:
                    target, base = target.type.unaliased(), value.value_()
                if target.kind != TypeKind.STRUCT or target.tag in LOCK_TAGS or base is None:
                    continue
                if not base <= address < base + sizeof(target):
                    continue
                member = member_at(target, address - base)
                if member is not None:
                    return f"{member} of {case.text(target.type_name())} at {base:#x}"
            except (*Broken, TypeError):
                continue
    return None


def member_at(kind: Type, offset: int) -> str | None:
    """The member of a structure that begins at an offset in bytes, ``i_rwsem``, ``a.b``."""
    path: list[str] = []
    if kind.kind not in (TypeKind.STRUCT, TypeKind.UNION):
        return None
    for _ in range(MAX_DEPTH):
        inside = [
            member
            for member in kind.members or ()
            if member.bit_offset // 8 <= offset and member.bit_field_size is None
        ]
        if not inside:
            return None
        member = max(inside, key=lambda each: each.bit_offset)
        offset -= member.bit_offset // 8
        if member.name:
            path.append(member.name)
        kind = member.type.unaliased()
        if kind.kind not in (TypeKind.STRUCT, TypeKind.UNION):
            return ".".join(path) if path and offset == 0 else None
        if offset == 0 and path:
            return ".".join(path)
    return None

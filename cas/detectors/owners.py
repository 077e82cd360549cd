"""Who has a lock, as the lock itself says it, and what to call the lock."""

from __future__ import annotations

from drgn import Object, Type, TypeKind, sizeof

from cas.detectors.case import Broken, Case, Seen, word_mask

OWNER_FLAGS = 7
"""Low bits of an owner's pointer: MUTEX_FLAGS in kernel/locking/mutex.h, RWSEM_OWNER_FLAGS_MASK in
kernel/locking/rwsem.c."""
PICKUP = 4
"""MUTEX_FLAG_PICKUP: the lock was handed to a task that has not taken it yet."""
READER_OWNED = 1
"""RWSEM_READER_OWNED: the owner is the last that took it for reading, even if it has let go."""
WRITER_LOCKED = 1
"""RWSEM_WRITER_LOCKED in the count, since Linux 5.3 (64489e78004c)."""
RT_FLAGS = 1
"""RT_MUTEX_HAS_WAITERS."""
CALLERS = 4
"""Frames above the lock's own in which a variable is looked for that holds the lock."""
MAX_DEPTH = 5
"""Of members in members."""


def owner_of(case: Case, kind: str, address: int) -> tuple[Seen | None, str, bool]:
    """Who has a lock, what is to be said of that, and whether it is sure."""
    try:
        if kind == "mutex":
            return _mutex_owner(case, Object(case.prog, "struct mutex", address=address))
        if kind == "rwsem":
            return _rwsem_owner(case, Object(case.prog, "struct rw_semaphore", address=address))
        if kind == "rt_mutex":
            lock = Object(case.prog, case.first_type(RT_TYPES), address=address)
            return _told(case, lock.owner.value_() & ~RT_FLAGS)
    except Broken:
        return None, "its owner cannot be read", False
    return None, NO_OWNER.get(kind, ""), False


RT_TYPES = ("struct rt_mutex_base", "struct rt_mutex")
NO_OWNER = {
    "semaphore": "the kernel keeps no owner of a semaphore",
    "completion": "nobody has completed it",
}


def _told(case: Case, address: int) -> tuple[Seen | None, str, bool]:
    if not address:
        return None, "nobody has it now", False
    seen = case.task_at(address)
    if seen is None:
        return None, f"owner unknown ({address:#x} is no task)", False
    return seen, "", True


def _mutex_owner(case: Case, mutex: Object) -> tuple[Seen | None, str, bool]:
    owner = mutex.owner
    if owner.type_.kind == TypeKind.POINTER:  # before Linux 4.10 (3ca0ff571b09)
        return _told(case, owner.value_())
    value = owner.counter.value_() & word_mask(case.prog)
    seen, note, is_firm = _told(case, value & ~OWNER_FLAGS)
    if seen and value & PICKUP:
        return seen, "it was just handed over", False
    return seen, note, is_firm


def _rwsem_owner(case: Case, rwsem: Object) -> tuple[Seen | None, str, bool]:
    owner = rwsem.owner
    if owner.type_.kind == TypeKind.POINTER:
        value, is_new = owner.value_(), False
    else:  # since Linux 5.3 (94a9717b3c40)
        value, is_new = owner.counter.value_() & word_mask(case.prog), True
    seen, note, is_firm = _told(case, value & ~OWNER_FLAGS)
    if value & READER_OWNED:
        if seen is None:
            return None, "readers have it; the kernel keeps no list of them", False
        return seen, "as reader: the last that took it, others may have it too", False
    if is_new and not rwsem.count.counter.value_() & WRITER_LOCKED:
        return seen, "no writer has it now", False
    return seen, note, is_firm


def named(case: Case, kind: str, address: int, task: Object) -> tuple[str, str]:
    """What to call a lock, and what that rests on."""
    symbol = case.symbol(address)
    if symbol is not None:
        name = symbol.partition(" ")[0].removesuffix("+0x0")
        return _with_member(case, name), f"{symbol} ({address:#x})"
    place = containing(case, address, task)
    where = f"{kind} at {address:#x}"
    return (f"{where}, {place}" if place else where), f"{kind} {address:#x}"


def _with_member(case: Case, name: str) -> str:
    """``cas_request.done`` for ``cas_request+0x8``, where the variable's type is known."""
    variable, _, offset = name.partition("+")
    try:
        type_ = case.prog[variable].type_.unaliased()
        if not offset and (type_.kind != TypeKind.STRUCT or type_.tag in LOCK_TAGS):
            return name
        member = member_at(type_, int(offset or "0", 16))
    except (*Broken, TypeError):
        return name
    return f"{variable}.{member}" if member else name


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

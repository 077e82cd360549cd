"""Which member of a structure lies at an offset, by the debug information."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from drgn import Type, TypeKind, TypeMember, sizeof

DEPTH = 16
"""Structures inside one another."""
_COMPOUND = (TypeKind.STRUCT, TypeKind.UNION, TypeKind.CLASS)


class Member(NamedTuple):
    """A member, or one of its members."""

    path: str
    """``list.next``, ``slots[3]``; empty: the object itself."""
    type: Any


def structure_of(kind: Type) -> str | None:
    """The structure that a pointer points to, e.g. ``struct cas_account``."""
    kind = _without_typedefs(kind)
    if kind.kind != TypeKind.POINTER:
        return None
    aim = _without_typedefs(kind.type)
    if aim.kind not in _COMPOUND or aim.tag is None or not aim.is_complete():
        return None
    return f"{aim.kind.name.lower()} {aim.tag}"


def named(kind: Type) -> str:
    """A type's name, without ``const`` and ``volatile``."""
    return re.sub(r"\b(?:const|volatile) ", "", str(kind.type_name()))


def member_at(pointer: Type, offset: int, size: int, *, is_object: bool = False) -> Member | None:
    """The member of what a pointer points to at an offset; ``None``: there is none.

    :param offset: bytes
    :param size: bytes that are accessed there, to choose in a union; 0: not known
    :param is_object: the type is that of the object itself
    """
    kind = _without_typedefs(pointer)
    if not is_object:
        if structure_of(pointer) is None:
            return None
        kind = _without_typedefs(kind.type)
    path, member = "", kind
    for _ in range(DEPTH):
        step = _into(kind, offset, size)
        if step is None:
            return None
        name, member, offset = step
        path = f"{path}{name}" if name.startswith("[") or not path or not name else f"{path}.{name}"
        kind = _without_typedefs(member)
        if kind.kind not in (*_COMPOUND, TypeKind.ARRAY):
            return Member(path, member)
    return None


def _into(kind: Type, offset: int, size: int) -> tuple[str, Type, int] | None:
    """One step down: the member's name, its type, and the offset in it; a scalar is itself."""
    if kind.kind in _COMPOUND:
        found = _member_holding(kind, offset, size)
        return (found.name or "", found.type, offset - found.offset) if found else None
    if kind.kind != TypeKind.ARRAY:
        return "", kind, offset
    step = sizeof(kind.type)
    return (f"[{offset // step}]", kind.type, offset % step) if step > 0 else None


def _member_holding(kind: Type, offset: int, size: int) -> TypeMember | None:
    if kind.members is None:
        return None
    # of bit fields, which have no offset in bytes, one access reads several
    whole = [member for member in kind.members if member.bit_field_size is None]
    fitting = [member for member in whole if _reaches(member, offset)]
    if kind.kind == TypeKind.UNION and size:
        exact = [
            one
            for one in fitting
            if _size_of_member(one) == size and _without_typedefs(one.type).kind not in _COMPOUND
        ]
        fitting = exact or fitting
    return fitting[0] if fitting else None


def _reaches(member: TypeMember, offset: int) -> bool:
    size = _size_of_member(member)
    if size is None:  # a flexible array, which is the last
        return bool(offset >= member.offset)
    return bool(member.offset <= offset < member.offset + size)


def _size_of_member(member: TypeMember) -> int | None:
    kind = _without_typedefs(member.type)
    if kind.kind == TypeKind.ARRAY and (kind.length is None or kind.length == 0):
        return None
    try:
        return int(sizeof(kind))
    except TypeError:
        return 0


def _without_typedefs(kind: Type) -> Type:
    while kind.kind == TypeKind.TYPEDEF:
        kind = kind.type
    return kind

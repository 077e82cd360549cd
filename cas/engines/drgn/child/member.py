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


def name_of_type(kind: Type) -> str:
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
        name, member = "", kind
        if kind.kind in _COMPOUND:
            found = _member_holding(kind, offset, size)
            if found is None:
                return None
            name, member, offset = found.name or "", found.type, offset - found.offset
        elif kind.kind == TypeKind.ARRAY:
            step = sizeof(kind.type)
            if step <= 0:
                return None
            name, member, offset = f"[{offset // step}]", kind.type, offset % step
        path = f"{path}{name}" if name.startswith("[") or not path or not name else f"{path}.{name}"
        kind = _without_typedefs(member)
        if kind.kind not in (*_COMPOUND, TypeKind.ARRAY):
            return Member(path, member)
    return None


def _member_holding(kind: Type, offset: int, size: int) -> TypeMember | None:
    if kind.members is None:
        return None
    # of bit fields, which have no offset in bytes, one access reads several
    fitting = []
    for member in kind.members:
        if member.bit_field_size is None and member.offset <= offset:
            length = _size_of_member(member)
            if length is None or offset < member.offset + length:  # None: a flexible array
                fitting.append(member)
    if kind.kind == TypeKind.UNION and size:
        exact = [
            one
            for one in fitting
            if _size_of_member(one) == size and _without_typedefs(one.type).kind not in _COMPOUND
        ]
        fitting = exact or fitting
    return fitting[0] if fitting else None


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

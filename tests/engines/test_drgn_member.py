"""Which member lies at an offset, in structures of our own."""

from __future__ import annotations

import pytest
from drgn import Architecture, Object, Platform, Program, Qualifiers, Type, TypeMember

from cas.engines.drgn.child.member import member_at, name_of_type, structure_of


def account() -> Type:
    """A pointer to a structure that has what structures have, by a name of its own."""
    prog = Program(Platform(Architecture.X86_64))
    number, wide = prog.int_type("int", 4, True), prog.int_type("long", 8, True)
    pointer = prog.pointer_type(prog.void_type())
    halves = prog.struct_type(None, 8, [TypeMember(number, "low"), TypeMember(number, "high", 32)])
    links = [TypeMember(pointer, "next"), TypeMember(pointer, "prev", 64)]
    list_head = prog.typedef_type("list_t", prog.struct_type("list_head", 16, links))
    amount = prog.union_type(None, 8, [TypeMember(halves, None), TypeMember(wide, "whole")])
    kind = prog.struct_type(
        "account",
        64,
        [
            TypeMember(number, "id"),
            TypeMember(Object(prog, number, bit_field_size=1), "is_open", 4 * 8),
            TypeMember(Object(prog, number, bit_field_size=2), "state", 4 * 8 + 1),
            TypeMember(amount, None, 8 * 8),
            TypeMember(list_head, "list", 16 * 8),
            TypeMember(prog.array_type(pointer, 4), "slots", 32 * 8),
            TypeMember(prog.array_type(number), "log", 64 * 8),
        ],
    )
    return prog.typedef_type("account_t", prog.pointer_type(kind))


@pytest.mark.parametrize(
    ("offset", "size", "path"),
    [
        (0, 4, "id"),
        (4, 1, None),  # of several bits none is meant more than the others
        (6, 2, None),  # between members
        (8, 8, "whole"),
        (8, 0, "low"),
        (12, 4, "high"),
        (16, 8, "list.next"),
        (24, 8, "list.prev"),
        (32, 8, "slots[0]"),
        (48, 8, "slots[2]"),
        (72, 4, "log[2]"),
        (-8, 8, None),
    ],
)
def test_a_member_is_found_by_its_offset(offset: int, size: int, path: str | None) -> None:
    found = member_at(account(), offset, size)
    assert (found.path if found else None) == path


def test_behind_the_last_member_there_is_none() -> None:
    links = account().type.type.member("list").type
    assert member_at(links, 8, 8, is_object=True) is not None
    assert member_at(links, 16, 8, is_object=True) is None


def test_a_pointer_says_which_structure_it_points_to() -> None:
    kind = account()
    assert structure_of(kind) == "struct account"
    assert structure_of(kind.type.type.members[0].type) is None


def test_how_a_type_may_be_used_is_no_part_of_its_name() -> None:
    prog = Program(Platform(Architecture.X86_64))
    kind = prog.struct_type("account", 8, (), qualifiers=Qualifiers.CONST | Qualifiers.VOLATILE)
    assert name_of_type(prog.pointer_type(kind)) == "struct account *"

"""Flags by the names that they have in this kernel, or as numbers where that is not known."""

from __future__ import annotations

import pytest
from drgn import Architecture, Platform, Program

from cas.engines.drgn.child.glide.names import (
    gfp_bits,
    gfp_names,
    named_number,
    named_pointer,
    open_bits,
    open_names,
)


@pytest.mark.parametrize(
    ("arch", "names"),
    [
        (Architecture.X86_64, "O_RDONLY|O_LARGEFILE"),
        (Architecture.AARCH64, "O_RDONLY|O_NOFOLLOW"),
        (Architecture.PPC64, "O_RDONLY|O_NOFOLLOW"),
        (Architecture.S390X, "O_RDONLY|O_LARGEFILE"),
    ],
)
def test_a_file_was_opened_with_what_its_architecture_calls_so(
    arch: Architecture, names: str
) -> None:
    assert open_names(0o100000, Program(Platform(arch))) == names


def test_flags_whose_numbers_are_not_known_stay_numbers() -> None:
    assert open_bits(None) == ()
    assert open_names(0o100001, Program()) == "O_WRONLY|0x8000"
    assert gfp_names(0xCC0, gfp_bits(Program())) is None


@pytest.mark.parametrize(
    ("value", "kind", "structure", "member", "said"),
    [
        (0x8000, "__u64", "open_how", "flags", "O_RDONLY|O_LARGEFILE"),
        (0x8001, "int", "open_flags", "open_flag", "O_WRONLY|O_LARGEFILE"),
        (0x8000, "__u64", "clone_args", "flags", None),
        (-100, "int", "", "dfd", "AT_FDCWD"),
        (3, "int", "", "dfd", None),
        (0o100200, "umode_t", "inode", "i_mode", "0o100200"),
        (0, "umode_t", "inode", "i_mode", None),
    ],
)
def test_a_number_is_named_by_where_it_stands(
    value: int, kind: str, structure: str, member: str, said: str | None
) -> None:
    prog = Program(Platform(Architecture.X86_64))
    assert named_number(value, kind, structure, member, prog) == said


def test_acls_that_nobody_has_read_yet_are_no_error() -> None:
    assert named_pointer((1 << 64) - 1, "inode", "i_acl") == "ACL_NOT_CACHED"
    assert named_pointer((1 << 64) - 1, "inode", "i_op") is None
    assert named_pointer(0, "inode", "i_acl") is None

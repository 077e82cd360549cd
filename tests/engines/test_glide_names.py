"""Flags by the names that they have in this kernel, or as numbers where that is not known."""

from __future__ import annotations

import pytest
from drgn import Architecture, Platform, Program

from cas.engines.drgn.child.glide.names import gfp_bits, gfp_names, open_bits, open_names


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

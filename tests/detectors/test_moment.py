"""The kernel's own clocks, wherever a kernel has them."""

from __future__ import annotations

import struct

from drgn import (
    Architecture,
    Object,
    Platform,
    PlatformFlags,
    Program,
    TypeEnumerator,
    TypeMember,
)

from cas.detectors import moment

ADDRESS = 0x1000
BASE_NS = 123_000_000_000


def _program(name: str, count: int) -> Program:
    """A program whose only variable is the clocks: one of them, or an array with others behind."""
    prog = Program(
        Platform(Architecture.X86_64, PlatformFlags.IS_64_BIT | PlatformFlags.IS_LITTLE_ENDIAN)
    )
    number = prog.int_type("u64", 8, False)
    reading = prog.struct_type("tk_read_base", 8, (TypeMember(number, "base"),))
    keeper = prog.struct_type("timekeeper", 8, (TypeMember(reading, "tkr_mono"),))
    data = prog.struct_type("tk_data", 8, (TypeMember(keeper, "timekeeper"),))
    ids = prog.enum_type(
        "timekeeper_ids",
        prog.int_type("unsigned int", 4, False),
        (TypeEnumerator("TIMEKEEPER_CORE", 0),),
    )
    variable = data if count == 1 else prog.array_type(data, count)

    def find(_prog: Program, wanted: str, _flags: object, _file: str | None) -> Object | None:
        if wanted == name:
            return Object(prog, variable, address=ADDRESS)
        return Object(prog, ids, 0) if wanted == "TIMEKEEPER_CORE" and count > 1 else None

    prog.register_object_finder("test", find, enable_index=0)
    content = struct.pack(f"<{count}Q", BASE_NS, *range(1, count))
    prog.add_memory_segment(
        ADDRESS,
        len(content),
        lambda _address, size, offset, _physical: content[offset : offset + size],
    )
    return prog


def test_the_clocks_have_a_name_of_their_own_before_linux_6_17() -> None:
    clocks = moment.timekeeper(_program("tk_core", 1))
    assert clocks.tkr_mono.base.value_() == BASE_NS


def test_the_clocks_are_the_first_of_several_since_linux_6_17() -> None:
    clocks = moment.timekeeper(_program("timekeeper_data", 3))
    assert clocks.tkr_mono.base.value_() == BASE_NS

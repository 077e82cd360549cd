"""The records of a deep trace as text."""

from __future__ import annotations

import pytest

from cas.engines.drgn.glide_text import declared, lines_of_record, lines_of_value

FRAME = {
    "kind": "frame",
    "number": 3,
    "function": "tcp_sendmsg",
    "offset": 0x1B,
    "size": 0x40,
    "pc": "0xffffffff81000010",
    "kmod": "tcp_x",
    "file": "net/ipv4/tcp.c",
    "line": 1483,
    "inlined": False,
    "is_exception": False,
    "registers": {},
    "variables": [],
    "notes": [],
}


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        ("int", "n", "int n"),
        ("struct sock *", "sk", "struct sock *sk"),
        ("char [16]", "comm", "char comm[16]"),
        ("char *[2]", "argv", "char *argv[2]"),
        ("void (*)(int)", "func", "void (*func)(int)"),
        ("struct worker *", "[0]", "struct worker * [0]"),
        ("", "gone", "gone"),
    ],
)
def test_a_variable_is_declared_as_in_c(kind: str, name: str, text: str) -> None:
    assert declared(kind, name) == text


def test_members_stand_below_and_those_of_zeros_are_counted() -> None:
    value = {
        "name": "file",
        "type": "struct file *",
        "value": "0xffff888000000000",
        "note": '"/etc/passwd"',
        "members": [{"name": "f_flags", "type": "unsigned int", "value": "2", "note": "O_RDWR"}],
        "zeros": 1,
    }
    assert list(lines_of_value(value, "  ")) == [
        '  struct file *file = 0xffff888000000000  "/etc/passwd" {',
        "      unsigned int f_flags = 2  O_RDWR",
        "      … 1 member of zeros",
        "  }",
    ]


def test_plain_elements_stand_on_a_line() -> None:
    elements = [{"name": f"[{n}]", "type": "int", "value": str(n)} for n in range(2)]
    value = {"name": "n", "type": "int [9]", "value": "", "members": elements, "left_out": 7}
    assert list(lines_of_value(value, "")) == ["int n[9] = {0, 1, … 7 more}"]


def test_elements_of_zeros_are_counted() -> None:
    element = {"name": "[1]", "type": "struct file *", "value": "0x10", "note": '"/dev/null"'}
    value = {
        "name": "fd",
        "type": "struct file *[9]",
        "value": "",
        "members": [element],
        "zeros": 8,
    }
    assert list(lines_of_value(value, ""))[2] == "    … 8 elements of zeros"


def test_what_stands_above_is_named() -> None:
    value = {"name": "sk", "type": "struct sock *", "value": "0x10", "above": "#3.sk"}
    assert list(lines_of_value(value, "")) == ["struct sock *sk = 0x10  = above #3.sk"]


def test_a_frame_has_its_place_and_its_mark() -> None:
    (line,) = lines_of_record(FRAME)
    assert line == "#3  tcp_sendmsg+0x1b/0x40 [tcp_x] (net/ipv4/tcp.c:1483)"
    inlined = {**FRAME, "inlined": True, "offset": None, "is_exception": True}
    assert list(lines_of_record(inlined)) == [
        "    --- exception ---",
        "#3  tcp_sendmsg [tcp_x] (net/ipv4/tcp.c:1483) inlined",
    ]


def test_a_name_out_of_a_dump_makes_no_line_of_its_own() -> None:
    (line,) = lines_of_record({**FRAME, "function": "x\n#4  panic\x1b[2J"})
    assert line.startswith(r"#3  x\n#4  panic\x1b[2J+0x1b")


def test_tasks_with_the_same_stack_are_named_up_to_a_limit() -> None:
    one = {"address": "0x1", "pid": 7, "comm": "sh", "cpu": 0, "state": "S (sleeping)"}
    told = {"kind": "task", **one, "role": "other", "problem": None, "notes": []}
    lines = list(lines_of_record({**told, "alike": [one] * 25}))
    assert lines[1] == "pid 7 (sh), S (sleeping)"
    assert lines[2].strip() == "and with the same stack 25 more tasks:"
    assert lines[3].endswith(" and 5 more")

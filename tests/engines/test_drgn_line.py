"""Which lines for drgn are crash's commands, and which are Python."""

from __future__ import annotations

import pytest

from cas.engines.drgn.child.line import Reader, command_meant, is_command

COMMANDS = frozenset({"*", "bt", "dis", "eval", "exit", "help", "list", "log", "p", "ps"})
COMMANDS |= {"kmem", "rd", "set", "struct", "sym", "task"}


def is_type(name: str) -> bool:
    return name == "task_struct"


@pytest.mark.parametrize(
    "line",
    [
        *("bt", "bt -a", "  bt -a", "log | head", "log > f", "ps -m", "ps == 1", "help", "help bt"),
        *("p jiffies", "p (x)", "p -x jiffies", "eval 1 + 1", "set", "set -p", "set 27", "exit"),
        *("list task_struct.tasks -H x", "rd -a linux_banner", "dis cas_oops+0x18 4", "!ls", "q"),
        *("task_struct", "task_struct.pid ffffffff81a12540", "*task_struct ffffffff81a12540"),
    ],
)
def test_what_python_could_only_fail_at_is_a_command(line: str) -> None:
    assert is_command(line, COMMANDS, (), is_type)


@pytest.mark.parametrize(
    "line",
    [
        *("ps = 5", "p += 1", "log: int = 3", "p, q = 1, 2", "p , x = 1, 2", "task = [", "bt()"),
        *("p.x", "list(x)", "list (x)", "set (x)", "set({1})", "eval('1')", "x = 1", "prog", ""),
        *("for t in x:", "if x: bt", "import struct", "# bt", "*a, b = 1, 2", "nosuch", "print(1)"),
        *("task_struct = 3", "task_struct()"),
    ],
)
def test_what_is_pythons_is_python(line: str) -> None:
    assert not is_command(line, COMMANDS, (), is_type)


def test_a_name_that_the_user_made_is_his_where_it_is_python() -> None:
    assert not is_command("bt", COMMANDS, {"bt"})
    assert not is_command("bt -a", COMMANDS, {"bt", "a"})
    assert is_command("task 27", COMMANDS, {"task"})


def test_a_mistyped_command_is_told_from_faulty_python() -> None:
    meant = {
        "btt": "btt",
        "btt -a | head": "btt",
        "x = [": None,
        "f(": None,
        "if x": None,
        "1/": None,
    }
    assert {text: command_meant(text) for text in meant} == meant


def units(text: str) -> list[tuple[int, str]]:
    reader = Reader(lambda line: is_command(line, COMMANDS, ()))
    read = [unit for line in text.split("\n") for unit in reader.take_line(line)]
    return [(unit.line, unit.text) for unit in (*read, *reader.rest())]


def test_a_block_ends_at_the_first_line_that_is_not_indented() -> None:
    block = "for x in y:\n    print(x)\n\n    bt\nelse:\n    z\n"
    assert units(f"bt\n{block}ps -m") == [(1, "bt"), (2, block), (8, "ps -m")]


def test_brackets_strings_and_decorators_go_on_over_lines() -> None:
    for text in ("x = [\n1,\n]\n", 'x = """\nbt\n"""\n', "@d\ndef f():\n    bt\n"):
        assert units(f"{text}bt") == [(1, text), (text.count("\n") + 1, "bt")]


def test_what_is_over_is_run_before_the_next_line_comes() -> None:
    reader = Reader(lambda line: is_command(line, COMMANDS, ()))
    said = [
        len(list(reader.take_line(line))) for line in ("x = 1", "y = (", "2)", "ps", "if x:", "  y")
    ]
    assert said == [1, 0, 1, 1, 0, 0]


def test_a_line_that_is_nothing_does_not_swallow_the_next() -> None:
    assert units("nosuch x\nbt") == [(1, "nosuch x\n"), (2, "bt")]

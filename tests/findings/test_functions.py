"""What is known of kernel functions, as data."""

from __future__ import annotations

from pathlib import Path

import pytest

from cas.files.shipped import shipped
from cas.findings import BadPatterns, find, functions_with
from cas.findings.functions import FOLDER, What, compiled, parse, shipped_functions
from cas.model.dump import Dump

FILES = sorted(shipped(FOLDER).iterdir())
LOG = """\
[    9.000000] BUG: kernel NULL pointer dereference, address: 0000000000000018
[    9.000001] Oops: 0000 [#1] SMP
[    9.000003] RIP: 0010:vnd_alloc_page+0x13/0x2a [vnd]
[    9.000004] Call Trace:
[    9.000005]  vnd_probe+0x18/0x2c [vnd]
[    9.000011] Kernel panic - not syncing: Fatal exception
"""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_shipped_file_loads_and_names_no_pattern_twice(path: Path) -> None:
    rules = parse(path.read_text("utf-8"), path.name)
    assert rules
    assert len(rules) == len(set(rules))


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("panic", {What.DIE}),
        ("asm_exc_page_fault", {What.ENTRY}),
        ("kfree", {What.MEMORY}),
        ("_raw_spin_lock_irqsave", {What.LOCK}),
        ("mutex_lock", {What.WAIT, What.LOCK}),
        ("queued_spin_lock_slowpath", {What.LOCK}),
        ("native_machine_crash_shutdown", {What.DIE, What.WATCH}),
        ("ext4_read_folio", set()),
    ],
)
def test_a_function_is_what_the_patterns_say(name: str, what: set[What]) -> None:
    assert shipped_functions().what(name) == what


def test_patterns_are_those_of_a_shell() -> None:
    functions = compiled([("a*", What.LOCK), ("*_b", What.LIST), ("c?d", What.MEMORY)])
    told = {name: functions.what(name) for name in ("a", "axx", "xx_b", "cxd", "cd", "b")}
    assert {name for name, what in told.items() if what} == {"a", "axx", "xx_b", "cxd"}


def test_an_administrators_functions_steer_the_culprit_and_not_the_signature(
    tmp_path: Path,
) -> None:
    file = tmp_path / "functions"
    file.write_text("# the vendor's allocator\nvnd_alloc*  memory\n")
    dump = Dump(Path("vmcore"), "ELF", 1, "x86_64", dmesg=LOG)
    ours, his = find(dump, None, None), find(dump, None, None, functions_with(file))
    assert ours.what.endswith(" in vnd_alloc_page [vnd]")
    assert his.what.endswith(" in vnd_probe [vnd]")
    assert his.where == "vnd_alloc_page+0x13 [vnd], called from vnd_probe+0x18 [vnd]"
    assert his.signature == ours.signature


@pytest.mark.parametrize("text", ["vnd_alloc", "vnd_alloc memories", "a b c"])
def test_a_line_that_is_no_pattern_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "functions"
    file.write_text(f"\n{text}\n")
    with pytest.raises(BadPatterns, match=f"line 2: '{text}'"):
        functions_with(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadPatterns, match="cannot be read: No such file"):
        functions_with(tmp_path / "nothing")

"""Values of the deep trace are those that crash prints of the same structures.

``crash_structures.txt.xz`` is what crash 8.0.2 printed of two structures of each type in the
shipped dump, for crash takes a second for each; ``bench/glide.py values`` compares a thousand.
"""

from __future__ import annotations

import lzma
import os
from pathlib import Path

import pytest
from crash_values import Comparison, chosen, compared, printed_by_crash

from cas.engines.drgn.child.target import File, Request, Target
from cas.model.case import Case

RECORDED = Path(__file__).with_name("crash_structures.txt.xz")
EACH = 2
"""Structures of a type."""


@pytest.fixture(scope="module")
def target(opened: Case) -> Target:
    dump, vmlinux = (
        File(str(path), os.open(path, os.O_RDONLY)) for path in (opened.dump.path, opened.vmlinux)
    )
    return Target(Request(dump, vmlinux, "x86_64"))


def require_equal(comparison: Comparison) -> None:
    assert comparison.differences == []
    assert comparison.leaves > 5000


def test_members_have_the_values_that_crash_printed(target: Target) -> None:
    texts = lzma.decompress(RECORDED.read_bytes()).decode("utf-8").split("\f")
    found = list(chosen(target.prog, EACH))
    assert len({each.type_.type_name() for each in found}) > 20
    require_equal(compared(target, found, texts))


@pytest.mark.long
def test_crash_prints_the_same_today(target: Target, opened: Case, tmp_path: Path) -> None:
    found = list(chosen(target.prog, EACH))
    texts = printed_by_crash(found, opened.vmlinux, opened.dump.path, tmp_path)
    require_equal(compared(target, found, texts))


def test_a_value_that_differs_is_noticed(target: Target) -> None:
    texts = lzma.decompress(RECORDED.read_bytes()).decode("utf-8").split("\f")
    (first, *_) = chosen(target.prog, 1)
    wrong = texts[0].replace("cpu = ", "cpu = 7", 1)
    (difference,) = compared(target, [first], [wrong]).differences
    assert ".thread_info.cpu: crash '7" in difference

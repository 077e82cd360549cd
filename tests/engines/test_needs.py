"""What a kernel has, looked up in its vmlinux, and what debuggers say of their kernel log."""

from __future__ import annotations

from pathlib import Path

import pytest

from cas.engines.crash.answer import judge_answer
from cas.engines.drgn.process import Worker
from cas.engines.kernel_log import lacks_log
from cas.model.case import Case
from cas.model.snippet import Need, Snippet

LOG = (
    "[    0.000000] Linux version 6.1.0\n[    9.000000] Oops: 0000\n"
    "[    9.100000] ---[ end trace 0 ]---\n"
)


def test_what_the_kernel_has_not_is_known_by_its_vmlinux(worker: Worker, opened: Case) -> None:
    worker.open(opened)
    met = [
        Need("symbol", ("init_net",)),
        Need("symbol", ("swap_info", "nosuch")),
        Need("type", ("task_struct.se.exec_start",)),
        Need("type", ("atomic_t",)),
        Need("config", ("SMP",)),
        Need("config", ("CONFIG_BLOCK",)),
    ]
    unmet = [
        Need("symbol", ("nosuch", "neither")),
        Need("type", ("task_struct.nosuch",)),
        Need("type", ("nosuch",)),
        Need("config", ("XEN_DOM0",)),
    ]
    assert worker.unmet((*met, *unmet)) == set(unmet)


def test_memory_that_is_not_there_is_told_from_a_null_pointer(
    worker: Worker, opened: Case, tmp_path: Path
) -> None:
    worker.open(opened)
    commands = ("rd ffff888fffff0000", "rd 18", "p nosuch")
    section = worker.run_snippet(Snippet("s", "S", commands), tmp_path / "s")
    assert [outcome.lacks_memory for outcome in section.commands] == [True, False, False]


@pytest.mark.parametrize("command", ["log", "log -T", "dmesg"])
@pytest.mark.parametrize(
    ("said", "has_log"),
    [
        (LOG, True),
        ("[Fri Nov 21 08:41:29 UTC 2025] Oops: 0000\n", True),
        ("WARNING: cannot read prb_desc_ring contents\n", False),
        ("", False),
    ],
)
def test_a_kernel_log_is_known_by_its_end(command: str, said: str, *, has_log: bool) -> None:
    assert (lacks_log(command, said.encode(), LOG) is None) == has_log


def test_other_commands_and_logs_that_we_do_not_know_are_not_judged() -> None:
    assert lacks_log("log -a", b"", LOG) is None
    assert lacks_log("bt", b"", LOG) is None
    assert lacks_log("log", b"", "") is None


@pytest.mark.parametrize(
    ("command", "said", "beside", "status"),
    [
        ("log", "WARNING: cannot read prb_desc_ring contents\n", "", "failed"),
        ("kmem -s", "WARNING: one slab is odd\nCACHE NAME\n", "", "ok"),
        ("foreach UN bt", "", "", "ok"),
        ("!make-graph", "", "Cannot allocate memory\n", "memory"),
        ("bt | awk 1", "MemoryError\n", "", "memory"),
        ("log", "lots\n" * 20 + "Cannot allocate memory\n", "", "ok"),
        ("log", "[ 9.0] vmalloc: Cannot allocate memory\n", "", "ok"),
    ],
)
def test_a_command_is_judged_by_what_it_says(
    command: str, said: str, beside: str, status: str
) -> None:
    assert judge_answer(command, said.encode(), beside)[0] == status

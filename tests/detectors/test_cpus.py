"""What CPUs did, and who may have a spinlock."""

from __future__ import annotations

from typing import NoReturn

import pytest
from drgn import Architecture, FaultError, Program

from cas.detectors import calls, cpus, rcu, runqueues, spinlocks
from cas.detectors.case import Case
from cas.detectors.processors import before_the_stop
from cas.model.code import Frame


def frames(text: str) -> tuple[list[Frame], list[bool]]:
    """Functions, innermost first: ``+`` behind one that is inlined, ``!`` before interrupted."""
    words = text.split()
    made = [Frame(word.strip("!+"), inlined=word.endswith("+")) for word in words]
    return made, [word.startswith("!") for word in words]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("!native_halt+ !stop_this_cpu __sysvec_reboot asm_sysvec_reboot !default_idle", 4),
        ("!cpu_park_loop+ !local_cpu_stop do_handle_IPI el1h_64_irq !f+ !g h", 4),
        ("crash_nmi_callback nmi_handle asm_exc_nmi !queued_spin_lock_slowpath f !idle", 3),
        ("!delay_tsc+ !f g", 0),
        ("handle_irq asm_interrupt !default_idle", 0),
        ("stop_this_cpu f", 0),
        ("delay_tsc panic watchdog_timer_fn asm_sysvec_apic !queued_spin_lock_slowpath f", 4),
        ("delay_tsc panic sysrq_handle_crash write", 0),
        ("", 0),
    ],
)
def test_what_stopped_a_cpu_is_not_what_it_did(text: str, first: int) -> None:
    assert before_the_stop(*frames(text)) == first


def test_the_cpus_of_the_shipped_dump(case: Case) -> None:
    case.begin(10)
    (found,) = cpus.detect(case)
    assert found.sentence.startswith("CPU 1 (kworker/1:1, pid ")
    assert found.sentence.endswith(" panicked in cas_sum_entries [cas_oops]; 1 of 2 CPUs idle")
    assert [line.partition(":")[0] for line in found.details] == ["CPU 1", "CPU 0"]


def test_what_cannot_be_read_of_a_cpu_is_a_remark(
    own_case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(_: Program, cpu: int) -> NoReturn:
        raise FaultError("short read", cpu)

    monkeypatch.setattr("cas.detectors.processors.cpu_curr", lost)
    assert list(cpus.detect(own_case)) == []
    assert any("CPU 0" in remark and "cannot be read" in remark for remark in own_case.remarks)


def test_nothing_is_said_of_a_dump_in_which_nothing_is_stuck(case: Case) -> None:
    for detector in (spinlocks, calls, rcu, runqueues):
        case.begin(10)
        assert list(detector.detect(case)) == []


def test_code_that_names_an_address_is_found(case: Case) -> None:
    assert case.prog.platform and case.prog.platform.arch == Architecture.X86_64
    oops = case.prog.symbol("panic")
    code = (oops.address, oops.size)
    assert spinlocks.uses(case, code, case.prog.symbol("panic_cpu").address)
    assert not spinlocks.uses(case, code, case.prog.symbol("jiffies").address + 2)


@pytest.mark.parametrize(
    ("code", "begin", "address", "holds"),
    [
        ("48c7c7 001017c0", 0xFFFFFFFFC0171000, 0xFFFFFFFFC0171000, True),
        ("488d3d f9 0f0000", 0x1000, 0x2000, True),
        ("488d3d f9 0f0000", 0x1000, 0x2008, False),
        ("", 0, 0, False),
    ],
)
def test_x86_64_code(code: str, begin: int, address: int, holds: bool) -> None:
    assert spinlocks.names_x86_64(bytes.fromhex(code), begin, address) is holds


@pytest.mark.parametrize(
    ("code", "address", "holds"),
    [
        ("000000b0 00401091", 0x402410, False),
        ("000000b0 00401091", 0x401410, True),  # adrp x0, +1 page; add x0, x0, #0x410
        ("000000f0 00401091", 0x403410, True),  # adrp x0, +3 pages
        ("e0fffff0 00401091", 0x3FF410, True),  # adrp x0, -1 page
        ("000000b0 21401091", 0x401410, False),  # add x1, x1
    ],
)
def test_aarch64_code(code: str, address: int, holds: bool) -> None:
    assert spinlocks.names_aarch64(bytes.fromhex(code), 0x400010, address) is holds


def test_a_second_is_so_many_jiffies(case: Case) -> None:
    assert case.hz in (100, 250, 1000)

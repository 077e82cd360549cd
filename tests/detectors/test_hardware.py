"""What hardware reported before the crash."""

from __future__ import annotations

import pytest

from cas.choices import Weight
from cas.detectors import hardware
from cas.detectors.case import Case
from cas.klog.lines import Log
from cas.klog.troubles import Trouble

CHECK = """\
[  9.000000] mce: [Hardware Error]: CPU 3: Machine Check: 0 Bank 5: be00000000800400
[  9.000001] mce: [Hardware Error]: TSC 7802db738 ADDR 3f5c1000
[  9.000002] mce: [Hardware Error]: Machine check: Processor Context Corrupt
"""
PANIC = "[  9.500000] Kernel panic - not syncing: Fatal machine check\n"
OOPS = "[  9.500000] BUG: kernel NULL pointer dereference, address: 0000000000000008\n"


def sentences(log: str, kind: str = "null-dereference") -> list[tuple[str, Weight]]:
    return [(each.sentence, each.weight) for each in hardware.said(Log(log), kind)]


def test_the_shipped_dump_has_nothing_wrong_with_its_hardware(case: Case) -> None:
    case.begin(10)
    assert list(hardware.detect(case)) == []
    assert case.remarks == []


def test_a_machine_check_explains_a_panic_of_one_and_no_other_crash() -> None:
    said = (
        "machine check, 2 lines, the last just before the crash:"
        " mce: [Hardware Error]: CPU 3: Machine Check: 0 Bank 5: be00000000800400"
    )
    assert sentences(CHECK + PANIC, "machine-check") == [(said, Weight.CAUSE)]
    assert sentences(CHECK + OOPS) == [(said, Weight.CONTEXT)]
    (early,) = hardware.said(Log(CHECK + PANIC.replace("9.5", "99.5")), "machine-check")
    assert early.weight is Weight.CONTEXT


def test_an_nmi_that_nobody_knows_explains_the_panic_that_it_led_to() -> None:
    nmi = "[  9.400000] Uhhuh. NMI received for unknown reason 3d on CPU 0.\n"
    panic = "[  9.500000] Kernel panic - not syncing: NMI: Not continuing\n"
    said = (
        "NMI that nobody knows the reason of, just before the crash:"
        " Uhhuh. NMI received for unknown reason 3d on CPU 0."
    )
    assert sentences(nmi + panic, "nmi") == [(said, Weight.CAUSE)]
    assert sentences(nmi + OOPS) == [(said, Weight.CONTEXT)]
    ((_, machine_check),) = sentences(CHECK + panic, "nmi")
    assert machine_check is Weight.CONTEXT


@pytest.mark.parametrize(
    ("nmi", "panic"),
    [
        ("NMI: PCI system error (SERR) for reason b1 on CPU 0.", "NMI: Not continuing"),
        (
            "NMI: IOCK error (debug interrupt?) for reason 71 on CPU 0.",
            "NMI IOCK error: Not continuing",
        ),
    ],
)
def test_an_nmi_that_says_which_bus_has_an_error_is_told_as_that(nmi: str, panic: str) -> None:
    log = f"[  9.400000] {nmi}\n[  9.500000] Kernel panic - not syncing: {panic}\n"
    said = f"bus error that an NMI reports, just before the crash: {nmi}"
    assert sentences(log, "nmi") == [(said, Weight.CAUSE)]


def test_the_same_again_is_one_piece_of_evidence_and_the_worst_is_first() -> None:
    corrected = "[  {}.000000] EDAC MC0: 1 CE memory read error on DIMM_A1 (page:0x{})\n"
    log = "".join(corrected.format(n, n) for n in range(1, 6))
    log += "[  7.000000] pcieport 0000:00:1c.0: AER: Uncorrected (Fatal) error received: 0000:01\n"
    pcie, memory = sentences(log + OOPS)
    assert pcie[0].startswith("PCI Express error, 2 s before the crash: pcieport 0000:00:1c.0: AER")
    assert memory[0].startswith("corrected hardware error, 5 lines, the last 4 s before the crash:")


@pytest.mark.parametrize("before_s", [100, 1000])
def test_a_link_that_was_up_and_went_is_told_shortly_before_only(before_s: int) -> None:
    log = "[ 2.000000] tg3 0000:02:00.0 eth0: Link is up at 1000 Mbps, full duplex\n"
    log += "[ 500.000000] tg3 0000:02:00.0 eth0: Link is down\n"
    log += OOPS.replace("  9.5", f" {500 + before_s}.5")
    assert bool(sentences(log)) is (before_s == 100)


def test_every_trouble_that_may_be_of_hardware_is_told() -> None:
    of_others = {
        *(Trouble.OOPS, Trouble.OVERWRITTEN, Trouble.WARNING, Trouble.HUNG, Trouble.STALL),
        *(Trouble.HARD_LOCKUP, Trouble.SOFT_LOCKUP, Trouble.RCU_STALL, Trouble.OUT_OF_MEMORY),
        *(Trouble.ALLOCATION, Trouble.LIMIT, Trouble.CLOCK, Trouble.KMOD, Trouble.SYSRQ),
        # disks and servers: what was asked of them is in the dump
        *(Trouble.IO_ERROR, Trouble.FILE_SYSTEM, Trouble.NOT_RESPONDING, Trouble.STORAGE),
    }
    assert set(hardware.TOLD) == set(Trouble) - of_others

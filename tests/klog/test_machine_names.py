"""On what hardware a kernel ran, as its log says."""

from __future__ import annotations

import pytest

from cas.klog.hardware import LENGTH_LIMIT, machine_of
from cas.klog.lines import Log
from cas.model.finding import Machine


@pytest.mark.parametrize(
    ("line", "machine"),
    [
        (
            "DMI: Dell Inc. PowerEdge R740/0923K0, BIOS 2.10.0 11/12/2020",
            Machine("Dell Inc. PowerEdge R740/0923K0", "2.10.0", "11/12/2020"),
        ),
        (
            "Hardware name: QEMU Standard PC (Q35 + ICH9, 2009), BIOS 1.16.2-debian 04/01/2014",
            Machine("QEMU Standard PC (Q35 + ICH9, 2009)", "1.16.2-debian", "04/01/2014"),
        ),
        ("Hardware name: linux,dummy-virt (DT)", Machine("linux,dummy-virt (DT)")),
        ("Hardware name: IBM 8561 T01 703 (LPAR)", Machine("IBM 8561 T01 703 (LPAR)")),
        (
            "Hardware name: IBM,9009-42A POWER9 (raw) 0x4e0202 0xf000005 of:IBM,FW950.80 hv:phyp",
            Machine("IBM,9009-42A POWER9", "IBM,FW950.80"),
        ),
        ("DMI: Memory slots populated: 2/4", None),
        ("demo: Hardware names are many", None),
    ],
)
def test_a_line_names_the_machine(line: str, machine: Machine | None) -> None:
    assert machine_of(Log(f"[    1.000000] {line}\n[    2.000000] eth0: up\n")) == machine


def test_the_boot_tells_more_than_an_old_warning() -> None:
    boot = "[    0.000000] DMI: HP ProLiant DL380p Gen8, BIOS P70 07/01/2015\n"
    log = boot + "[    9.000000] Hardware name: ProLiant DL380p Gen8\n"
    assert machine_of(Log(log)) == Machine("HP ProLiant DL380p Gen8", "P70", "07/01/2015")
    assert machine_of(Log(log.removeprefix(boot))) == Machine("ProLiant DL380p Gen8")


def test_a_hostile_name_is_cut() -> None:
    told = machine_of(Log(f"[ 0.0] DMI: {'x' * 390}, BIOS {'y' * 300}\n"))
    assert told
    assert len(told.model) == LENGTH_LIMIT
    assert told.bios is None or len(told.bios) <= LENGTH_LIMIT

"""Which analysis hosts may serve a dump."""

from __future__ import annotations

from pathlib import Path

import pytest

from cas.hosts.choice import HostChoice, fitting_hosts
from cas.hosts.crash_versions import is_new_enough
from cas.hosts.demand import CrashDemand
from cas.model.case import Case
from cas.model.dump import Dump
from cas.model.host import CrashProgram, Host
from cas.progress import Silent
from cas.settings.config import Config


def host(name: str, *versions: str, arch: str = "aarch64", is_enabled: bool = True) -> Host:
    programs = tuple(CrashProgram(f"/usr/bin/crash-{v}", v, arch) for v in versions)
    return Host(name, arch=arch, crashes=programs, is_enabled=is_enabled)


def demand(arch: str, osrelease: str | None, **more: str) -> CrashDemand:
    dump = Dump(Path("vmcore"), "ELF", 1, arch, osrelease)
    return CrashDemand(dump, Path("vmlinux"), **more)


DEMAND = demand("aarch64", "6.1.0-40-arm64")


def test_a_host_whose_crash_reads_the_architecture_serves() -> None:
    x86 = host("x86", "8.0.2", arch="x86_64")
    fit, problems = fitting_hosts([host("arm", "8.0.2"), x86], DEMAND)
    assert [(one.host.name, one.program.version) for one in fit] == [("arm", "8.0.2")]
    assert problems == []


def test_a_cross_built_crash_on_a_host_of_another_architecture_serves() -> None:
    cross = Host("x86", arch="x86_64", crashes=(CrashProgram("/opt/crash", "9.0.0", "aarch64"),))
    fit, _ = fitting_hosts([cross], DEMAND)
    assert [one.program.path for one in fit] == ["/opt/crash"]


def test_the_newest_crash_of_a_host_is_taken() -> None:
    fit, _ = fitting_hosts([host("arm", "8.0.2", "8.0.10", "8.0.9")], DEMAND)
    assert [one.program.version for one in fit] == ["8.0.10"]


def test_a_crash_that_is_too_old_is_named_with_what_is_needed() -> None:
    fit, problems = fitting_hosts([host("arm", "8.0.5")], demand("aarch64", "6.12.1"))
    assert fit == []
    assert problems == ["arm: its crash 8.0.5 is too old for Linux 6.12.1, which needs 8.0.6"]


class Heard(Silent):
    """What was said of something that went wrong."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def test_a_host_that_is_left_out_is_said_on_the_screen() -> None:
    heard, wanted = Heard(), demand("aarch64", "6.12.1")
    offers = HostChoice([host("arm", "8.0.5")], wanted, Config(*[Path()] * 3, ""), heard)
    assert offers.next_place(Case(wanted.dump, wanted.vmlinux)) is None
    assert heard.warnings == offers.problems
    assert len(heard.warnings) == 1


def test_a_disabled_host_does_not_serve() -> None:
    fit, problems = fitting_hosts([host("arm", "8.0.2", is_enabled=False)], DEMAND)
    assert (fit, problems) == ([], ["arm: it is disabled"])


def test_only_the_demanded_host_serves() -> None:
    hosts = [host("arm-1", "8.0.2"), host("arm-2", "8.0.2")]
    fit, _ = fitting_hosts(hosts, demand("aarch64", None, host="arm-2"))
    assert [one.host.name for one in fit] == ["arm-2"]


def test_after_a_crash_has_failed_only_newer_ones_are_tried() -> None:
    hosts = [host("same", "8.0.2"), host("newer", "8.0.6")]
    fit, problems = fitting_hosts(hosts, demand("aarch64", "6.1.0", newer_than="crash 8.0.2"))
    assert [one.host.name for one in fit] == ["newer"]
    assert problems == []


@pytest.mark.parametrize(
    ("crash", "kernel", "is_enough"),
    [
        ("7.2.8", "5.10.0", False),
        ("7.2.9", "5.10.0", True),
        ("7.2.3", "4.18.0-553.el8", True),
        ("8.0.0-6.el9", "5.14.0-427.el9", True),
        ("8.0.0", "5.16.1", False),
        ("8.0.2++", "6.1.0", True),
        ("9.0.0", "6.12.0", True),
        ("what", "6.12.0", True),
        ("8.0.2", "", True),
    ],
)
def test_what_a_kernel_needs(crash: str, kernel: str, is_enough: bool) -> None:
    assert is_new_enough(crash, kernel) is is_enough

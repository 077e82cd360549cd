"""Shipped dumps as cases: opened in this process, since they are known to be whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from drgn import Object, sizeof

from cas.detectors.case import Case
from cas.engines.drgn.child.detect import case_of
from cas.engines.drgn.child.fit import Known
from cas.engines.drgn.child.target import File, Request, Target

Make = Callable[[str, Callable[[Path], object]], Path]


def open_case(dump: Path, vmlinux: Path, arch: str, **facts: object) -> Case:
    """A case of a dump that is trusted."""
    files = [File(str(path), os.open(path, os.O_RDONLY)) for path in (dump, vmlinux)]
    target = Target(Request(*files, arch, known=Known()))
    return case_of(target, {"arch": arch, **facts})


@pytest.fixture(scope="session")
def case(vmcore: Path, vmlinux: Path) -> Case:
    """The shipped x86_64 dump: one task is blocked, one CPU has panicked."""
    return open_case(vmcore, vmlinux, "x86_64", kind="null-dereference", kmods=["cas_stuck"])


@pytest.fixture
def altered(vmcore: Path, vmlinux: Path) -> Callable[..., Case]:
    """The same dump opened anew, with the kind of crash that is asked for, to be altered."""

    def open_it(kind: str = "none", **facts: object) -> Case:
        return open_case(vmcore, vmlinux, "x86_64", kind=kind, **facts)

    return open_it


@pytest.fixture
def own_case(vmcore: Path, vmlinux: Path) -> Case:
    """The same for one test, which may put other words into its memory."""
    case = open_case(vmcore, vmlinux, "x86_64", kind="rcu-stall", uptime_s=1e6)
    case.begin(10)
    return case


def put(value: Object, number: int) -> None:
    """Let a number stand in the dump in place of what a kernel's object was."""
    assert value.address_ is not None
    size = sizeof(value)
    data = (number & (1 << 8 * size) - 1).to_bytes(size, "little")
    value.prog_.add_memory_segment(
        value.address_, len(data), lambda _, size, offset, __: data[offset : offset + size]
    )

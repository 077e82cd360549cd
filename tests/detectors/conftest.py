"""Shipped dumps as cases: opened in this process, since they are known to be whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from altered import undo

from cas.detectors.case import Case
from cas.engines.drgn.child.detect import case_of
from cas.engines.drgn.child.fit import Known
from cas.engines.drgn.child.target import File, Request, Target

Make = Callable[[str, Callable[[Path], object]], Path]


def opened(dump: Path, vmlinux: Path, arch: str) -> Target:
    """A dump that is trusted."""
    files = [File(str(path), os.open(path, os.O_RDONLY)) for path in (dump, vmlinux)]
    return Target(Request(*files, arch, known=Known()))


def open_case(dump: Path, vmlinux: Path, arch: str, **facts: object) -> Case:
    """A case of a dump that is trusted."""
    return case_of(opened(dump, vmlinux, arch), {"arch": arch, **facts})


@pytest.fixture(scope="session")
def case(vmcore: Path, vmlinux: Path) -> Case:
    """The shipped x86_64 dump: one task is blocked, one CPU has panicked."""
    return open_case(vmcore, vmlinux, "x86_64", kind="null-dereference", kmods=["cas_stuck"])


@pytest.fixture(scope="session")
def opened_once(vmcore: Path, vmlinux: Path) -> Target:
    """The same dump, to be altered by one test after another."""
    return opened(vmcore, vmlinux, "x86_64")


@pytest.fixture
def altered(opened_once: Target) -> Iterator[Callable[..., Case]]:
    """That dump as it was, with the kind of crash that is asked for, to be altered."""

    def case(kind: str = "none", **facts: object) -> Case:
        return case_of(opened_once, {"arch": "x86_64", "kind": kind, **facts})

    yield case
    undo(opened_once.prog)


@pytest.fixture
def own_case(altered: Callable[..., Case]) -> Case:
    """The same for one test, which may put other words into its memory."""
    case = altered("rcu-stall", uptime_s=1e6)
    case.begin(10)
    return case

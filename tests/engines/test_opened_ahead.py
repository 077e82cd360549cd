"""A dump that drgn opens before anything is known of it: kept where that is what is asked for."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from drgn import Architecture, FaultError, Platform, Program

from cas.dump import identify
from cas.engines.drgn.child.fit import Known, long_string
from cas.engines.drgn.child.locate import Locator
from cas.engines.drgn.child.target import CannotOpen, File, Request, Target
from cas.engines.drgn.prestart import prestarted
from cas.engines.drgn.process import Worker
from cas.errors import SandboxMissing
from cas.jobs.order import Order
from cas.klog.log_text import code_places
from cas.model.case import Case
from cas.triage.opened_ahead import AtHand, open_ahead

from installed import FIXTURES, Site

BUILD_ID = "81561b88fc316209f6d1adc62e3e31a14f1760c3"
TIMEOUT_S = 60


def asked(dump: Path, vmlinux: Path, **how: Any) -> Request:
    """Files as drgn's process is given them, which closes them."""
    opened = (File(str(path), os.open(path, os.O_RDONLY)) for path in (dump, vmlinux))
    return Request(*opened, **how)


@pytest.fixture
def dump(opened: Case, tmp_path: Path) -> Path:
    """A dump that is this test's alone."""
    return Path(shutil.copy(opened.dump.path, tmp_path / "vmcore"))


@pytest.fixture
def target(opened: Case, dump: Path) -> Target:
    return Target(asked(dump, opened.vmlinux, is_ahead=True))


def test_the_same_two_files_are_not_opened_anew(target: Target, opened: Case, dump: Path) -> None:
    told = identify(dump)
    assert told.banner
    known, prog = Known(told.banner, told.osrelease), target.prog
    for _ in range(2):
        assert target.serves(asked(dump, opened.vmlinux, known=known))
        assert target.prog is prog


def test_what_is_another_file_or_another_kernel_is_opened_anew(
    target: Target, opened: Case, dump: Path
) -> None:
    vmlinux = opened.vmlinux
    assert not target.serves(asked(opened.dump.path, vmlinux))
    for how in (
        {"known": Known("Linux version 5.4.0 (a@b)", "5.4.0")},
        {"death": "drgn was killed by SIGSEGV"},
        {"vmcoreinfo": "OSRELEASE=5.4.0\n"},
    ):
        assert not target.serves(asked(dump, vmlinux, **how))
    os.utime(dump)  # as if it were written to
    assert not target.serves(asked(dump, vmlinux))


def test_what_drgn_does_not_open_at_once_is_left(opened: Case, tmp_path: Path) -> None:
    dump = tmp_path / "vmcore"
    dump.write_bytes(b"\x7fELF garbage")
    with pytest.raises(CannotOpen):
        Target(asked(dump, opened.vmlinux, is_ahead=True))


def test_an_answer_is_the_same_whatever_was_opened_ahead(
    worker: Worker, opened: Case, tmp_path: Path
) -> None:
    case = replace(opened, dump=identify(opened.dump.path))
    expected = worker.answer(case, TIMEOUT_S)
    garbage = tmp_path / "garbage"
    garbage.write_bytes(bytes(4096))
    for dump in (garbage, opened.dump.path):
        worker.open_ahead(dump, opened.vmlinux)
        other = replace(case, dump=replace(case.dump, remarks=(dump.name,)))
        assert worker.fit(other, TIMEOUT_S) == ()
        assert worker.answer(other, TIMEOUT_S) == expected


@pytest.fixture
def cache(tmp_path: Path, opened: Case) -> Path:
    """A cache that has the kernel of the dump."""
    (tmp_path / "debugs" / BUILD_ID).mkdir(parents=True)
    (tmp_path / "debugs" / BUILD_ID / "vmlinux").symlink_to(opened.vmlinux)
    return tmp_path / "debugs"


def begun(site: Site, cache: Path, order: Order) -> list[AtHand]:
    """What drgn begins with."""
    site.settings["debugs"] = str(cache)
    found = list[AtHand]()
    open_ahead(order, site.world().config, found.append)
    return found


def test_drgn_begins_with_a_plain_dump_whose_kernel_was_extracted_before(
    site: Site, cache: Path, opened: Case
) -> None:
    dump = opened.dump.path
    order = Order("T-1", dump)
    assert begun(site, cache, order) == [(dump, cache / BUILD_ID / "vmlinux")]
    (cache / BUILD_ID / "vmlinux").unlink()
    assert begun(site, cache, order) == []
    kdump = FIXTURES / "b" / "vmcore.kdump"
    build_id = identify(kdump).build_id
    assert build_id
    (cache / build_id).mkdir()
    (cache / build_id / "vmlinux").symlink_to(opened.vmlinux)
    assert begun(site, cache, Order("T-1", kdump)) == [(kdump, cache / build_id / "vmlinux")]


@pytest.mark.parametrize("is_known", [True, False])
def test_drgn_begins_with_the_kernel_of_a_log_whose_banner_a_vmlinux_has(
    site: Site, cache: Path, opened: Case, tmp_path: Path, is_known: bool
) -> None:
    told, log = identify(opened.dump.path), tmp_path / "log"
    assert told.dmesg
    assert told.osrelease
    log.write_text(told.dmesg)
    order = Order("T-1", log)
    assert begun(site, cache, order) == []
    facts = {"source": "/k.rpm", "release": told.osrelease, "arch": "x86_64", "member": None}
    facts |= {"build_id": BUILD_ID, "banner": told.banner if is_known else None}
    (cache / BUILD_ID / "kernel.json").write_text(json.dumps(facts))
    assert begun(site, cache, order) == [(None, cache / BUILD_ID / "vmlinux")]
    # the last boot in a text is the one that counts
    log.write_text(f"{told.dmesg}\n[    0.000000] Linux version 6.1.0-other (a@b) #1 SMP\n")
    assert begun(site, cache, order) == []


def test_lines_of_a_log_are_the_same_whatever_was_opened_ahead(
    worker: Worker, opened: Case, tmp_path: Path
) -> None:
    places = [*code_places(identify(opened.dump.path).dmesg or "")]
    expected = worker.locate(opened.vmlinux, {}, places)
    assert expected.locations
    other = Path(shutil.copy(opened.vmlinux, tmp_path / "vmlinux"))
    garbage = tmp_path / "garbage"
    garbage.write_bytes(bytes(4096))
    for ahead in (garbage, other, opened.vmlinux):
        worker.open_ahead(None, ahead)
        assert worker.locate(opened.vmlinux, {}, places) == expected


def test_the_kernel_of_a_log_is_kept_only_where_it_is_that_very_file(
    opened: Case, tmp_path: Path
) -> None:
    vmlinux = Path(shutil.copy(opened.vmlinux, tmp_path / "vmlinux"))

    def file(path: Path) -> File:
        return File(str(path), os.open(path, os.O_RDONLY))

    locator = Locator(file(vmlinux))
    locator.read_ahead()
    assert locator.serves(file(vmlinux))
    assert not locator.serves(file(opened.vmlinux))
    os.utime(vmlinux)
    assert not locator.serves(file(vmlinux))


def test_drgn_begins_with_nothing_that_somebody_has_to_look_at_first(
    site: Site, cache: Path, opened: Case, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    for upload in (FIXTURES / "a/vmcore.elf.xz", tmp_path / "pipe", tmp_path / "absent"):
        assert begun(site, cache, Order("T-1", upload)) == []
    dump = opened.dump.path
    assert begun(site, cache, Order("T-1", dump, more=(dump,))) == []
    site.settings |= {"signatures": "report"}
    assert begun(site, cache, Order("T-1", dump)) == []


def test_what_is_to_be_done_meanwhile_delays_no_answer_and_is_done(
    worker: Worker, opened: Case
) -> None:
    done = list[int]()

    def steps() -> Iterator[None]:
        for number in range(4000):
            time.sleep(0.01)
            yield done.append(number)
            if is_open:
                return

    is_open = False
    preparations = steps()
    worker.fit(opened, TIMEOUT_S, lambda: preparations)
    assert 0 < len(done) < 4000
    is_open = True
    worker.answer(opened, TIMEOUT_S, meanwhile=preparations)
    assert next(preparations, "over") == "over"


@pytest.mark.parametrize(
    ("bwrap", "wanted", "named"),
    [
        ("exit 1", "auto", "none (bwrap ended with exit status 1)"),
        ("exit 1", "none", "none (switched off in the configuration)"),
        (None, "auto", "none (there is no bwrap)"),
    ],
)
def test_drgn_is_started_anew_where_the_sandbox_does_not_work(
    site: Site,
    opened: Case,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    bwrap: str | None,
    wanted: str,
    named: str,
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    if bwrap:
        (programs / "bwrap").write_text(f"#!/bin/sh\n{bwrap}\n")
        (programs / "bwrap").chmod(0o755)
    for name in ("prlimit", "setpriv"):
        (programs / name).symlink_to(f"/usr/bin/{name}")
    monkeypatch.setenv("PATH", str(programs))
    site.settings["sandbox"] = wanted
    with prestarted(site.world().config) as ready:
        assert ready.confinement.sandbox is None
        assert ready.sandbox.replace(f"{programs}/", "") == named
        assert ready.worker.locate(opened.vmlinux, {}, []).problem is None
    site.settings["sandbox"] = "bwrap"
    with pytest.raises(SandboxMissing), prestarted(site.world().config):
        pass


def test_a_long_string_is_read_page_by_page_up_to_its_end() -> None:
    prog = Program(Platform(Architecture.X86_64))
    memory = b"x" * 3 + b"y" * 8190 + b"\0z" + bytes(4093)

    def read(address: int, size: int, offset: int, _physical: bool) -> bytes:
        return memory[offset : offset + size]

    prog.add_memory_segment(0x1000, 0x2000, read)
    with pytest.raises(FaultError):
        long_string(prog, 0x1003)
    prog.add_memory_segment(0x1000, 0x3000, read)
    assert long_string(prog, 0x1003) == b"y" * 8190
    assert long_string(prog, 0x3002) == b"z"

"""Which debuggers are here and whether a job has room, as `cas-admin status` shows it."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from cas.catalogue import Catalogue
from cas.choices import EngineChoice
from cas.commands.program import defaults
from cas.jobs.layout import DUMP
from cas.settings.config import Config
from cas_admin.status_parts import debugger_part, room, space_part

from installed import needs


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return replace(defaults({"HOME": str(tmp_path)}), work_directory=tmp_path)


@pytest.fixture
def catalogue(config: Config) -> Catalogue:
    return Catalogue.of(config)


def program(path: Path, said: str) -> Path:
    path.write_text(f"#!/bin/sh\necho '{said}'\n")
    path.chmod(0o755)
    return path


def test_each_debugger_is_shown_with_its_version(
    config: Config, catalogue: Catalogue, tmp_path: Path
) -> None:
    other = program(tmp_path / "crash-arm", "crash 9.1.2")
    config = replace(config, crash=needs("crash"), crash_for_arch={"aarch64": other})
    drgn, crash, arm = debugger_part(config, catalogue).lines
    assert drgn.startswith("drgn 0.3.")
    assert crash.startswith("crash ")
    assert crash.endswith(f": {config.crash}")
    assert arm == f"crash 9.1.2: {other}"


def test_a_crash_that_cannot_be_used_is_named(
    config: Config, catalogue: Catalogue, tmp_path: Path
) -> None:
    liar = program(tmp_path / "liar", "GNU ed 1.19")
    config = replace(config, crash=str(tmp_path / "gone"), crash_for_arch={"arm": liar})
    assert debugger_part(config, catalogue).lines[1:] == (
        f"! crash: there is no program {tmp_path}/gone",
        f"! crash_arm: {liar} is no crash program",
    )


def test_a_machine_without_crash_is_no_problem_unless_crash_is_demanded(
    config: Config, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert debugger_part(config, catalogue).lines[1].endswith(": drgn runs the snippets")
    config = replace(config, engine=EngineChoice.CRASH)
    assert debugger_part(config, catalogue).lines[1] == "! crash: there is no program crash"


def test_room_is_what_is_free_beside_the_reserve(config: Config, catalogue: Catalogue) -> None:
    found = space_part(config, catalogue)
    free, room = found.facts["workDirectory_free_bytes"], found.facts["dump_room_bytes"]
    assert free - room == config.intake.reserve_bytes
    assert ": room for an unpacked dump of " in found.lines[0]


def test_a_reserve_that_is_larger_than_what_is_free_leaves_no_room(
    config: Config, catalogue: Catalogue
) -> None:
    free = shutil.disk_usage(config.work_directory).free
    config = replace(config, intake=replace(config.intake, reserve_bytes=2 * free))
    line = space_part(config, catalogue).lines[0]
    assert line.startswith("! ")
    assert ": no room for a job, diskReserve keeps " in line


def test_the_largest_dump_that_is_kept_is_named_beside_the_room(
    config: Config, catalogue: Catalogue
) -> None:
    job = config.work_directory / "T-1" / "2026.11.21.10.00.00"
    (job / DUMP).mkdir(parents=True)
    (job / "job.json").touch()
    (job / DUMP / "vmcore").write_bytes(os.urandom(1 << 20))
    assert (1 << 20) <= space_part(config, catalogue).facts["largest_dump_bytes"] < (2 << 20)
    told = "room for an unpacked dump of 3.0 GiB, the largest kept takes 5.0 GiB"
    assert room(3 << 30, 5 << 30, 512 << 20) == told

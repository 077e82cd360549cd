"""What ``--json`` prints is what the shipped schemas say: every key, and no other."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from write_schemas import NAMES, closed, path_of, text_of

from cas.catalogue import Catalogue
from cas.catalogue.building.build import build
from cas.commands import World
from cas.jobs.job import job_name, load_job
from cas.jobs.new_job import create_job
from cas.jobs.order import Order
from cas.jobs.work_directory import WorkDirectory
from cas.model.dump import Dump
from cas.model.host import CrashProgram, Host
from cas.model.report import Report
from cas.progress import Silent
from cas.report.report import write_report
from cas.settings.config import Config
from cas.settings.rules import PackageRules
from cas_admin.unfinished import OfJob

from installed import FIXTURES, answer

ARM = Host(
    "arm-03",
    2222,
    checked=datetime(2026, 11, 21, 8, 41, 20, tzinfo=UTC),
    arch="aarch64",
    crashes=(CrashProgram("/usr/bin/crash", "8.0.2", "aarch64"),),
    memory_bytes=1 << 40,
    remarks=("/opt/crash/bin/crash-arm hangs",),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A site with a kernel, a package that is none, a host, and a job that waits."""
    directory = tmp_path_factory.mktemp("answers")
    (directory / "kernels").mkdir()
    (package,) = (FIXTURES / "a").glob("*.rpm")
    (directory / "kernels" / package.name).symlink_to(package)
    (directory / "kernels" / "kernel-debuginfo-9.rpm").write_text("none")
    paths = (directory / name for name in ("kernels", "debugs", "cores"))
    config = Config(*paths, database=str(directory / "cas.db"))
    catalogue = Catalogue.of(config)
    build(catalogue.store, config.kernels, PackageRules(r".*\.rpm"), Silent())
    catalogue.store.hosts.put_host(ARM)
    wait(config.work_directory, directory / "vmcore")
    return World(config, Silent(), datetime.now(UTC), False, lambda _: "", {"TMPDIR": "x"})


def wait(work: Path, upload: Path) -> None:
    job = create_job(WorkDirectory(work), Order("T-1", upload), datetime.now(UTC))
    dump = Dump(upload, "ELF", 1, "x86_64", "6.1.0", build_id="ab" * 20)
    told = {"server": "here", "started": job.started, "verdict": "waiting", "stage": "identified"}
    write_report(Report("T-1", job.directory, str(upload), dump=dump, **told))  # type: ignore[arg-type]
    replace(job, verdict="waiting").save()


def checked(name: str, lines: tuple[str, ...]) -> dict[str, Any]:
    (text,) = lines
    facts: dict[str, Any] = json.loads(text)
    schema = closed(copy.deepcopy(json.loads(path_of(name).read_text())))
    jsonschema.Draft202012Validator(schema).validate(facts)
    return facts


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_schema_of_an_answer_is_the_programs(name: str) -> None:
    assert path_of(name).read_text() == text_of(name), "run: python tests/write_schemas.py"


def test_kernels(world: World) -> None:
    facts = checked(
        "cas-admin kernels --json", answer(world, "cas-admin", "kernels", "--json").lines
    )
    assert len(facts["kernels"]) == 1


def test_analyzers(world: World) -> None:
    told = answer(world, "cas", "analyzers", "--json")
    facts = checked("cas analyzers --json", told.lines)
    assert {each["author"] for each in facts["analyzers"]} == {None}


def test_hosts(world: World) -> None:
    told = answer(world, "cas-admin", "host", "list", "--json")
    facts = checked("cas-admin host list --json", told.lines)
    assert facts["hosts"][0]["checked"] == "2026-11-21T08:41:20+00:00"


class Said(Silent):
    """Progress of which the lines are kept."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def warn(self, text: str) -> None:
        self.lines.append(text)


def test_an_empty_list_says_how_to_fill_it(world: World, tmp_path: Path) -> None:
    said = Said()
    empty = replace(world.config, database=str(tmp_path / "cas.db"), work_directory=tmp_path)
    bare = replace(world, config=empty, progress=said)
    for words in (("host", "list"), ("host", "check"), ("kernels",), ("resume",)):
        assert answer(bare, "cas-admin", *words).lines == ()
    advice = ("cas-admin host add", "cas-admin host add", "cas-admin -b", "no job waits")
    assert len(said.lines) == len(advice)
    assert all(one in line for one, line in zip(advice, said.lines, strict=True))


def test_a_warning_of_a_job_among_many_names_it(world: World) -> None:
    said, job = Said(), load_job(next(WorkDirectory(world.config.work_directory).jobs()))
    OfJob(job_name(job), said).warn("the dump is damaged")
    assert said.lines == [f"T-1/{job.directory.name}: the dump is damaged"]


def test_check(world: World) -> None:
    told = answer(world, "cas-admin", "check", "--quick", "--json")
    facts = checked("cas-admin check --json", told.lines)
    assert facts["flaws"]


def test_status(world: World) -> None:
    facts = checked("cas-admin status --json", answer(world, "cas-admin", "status", "--json").lines)
    assert facts["packages"]["bad"]
    assert facts["jobs"]["waiting"][0]["jobs"]
    assert facts["builds"]["last"][0]["ended"].endswith("+00:00")


def test_a_status_that_cannot_be_found_out(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    lacking = replace(world.config, database=str(tmp_path / "file" / "cas.db"))
    told = answer(replace(world, config=lacking), "cas-admin", "status", "--json")
    assert told.status == 3
    assert "problem" in checked("cas-admin status --json", told.lines)["packages"]


def test_identify(
    world: World, vmcore: Path, tmp_path: Path, converted: Callable[..., Path]
) -> None:
    cut = tmp_path / "cut"
    cut.write_bytes(vmcore.read_bytes()[:3_000_000])
    for dump, lacks in ((vmcore, False), (converted("-c"), False), (cut, True)):
        told = answer(world, "cas", "identify", "--json", dump)
        facts = checked("cas identify --json", told.lines)
        assert bool(facts["missing"]) == lacks

"""``cas glide``: the deep trace of a job's dump, as text and as JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema
import pytest
from write_schemas import GLIDE, path_of

from installed import Site


@pytest.fixture
def job(finished: Site, tmp_path: Path) -> Site:
    """A site with the job T-1, and a module of its own."""
    (tmp_path / "cores").symlink_to(finished.jobs)
    (tmp_path / "glide").mkdir()
    module = tmp_path / "glide" / "cas_glide_nf-cas-dummy.py"
    module.write_text("def end(trace):\n    trace.say('the dummy')\n")
    own = {"workDirectory": str(tmp_path / "cores"), "glide": str(tmp_path / "glide")}
    return Site(tmp_path, {**finished.settings, **own})


def test_text_and_json_tell_the_same(job: Site) -> None:
    text = job.cas("glide", "T-1", "--tasks", "cpus")
    assert (text.returncode, "!" in text.stderr) == (0, False)
    lines = text.stdout.splitlines()
    assert lines[0].endswith("; modules: core, virtio, nf_cas_dummy")
    assert any(line.startswith("#8  cas_balance [cas_oops] (drivers/cas/") for line in lines)
    assert lines[lines.index("== nf_cas_dummy ==") + 1] == "the dummy"
    told = job.cas("glide", "T-1/latest", "--tasks", "cpus", "--json")
    records = [json.loads(line) for line in told.stdout.splitlines()]
    schema = jsonschema.Draft202012Validator(json.loads(path_of(GLIDE).read_text()))
    for record in records:
        schema.validate(record)
    assert (records[0]["version"], records[0]["dump"].startswith("T-1/")) == (1, True)
    assert records[-1]["frames"] == sum(line.startswith("#") for line in lines)


def test_a_crash_of_the_archive_is_traced_without_a_job(site_b: Site, vmcore_b: Path) -> None:
    crash = site_b.cas("upload", vmcore_b).stdout.strip()
    done = site_b.cas("glide", crash, "--tasks", "panic")
    assert done.returncode == 0, done.stderr
    assert "panic task" in done.stdout and "== core ==" in done.stdout


def test_the_property_of_a_crash_asks_for_modules(job: Site) -> None:
    (job.directory / "glide" / "cas_glide_ledger.py").write_text(
        "def end(trace):\n    trace.say('asked for')\n"
    )
    assert job.admin("index").returncode == 0
    assert job.cas("set", "T-1", "glide", "ledger,nobodys,../x").returncode == 0
    done = job.cas("glide", "T-1", "--tasks", "panic")
    lines = done.stdout.splitlines()
    assert lines[lines.index("== ledger ==") + 1] == "asked for"
    said = "! the property glide names the module nobodys, and there is no cas_glide_nobodys.py"
    assert said in lines and "../x" not in done.stdout


def test_another_kernel_is_taken_only_by_force(job: Site, tmp_path: Path) -> None:
    other = tmp_path / "vmlinux"
    other.write_bytes(b"no kernel")
    done = job.cas("glide", "T-1", "--kernel", other)
    assert done.returncode != 0 and f"{other} is no vmlinux" in done.stderr


def test_tasks_that_mean_nothing_are_a_wrong_command_line(job: Site) -> None:
    done = job.cas("glide", "T-1", "--tasks", "everybody")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--tasks 'everybody' names no tasks" in done.stderr
    assert "--tasks 1,47" in done.stderr


def test_a_module_that_cannot_be_read_is_named(job: Site) -> None:
    (job.directory / "glide" / "cas_glide_xfs.py").write_bytes(b"\xff")
    done = job.cas("glide", "T-1", "--tasks", "panic")
    assert done.returncode != 0
    assert "cas_glide_xfs.py cannot be read" in done.stderr


def test_a_module_that_is_no_file_is_named_and_not_waited_for(job: Site) -> None:
    os.mkfifo(job.directory / "glide" / "cas_glide_xfs.py")
    done = job.cas("glide", "T-1", "--tasks", "panic")
    assert done.returncode != 0
    assert "cas_glide_xfs.py is no file" in done.stderr

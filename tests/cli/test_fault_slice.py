"""The fault itself, from the installed command to the reports, and what stays of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from catalogue import made_sources

from cas.jobs.job import load_job
from cas.report.report import drawn
from cas.report.result import load
from cas.triage.rejudge import revived

from installed import FIXTURES, Site

SENTENCE = "entry->account (struct cas_account *, {}) is NULL: the access to 0x18 was to its member"


def test_the_pointer_that_was_null_is_named_in_every_report(finished: Site) -> None:
    fault = finished.result("T-1")["fault"]
    assert fault["evidence"][0]["sentence"].startswith(SENTENCE.format("rax"))
    assert (fault["place"], fault["kmod"], fault["address"]) == (
        "cas_sum_entries+0x18",
        "cas_oops",
        "0x18",
    )
    assert fault["code_from"] == "memory of the dump"
    job = finished.job("T-1")
    text = (job / "report.txt").read_text()
    assert "entry->account (struct cas_account *, rax) is NULL" in text
    assert "=> cas_sum_entries+0x18" in text
    page = (job / "report.html").read_text()
    assert "is NULL: the access to 0x18 was to its member balance" in page
    assert 'id="fault-registers"' in page


def test_what_shows_the_evidence_is_answered(finished: Site) -> None:
    fault = finished.result("T-1")["fault"]
    commands = [
        fault["evidence"][0]["command"],
        "struct cas_account",
        f"dis -rl {fault['place']}",
    ]
    asked = [word for command in commands for word in ("-c", command)]
    done = finished.cas("debug", "T-1", "--engine", "drgn", *asked)
    assert done.returncode == 0, done.stderr
    assert "account = (struct cas_account *)0x0" in done.stdout
    assert "balance" in done.stdout
    assert "cas_oops.c: 63" in done.stdout


def test_the_first_step_is_about_that_pointer(finished: Site) -> None:
    steps = finished.result("T-1")["finding"]["next_steps"]
    assert steps[0].startswith(
        "find out why entry->account is NULL (cas debug: struct cas_entry ffff"
    )
    assert not any("offset of the field" in step for step in steps)


def test_another_architectures_pointer_is_named(finished_of: Callable[[str], Site]) -> None:
    fault = finished_of("arm64").result("T-1")["fault"]
    assert fault["evidence"][0]["sentence"].startswith(SENTENCE.format("x0"))


def test_the_other_builds_pointer_is_named(finished_of: Callable[[str], Site]) -> None:
    fault = finished_of("b").result("T-1")["fault"]
    assert fault["evidence"][0]["sentence"].startswith(SENTENCE.format("rax"))


@pytest.mark.long
def test_the_source_around_the_fault_is_shown_from_a_configured_tree(
    site_a: Site, tmp_path: Path
) -> None:
    drivers = tmp_path / "sources" / "6.1.192-1.cas1.x86_64" / "drivers" / "cas"
    drivers.mkdir(parents=True)
    shutil.copy(FIXTURES.parent / "modules" / "cas_oops.c", drivers)
    site_a.settings |= {"sources": str(tmp_path / "sources"), "engine": "drgn"}
    site_a.keep_snippets("bt")
    done = site_a.cas("-i", "T-1", "-f", FIXTURES / "a" / "vmcore.elf.xz")
    assert done.returncode == 0, done.stderr
    source = site_a.result("T-1")["fault"]["source"]
    assert (source["file"], source["line"]) == ("drivers/cas/cas_oops.c", 63)
    assert source["lines"][63 - source["first"]] == ("\treturn READ_ONCE(entry->account->balance);")
    text = (site_a.job("T-1") / "report.txt").read_text()
    assert "=>     63          return READ_ONCE(entry->account->balance);" in text


def test_the_source_around_the_fault_is_shown_from_the_rpm_that_was_built_with_the_kernel(
    site: Site, tmp_path: Path, vmcore_b: Path
) -> None:
    kernels = tmp_path / "kernels"
    kernels.mkdir(exist_ok=True)
    (package,) = (FIXTURES / "b").glob("*.rpm")
    (kernels / package.name).symlink_to(package)
    code = (FIXTURES.parent / "modules" / "cas_oops.c").read_bytes()
    origin = made_sources.origin_of(package)
    common = kernels / made_sources.common_name(origin)
    files = made_sources.in_tree({"drivers/cas/cas_oops.c": code})
    common.write_bytes(made_sources.common(origin, files))
    site.settings |= {
        "kernels": str(kernels),
        "debugs": str(tmp_path / "debugs"),
        "engine": "drgn",
    }
    site.keep_snippets("bt")
    assert site.admin("-b").returncode == 0
    done = site.cas("-i", "T-1", "-f", vmcore_b)
    assert done.returncode == 0, done.stderr
    source = site.result("T-1")["fault"]["source"]
    assert source["lines"][63 - source["first"]] == "\treturn READ_ONCE(entry->account->balance);"
    text = (site.job("T-1") / "report.txt").read_text()
    assert "=>     63          return READ_ONCE(entry->account->balance);" in text
    assert f"from {common}: {made_sources.TREE}/drivers/cas/cas_oops.c" in text


def test_a_job_that_waits_has_the_fault_from_its_kernel_log(waiting: Site) -> None:
    fault = waiting.result("T-1")["fault"]
    assert (fault["code_from"], fault["registers_from"]) == ("kernel log", "kernel log")
    (evidence,) = fault["evidence"]
    assert evidence["sentence"] == "rax is NULL: 0x18 is the offset of what was accessed"
    (line,) = (each for each in fault["code"] if each["is_fault"])
    assert line["place"] == "cas_sum_entries+0x18"


def test_a_report_with_a_fault_is_drawn_again_byte_for_byte(finished: Site) -> None:
    directory = finished.job("T-1")
    report = revived(load(directory), load_job(directory))
    assert report.fault
    for name, content in drawn(report).items():
        assert content == (directory / name).read_bytes()

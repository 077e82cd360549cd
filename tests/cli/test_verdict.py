"""What a user reads of the verdict, from the installed command."""

from __future__ import annotations

import json
from pathlib import Path

from installed import Site


def test_the_sites_own_functions_steer_the_verdict(site: Site, vmcore: Path) -> None:
    file = site.directory / "cas.functions"
    file.write_text("# its entries are everybody's\ncas_sum_*  list\n")
    site.settings |= {"functions": str(file), "debugs": str(site.directory / "debugs")}
    done = site.cas("-i", "T-1", "-f", vmcore)
    finding = site.result("T-1")["finding"]
    assert done.returncode == 6, done.stderr
    assert " in cas_audit_" in finding["what"]
    assert finding["where"].startswith("cas_sum_entries+0x18 [cas_oops], called from cas_audit_")
    assert finding["choice"]["level"] == "high", finding["confidence"]
    assert finding["choice"]["why"][0] == "the kernel names cas_sum_entries"
    assert finding["data"]["level"] == "low"
    assert "* sure of the choice: high, of the data: low" in done.stderr


def test_why_two_crashes_are_the_same_is_told_of_a_kept_job(waiting: Site) -> None:
    site = waiting
    done = site.cas("signature", "T-1")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "title        NULL pointer dereference in cas_sum_entries [cas_oops]"
    told = {line[:12].strip(): line[13:] for line in lines[1:5]}
    named = site.result("T-1")["finding"]["signatures"]
    assert told == {each["granularity"]: each["value"] for each in named}
    assert "counts       cas_sum_entries [cas_oops]" in lines
    assert "left out     process_one_work: carrier" in lines
    told = json.loads(site.cas("signature", "--json", "T-1").stdout)
    assert told["kind"] == "null-dereference"
    failed = site.cas("signature", "T-2")
    assert (failed.returncode, failed.stdout) == (2, "")
    assert "there is no job 'T-2'" in failed.stderr


def test_what_came_before_the_crash_is_told_of_a_job_that_waits_for_its_kernel(
    waiting: Site,
) -> None:
    hung, loaded = waiting.result("T-1")["finding"]["before"]
    assert (hung["kind"], hung["count"], hung["where"]) == ("hung task", 1, "cas_stuck_read")
    assert hung["text"] == "INFO: task cat:47 blocked for more than 2 seconds."
    assert loaded["text"] == "nf_cas_dummy: loading out-of-tree module taints kernel."
    assert hung["first_s"] > loaded["first_s"] > 0
    assert loaded["began_before_s"] > hung["began_before_s"] > 0
    report = (waiting.job("T-1") / "report.txt").read_text()
    assert "\nBefore the crash\n----------------\n- [" in report


def test_a_broken_file_of_functions_costs_itself_and_not_the_verdict(
    site: Site, vmcore: Path
) -> None:
    file = site.directory / "cas.functions"
    file.write_text("cas_sum_* lists\n")
    site.settings |= {"functions": str(file), "debugs": str(site.directory / "debugs")}
    done = site.cas("-i", "T-1", "-f", vmcore)
    assert done.returncode == 6, done.stderr
    assert f"! {file}, line 1: 'cas_sum_* lists' is no pattern and one of die, " in done.stderr
    assert " in cas_sum_entries [cas_oops]" in site.result("T-1")["finding"]["what"]

"""What a user reads of the verdict, from the installed command."""

from __future__ import annotations

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

"""Known issues in the verdict, and what the administrator is told of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cas.files.shipped import shipped
from cas.findings.known import FOLDER

from installed import Site

HOSTILE = r"""
[[issue]]
name = "<b>it</b> \u001b[31m"
advice = "<script>alert(1)</script>"
link = "https://example.com/?a=\"><b>"
[issue.when]
module = "cas_oops"

[[issue]]
name = "of another kernel"
advice = "update"
[issue.when]
module = "cas_oops"
kernel = "< 5.14.0-427.el9"

[[issue]]
name = "misspelt"
advise = "update"
[issue.when]
module = "cas_oops"
"""


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory, vmcore_b: Path) -> Site:
    """A site that knows the shipped examples and a file of mixed worth, with a job that waits."""
    directory = tmp_path_factory.mktemp("known")
    (directory / "site.toml").write_text(HOSTILE)
    (directory / "kernels").mkdir()
    settings = {
        "kernels": str(directory / "kernels"),
        "workDirectory": str(directory / "cores"),
        "debugs": str(directory / "debugs"),
        "database": str(directory / "cas.db"),
        "knownIssues": f"{shipped(FOLDER)}:{directory / 'site.toml'}",
    }
    site = Site(directory, settings)
    done = site.cas("-i", "T-1", "-f", vmcore_b)
    assert done.returncode == 6, done.stderr
    (directory / "stderr").write_text(done.stderr)
    return site


def test_known_issues_come_first_in_the_verdict_of_a_waiting_job(known: Site) -> None:
    told = known.result("T-1")["finding"]
    example, audit, hostile = told["known"]
    assert example["name"] == "cas_oops: an entry of the ledger has no account"
    assert example["link"] == "https://example.com/cas/oops-1"
    assert example["fixed_in"] == ["6.1.193", "6.1.192-2.cas1"]
    assert example["why"] == [
        "module cas_oops",
        "title NULL pointer dereference in cas_sum_entries [cas_oops]",
        "kernel 6.1.192-1.cas1.x86_64: >= 6.1.192-1.cas1, < 6.1.192-2.cas1",
    ]
    assert audit["why"][-1] == "log: cas_oops: auditing the ledger: scheduled"
    assert hostile["file"] == str(known.directory / "site.toml")
    lines = (known.job("T-1") / "report.txt").read_text().splitlines()
    assert lines[3].startswith("Known issue - cas_oops: an entry of the ledger has no account: Do")
    stderr = (known.directory / "stderr").read_text()
    issue, what = (stderr.index(text) for text in ("* known issue: cas_oops: an ", "* BUG: kernel"))
    assert issue < what


def test_what_is_wrong_with_known_issues_costs_just_that_and_is_told(known: Site) -> None:
    file = known.directory / "site.toml"
    fault = f"{file}, line 18, issue 3 (misspelt): unknown key `advise`; did you mean `advice`?"
    undecided = (
        "known issue 'of another kernel' (site.toml): it cannot be told whether this is it: the "
        "kernel"
    )
    report = " ".join((known.job("T-1") / "report.txt").read_text().split())
    assert f"- known issues: {fault}" in report
    assert f"- {undecided} 6.1.192-1.cas1.x86_64 cannot be compared with < 5.14.0-427.el9" in report
    listed = known.admin("known")
    assert listed.returncode == 4, listed.stderr
    lines = listed.stdout.splitlines()
    assert f"{file}: of another kernel (module cas_oops, kernel < 5.14.0-427.el9)" in lines
    assert lines[-2:] == [f"broken {fault}", "4 known issues in 2 files"]
    status = known.admin("status")
    assert f"KNOWN\n  4 issues in 2 files\n  ! {fault}\n" in status.stdout
    check = known.admin("check", "--quick")
    assert check.returncode == 4
    assert f"broken known issues: {fault}; correct the file; then: cas-admin known" in check.stdout


def test_hostile_text_of_a_known_issue_is_shown_and_not_obeyed(known: Site) -> None:
    page = (known.job("T-1") / "report.html").read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert r"&lt;b&gt;it&lt;/b&gt; \x1b[31m" in page
    assert 'href="https://example.com/?a=&#34;&gt;&lt;b&gt;"' in page
    assert '<a href="https://example.com/cas/oops-1" rel="noopener noreferrer">' in page
    assert page.index("an entry of the ledger has no account") < page.index("<dl ")
    assert "\x1b" not in page + (known.job("T-1") / "report.txt").read_text()


def test_which_past_jobs_a_file_would_match_is_told_without_a_debugger(known: Site) -> None:
    new = known.directory / "new.toml"
    text = '[[issue]]\nname = "new"\nadvice = "look"\nwhen.log = "auditing"\n'
    new.write_text(text)
    done = known.admin("known", "--test", new.name)
    job = known.job("T-1")
    title = "NULL pointer dereference in cas_sum_entries [cas_oops]"
    said = "cas_oops: auditing the ledger: scheduled"
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"T-1 {job}: {title}: new (log: {said})",
        "1 of 1 job known",
    ]
    told = json.loads(known.admin("known", "--test", new, "--json").stdout)
    assert told["matches"][0]["directory"] == str(job)
    new.write_text(text.replace("auditing", "audited"))
    done = known.admin("known", "--test", new)
    assert (done.returncode, done.stdout) == (1, "0 of 1 job known\n")
    new.write_text("[[issue]\n")
    done = known.admin("known", "--test", new)
    assert done.returncode == 4
    assert done.stdout.startswith(f"broken {new} is no TOML: ")


def test_a_site_without_known_issues_is_told_where_examples_are(site: Site) -> None:
    done = site.admin("known")
    assert (done.returncode, done.stdout) == (0, "0 known issues in 0 files\n")
    assert str(shipped(FOLDER)) in done.stderr

"""What the detectors find, from the installed command to the records, and what stays of it."""

from __future__ import annotations

from pathlib import Path

from dump.writer import kernel_with_log

from cas.jobs.job import load_job
from cas.report.report import drawn
from cas.report.result import load
from cas.triage.rejudge import revived

from installed import Site


def test_evidence_stands_in_the_reports(finished: Site) -> None:
    (blocked,) = (
        each for each in finished.result("T-1")["detections"] if each["detector"] == "blocked"
    )
    assert blocked["status"] == "ok"
    (evidence,) = blocked["evidence"]
    assert evidence["weight"] == "context"
    assert " is blocked in cas_stuck_read for " in evidence["sentence"]
    text = (finished.job("T-1") / "report.txt").read_text()
    section = text.partition("\nEvidence\n--------\n")[2].partition("\n\n")[0]
    assert evidence["sentence"] in " ".join(section.split())
    assert f"to see it: {evidence['command']}" in section


def test_modules_that_taint_are_evidence_and_its_commands_run(finished: Site) -> None:
    (found,) = (
        each for each in finished.result("T-1")["detections"] if each["detector"] == "modules"
    )
    told = [each["sentence"] for each in found["evidence"]]
    assert told[0].startswith("code of cas_oops (O: out-of-tree module) is on the stack of the")
    assert told[-1].startswith("3 loaded modules taint the kernel: cas_oops (O), ")
    commands = dict.fromkeys(each["command"] for each in found["evidence"])
    words = [word for command in commands for word in ("-c", command)]
    done = finished.cas("debug", "T-1", "--engine", "drgn", *words)
    assert done.returncode == 0, done.stderr
    assert "cas_oops      O\n" in done.stdout


def test_reports_with_evidence_are_drawn_again_byte_for_byte(finished: Site) -> None:
    directory = finished.job("T-1")
    report = revived(load(directory), load_job(directory))
    assert report.detections
    for name, content in drawn(report).items():
        assert content == (directory / name).read_bytes()


def test_a_job_that_waits_names_the_eater_by_its_log(site: Site, tmp_path: Path) -> None:
    log = Path(__file__).parents[1] / "klog" / "shortages" / "slab-6.1.log"
    lines = [line.partition("] ")[2] for line in log.read_text().splitlines()]
    upload = tmp_path / "vmcore"
    upload.write_bytes(kernel_with_log(lines))
    done = site.cas("-i", "T-1", "-f", upload)
    assert done.returncode == 6, done.stderr
    sentence = "slab cas_record holds 98.9 MiB of 113.6 MiB, 87 %"
    assert f"evidence: {sentence}" in done.stdout + done.stderr
    (memory,) = site.result("T-1")["detections"]
    assert memory["detector"] == "memory"
    assert sentence in (site.job("T-1") / "report.txt").read_text()
    steps = site.result("T-1")["finding"]["next_steps"]
    assert any(step.startswith("a slab that grows is a leak") for step in steps)
    assert not any(step.startswith("memory ran out") for step in steps)

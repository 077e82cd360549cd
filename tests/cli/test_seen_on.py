"""Crashes of one machine and of one model, counted from the installed command."""

from __future__ import annotations

import json
import lzma
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cas.files.digest import Fingerprint
from cas.jobs.job import load_job

from installed import FIXTURES, Site

MODEL = "linux,dummy-virt (DT)"


def test_crashes_of_one_model_are_counted_also_of_jobs_that_were_analysed_before(
    put_waiting: Callable[[Site, str], Site], site: Site, tmp_path: Path
) -> None:
    put_waiting(site, "arm64")
    first = site.result("T-1")["finding"]
    assert (first["machine"], first["seen"]["model"]) == (
        {"model": MODEL, "bios": None, "bios_date": None},
        None,
    )
    # as a release before would have left it
    old = site.job("T-1")
    result = json.loads((old / "result.json").read_text())
    del result["finding"]["machine"]
    (old / "result.json").write_text(json.dumps(result))
    job = load_job(old)
    files = {**job.files, "result.json": Fingerprint.of(old / "result.json")}
    replace(job, files=files).save()
    assert site.admin("index").returncode == 0

    # another crash of the same kind: the same kernel log would be no occurrence
    dump = tmp_path / "vmcore"
    packed = FIXTURES / "arm64" / "vmcore.elf.xz"
    other = lzma.decompress(packed.read_bytes()).replace(
        b"Memory Limit: none", b"Memory Limit: 8192"
    )
    dump.write_bytes(other)
    assert site.cas("-i", "T-2", "-f", dump).returncode == 6
    seen = site.result("T-2")["finding"]["seen"]
    assert (seen["model"], seen["same"]["count"]) == (None, 1)

    done = site.admin("reprocess", "all")
    assert done.returncode == 0, done.stderr
    assert site.admin("reprocess", "all").stdout.endswith("0 changed, 2 unchanged\n")
    told = site.result("T-2")["finding"]["seen"]["model"]
    assert (told["name"], told["count"], told["signatures"]) == (MODEL, 1, 1)
    assert site.result("T-1")["finding"]["seen"]["model"] is None
    report = (site.job("T-2") / "report.txt").read_text()
    assert f"\nMachine     {MODEL}\n" in report
    assert f"Seen on machines of this model ({MODEL}) crashed one other time" in " ".join(
        report.split()
    )
    assert (site.job("T-1") / "report.txt").read_text().count("Seen on") == 0

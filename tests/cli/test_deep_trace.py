"""The deep trace that a job has by itself: its files, the report, and no verdict hangs on it."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from write_schemas import GLIDE, path_of

from installed import Site

HELD = "struct cas_ledger *ledger = 0x"


@pytest.fixture
def traced(site_b: Site) -> Site:
    """A site whose jobs have a deep trace, and modules of its own."""
    (site_b.directory / "glide").mkdir()
    site_b.keep_snippets("sys")
    own = {"deepTrace": "Yes", "engine": "drgn", "glide": str(site_b.directory / "glide")}
    site_b.settings |= own
    return site_b


def test_every_job_has_what_panicked_and_ran(finished: Site) -> None:
    job, told = finished.job("T-1"), finished.result("T-1")["glide"]
    assert (told["status"], told["engine"], told["path"]) == ("ok", "drgn", "glide.txt")
    text = (job / "glide.txt").read_text()
    lines = text.splitlines()
    assert lines[0].startswith("Linux 6.1.192-1.cas1.x86_64; modules: core")
    assert [line.partition(", ")[2] for line in lines if line.startswith("pid ")] == [
        "panic task, R (running)",
        "on CPU 0, R (running)",
    ]
    assert "== core ==" in lines and told["size_bytes"] == len(text.encode())
    records = [json.loads(line) for line in (job / "glide.jsonl").read_text().splitlines()]
    schema = jsonschema.Draft202012Validator(json.loads(path_of(GLIDE).read_text()))
    for record in records:
        schema.validate(record)
    assert (records[0]["dump"], records[-1]["kind"]) == (f"T-1/{job.name}", "end")
    assert records[-1]["frames"] == sum(line.startswith("#") for line in lines)


def test_the_report_has_it_folded(finished: Site) -> None:
    job = finished.job("T-1")
    page, text = ((job / name).read_text() for name in ("report.html", "report.txt"))
    head = '<h3>Deep trace: the task that panicked, and what was on the CPUs</h3> <a class="name"'
    before, _, behind = page.partition(head)
    assert before.endswith("<details>\n<summary>") and HELD in behind
    assert behind.startswith(' href="./glide.txt">glide</a> <span class="status ok">ok, drgn, ')
    assert "Deep trace: the task that panicked" in text and HELD in text
    seal = json.loads((job / "job.json").read_text())["files"]
    assert {"glide.txt", "glide.jsonl"} <= seal.keys()


def test_a_trace_that_kills_drgn_costs_no_verdict(traced: Site, vmcore_b: Path) -> None:
    module = traced.directory / "glide" / "cas_glide_core.py"
    module.write_text("import os\ndef end(trace):\n    os.kill(os.getpid(), 11)\n")
    done = traced.cas("-i", "T-1", "-f", vmcore_b)
    assert done.returncode == 0, done.stderr
    told = traced.result("T-1")
    assert (told["verdict"], told["sections"][0]["status"]) == ("complete", "ok")
    assert told["glide"]["status"] == "crashed"
    assert "drgn was killed by SIGSEGV" in told["glide"]["error"]
    assert "panic task" in (traced.job("T-1") / "glide.txt").read_text()


@pytest.mark.parametrize(
    ("hook", "does", "said"),
    [
        ("end", "[trace.say('x' * 400) for _ in range(2000)]", "it has more than 1.0 MiB"),
        ("frame", "__import__('time').sleep(1.9)", "the 10 s for it were over"),
    ],
)
def test_a_trace_ends_at_its_bounds_and_says_so(
    traced: Site, vmcore_b: Path, hook: str, does: str, said: str
) -> None:
    for name in ("core", "virtio", "dm"):
        module = traced.directory / "glide" / f"cas_glide_{name}.py"
        module.write_text(
            f"def matches(trace):\n    return True\ndef {hook}(trace, *_):\n    {does}\n"
        )
    done = traced.cas("-i", "T-1", "-f", vmcore_b)
    assert done.returncode == 0, done.stderr
    told, job = traced.result("T-1"), traced.job("T-1")
    assert (told["verdict"], told["sections"][0]["status"]) == ("complete", "ok")
    assert told["glide"]["error"].startswith(f"cut: {said}")
    assert f"\n! cut: {said}" in (job / "glide.txt").read_text()
    last = json.loads((job / "glide.jsonl").read_text().splitlines()[-1])
    assert (last["kind"], last["cut"][: len(said)]) == ("end", said)


def test_a_module_that_writes_into_the_channel_costs_no_verdict(
    traced: Site, vmcore_b: Path
) -> None:
    module = traced.directory / "glide" / "cas_glide_core.py"
    told = "    for n in range(3, 30):\n        try:\n            os.write(n, b'junk\\n')\n"
    module.write_text(
        f"import os\ndef end(trace):\n{told}        except OSError:\n            pass\n"
    )
    done = traced.cas("-i", "T-1", "-f", vmcore_b)
    assert done.returncode == 0, done.stderr
    result = traced.result("T-1")
    assert (result["verdict"], result["sections"][0]["status"]) == ("complete", "ok")
    assert result["glide"]["error"] == "drgn's process wrote what is no answer, and was ended"


@pytest.mark.long
def test_a_module_that_hears_no_alarm_costs_seconds_and_no_verdict(
    traced: Site, vmcore_b: Path
) -> None:
    module = traced.directory / "glide" / "cas_glide_core.py"
    module.write_text(
        "import signal, time\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\ntime.sleep(1000)\n"
    )
    done = traced.cas("-i", "T-1", "-f", vmcore_b)
    assert done.returncode == 0, done.stderr
    result = traced.result("T-1")
    assert (result["verdict"], result["sections"][0]["status"]) == ("complete", "ok")
    assert result["glide"]["status"] == "timeout"
    assert result["glide"]["error"] == "timed out after 15 s"


def test_a_module_that_cannot_be_read_costs_the_sites_modules_alone(
    traced: Site, vmcore_b: Path
) -> None:
    (traced.directory / "glide" / "cas_glide_core.py").write_bytes(b"\xff")
    done = traced.cas("-i", "T-1", "-f", vmcore_b)
    assert done.returncode == 0, done.stderr
    assert "the deep trace does without the site's modules" in done.stderr
    assert "== core ==" in (traced.job("T-1") / "glide.txt").read_text()


def test_a_site_may_do_without_it(traced: Site, vmcore_b: Path) -> None:
    traced.settings["deepTrace"] = "No"
    assert traced.cas("-i", "T-1", "-f", vmcore_b).returncode == 0
    assert traced.result("T-1")["glide"] is None
    assert not list(traced.job("T-1").glob("glide*"))

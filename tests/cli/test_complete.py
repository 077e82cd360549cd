"""What `complete` promises: that everything ran which the dump's kernel has something for."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from fake_crash import loop

from installed import FIXTURES, Site, needs

OLD = (
    '#!/bin/sh\n[ "$1" != --version ] || { echo crash 8.0.2; exit; }\n'
    "echo x >> %s; echo 'crash: vmlinux and vmcore do not match!'; exit 1\n"
)


def use_crash(site: Site, script: str) -> None:
    program = site.directory / "crash"
    program.write_text(script)
    program.chmod(0o755)
    site.settings |= {"crash": str(program), "respawnInterval": "0.1", "stopInterval": "0.5"}


def by_name(result: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {section["name"]: section for section in result["sections"]}


@pytest.mark.parametrize(
    ("part", "engine"),
    [
        ("b", "drgn"),
        ("arm64", "drgn"),
        pytest.param("b", "crash", marks=pytest.mark.long),
        pytest.param("a", "crash", marks=pytest.mark.long),
    ],
)
def test_the_shipped_dumps_are_complete_and_what_their_kernels_lack_is_skipped(
    site: Site,
    catalogued: Callable[[Site, str], Site],
    finished_of: Callable[[str], Site],
    part: str,
    engine: str,
) -> None:
    if engine == "drgn":
        site = finished_of(part)
    else:
        (upload,) = (FIXTURES / part).glob("vmcore*")
        done = catalogued(site, part).cas("-i", "T-1", "-f", upload, "--engine", engine)
        assert done.returncode == 0, done.stderr
    result = site.result("T-1")
    assert result["engine"] == engine
    assert (result["verdict"], result["reason"]) == ("complete", None)
    sections = by_name(result)
    assert {section["status"] for section in sections.values()} <= {"ok", "skipped"}
    if part != "a":
        swap = sections["swap"]
        told = "this kernel has no symbol swap_info or nr_swapfiles"
        assert (swap["status"], swap["engine"], swap["error"]) == ("skipped", "none", told)
        assert "\nswap " not in (site.job("T-1") / "crash.in").read_text()
        text = " ".join((site.job("T-1") / "report.txt").read_text().split())
        assert f"(swap: skipped: {told})" in text
        told = "this kernel has no symbol init_net or dev_base_head or dev_base"
        assert sections["network"]["error"] == told


def test_a_snippet_of_the_sites_that_is_wrong_is_named_and_keeps_its_rest(
    site_b: Site, vmcore_b: Path
) -> None:
    directory = site_b.keep_snippets("sys")
    (directory / "mine").write_text("# title: Mine\nsys\nnosuchcommand\nmach\n")
    (directory / "template").write_text("{{ nosuch }}\n")
    (directory / "program").write_text("#!/nowhere/sh\n")
    (directory / "program").chmod(0o755)
    (directory / "fits").write_text("# needs: symbol=init_task config=SMP\nsys\n")
    (directory / "elsewhere").write_text("# needs: type=task_struct.nosuch\nnosuchcommand\n")
    site_b.settings["engine"] = "drgn"
    done = site_b.cas("-i", "T-1", "-f", vmcore_b)
    assert done.returncode == 3, done.stderr
    result = site_b.result("T-1")
    assert result["reason"] == "of 6 snippets 3 could not be used (program, template, mine)"
    sections = by_name(result)
    assert {name: section["status"] for name, section in sections.items()} == {
        "elsewhere": "skipped",
        "fits": "ok",
        "mine": "partly",
        "program": "failed",
        "sys": "ok",
        "template": "failed",
    }
    text = (site_b.job("T-1") / "mine").read_text()
    assert "NODENAME" in text
    assert "MACHINE TYPE" in text
    statuses = [each["status"] for each in sections["mine"]["commands"]]
    assert statuses == ["ok", "failed", "ok"]


@pytest.mark.long
def test_memory_that_the_dump_lacks_makes_it_partial(site_a: Site, vmcore: Path) -> None:
    directory = site_a.keep_snippets("sys")
    (directory / "mine").write_text("rd ffff888fffff0000\n")
    site_a.settings["engine"] = "drgn"
    assert site_a.cas("-i", "T-1", "-f", vmcore).returncode == 3
    reason = site_a.result("T-1")["reason"]
    assert reason.startswith("of 2 snippets 1 wanted memory that the dump does not have (mine: rd ")


def test_a_crash_that_is_too_old_costs_one_start_and_one_sentence(
    site_b: Site, vmcore_b: Path
) -> None:
    site_b.keep_snippets("log", "sys")
    starts = site_b.directory / "starts"
    use_crash(site_b, OLD % starts)
    site_b.settings["sandbox"] = "none"
    done = site_b.cas("-i", "T-1", "-f", vmcore_b)
    assert done.returncode == 0, done.stderr
    assert "! crash 8.0.2 is too old for 6.1: drgn did it\n" in done.stderr
    assert starts.read_text() == "x\n"
    result = site_b.result("T-1")
    assert (result["verdict"], result["engine"]) == ("complete", "drgn")
    assert result["ladder"] == ["crash", "drgn"]
    assert "Oops: 0000" in (site_b.job("T-1") / "log").read_text()
    assert "--engine drgn " in (site_b.job("T-1") / "crash").read_text()


def test_what_crash_cannot_answer_drgn_answers_in_its_place(site_b: Site, vmcore_b: Path) -> None:
    site_b.keep_snippets("log", "sys", "traceback")
    answers = (
        'case "$w $x" in "log ") echo "WARNING: cannot read prb_desc_ring contents";;'
        ' "sys -t") echo "sys: -t option not supported";; *) echo "crash says $w $x";; esac'
    )
    use_crash(site_b, f"#!/bin/sh\n{loop(answers)}")
    done = site_b.cas("-i", "T-1", "-f", vmcore_b)
    assert done.returncode == 0, done.stderr
    result = site_b.result("T-1")
    assert (result["verdict"], result["engine"]) == ("complete", "crash")
    sections = by_name(result)
    assert [sections[name]["engine"] for name in ("log", "sys", "traceback")] == [
        "drgn",
        "crash",
        "crash",
    ]
    job = site_b.job("T-1")
    assert "Oops: 0000" in (job / "log").read_text()
    assert "prb_desc_ring" not in (job / "log").read_text()
    first, second = (job / "sys").read_text().splitlines()
    assert first == "crash says sys "
    assert second.startswith("TAINTED_MASK")
    (remark,) = [text for text in result["remarks"] if "could not answer" in text]
    assert remark.startswith("crash could not answer 2 commands, drgn did: log: ")


@pytest.mark.long
@pytest.mark.parametrize(
    "script",
    [
        pytest.param("exec cat", marks=pytest.mark.long),
        'while read -r w x; do [ "$w" = echo ] && echo "$x" || echo "$w"; done',
    ],
)
def test_a_program_that_only_repeats_what_it_is_told_is_no_crash(
    site_a: Site, vmcore: Path, script: str
) -> None:
    site_a.keep_snippets("sys")
    use_crash(site_a, f"#!/bin/sh\n{script}\n")
    site_a.settings |= {"watchdog": "1"}
    done = site_a.cas("-i", "T-1", "-f", vmcore)
    assert done.returncode == 0, done.stderr
    assert "and repeats what it is told: drgn did it" in done.stderr
    assert site_a.result("T-1")["engine"] == "drgn"
    done = site_a.cas("-i", "T-2", "-f", vmcore, "--engine", "crash")
    assert done.returncode == 4, done.stderr


@pytest.mark.long
def test_a_crash_behind_a_terminal_gives_what_crash_gives(site_a: Site, vmcore: Path) -> None:
    site_a.keep_snippets("sys", "traceback")
    crash, python = needs("crash"), needs("python3")
    spawn = f"import pty, sys; pty.spawn(['{crash}', *sys.argv[1:]])"
    site_a.settings["sandbox"] = "none"  # which need not show that Python
    use_crash(site_a, f'#!/bin/sh\nexec {python} -c "{spawn}" "$@"\n')
    assert site_a.cas("-i", "T-1", "-f", vmcore).returncode == 0
    site_a.settings["crash"] = crash
    assert site_a.cas("-i", "T-2", "-f", vmcore).returncode == 0
    assert [site_a.result(ticket)["engine"] for ticket in ("T-1", "T-2")] == ["crash"] * 2
    texts = [(site_a.job(ticket) / "traceback").read_text() for ticket in ("T-1", "T-2")]
    assert texts[0] == texts[1]
    assert "cas_sum_entries" in texts[0]


def test_the_reason_of_a_dump_that_is_cut_fits_on_a_screen(
    site_a: Site, tmp_path: Path, vmcore: Path
) -> None:
    flat = tmp_path / "flat"
    with flat.open("wb") as file:
        argv = [needs("makedumpfile"), "-c", "-d", "31", "-F", vmcore]
        subprocess.run(argv, stdout=file, stderr=subprocess.DEVNULL, check=True)
    with flat.open("r+b") as file:
        file.truncate(flat.stat().st_size // 2)
    done = site_a.cas("-i", "T-1", "-f", flat, "--engine", "drgn")
    assert done.returncode == 3, done.stderr
    reason = site_a.result("T-1")["reason"]
    assert "of 22 snippets 2" in reason
    assert len(reason) < 1000
    assert len(done.stderr) < 3000

"""What a job leaves in the ticket's directory."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest
from made_sites import SAID

from cas.jobs import layout

from installed import FIXTURES, Site

SECTIONS = ("traceback", "sys", "log", "modules", "memory", "blocked", "ps", "runqueues")
KEYS = [
    "version",
    "verdict",
    "stage",
    "reason",
    "offset",
    "limits_hit",
    "engine",
    "ladder",
    "kernel",
    "evidence",
    "sections",
    "signature",
    "similar",
]


def test_the_directory_holds_what_the_manual_says(finished: Site) -> None:
    job = finished.job("T-1")
    for name in [
        "T-1.log",
        "crash",
        "crash.in",
        "crash.out",
        "report.txt",
        "report.html",
        "result.json",
        "vmcore/vmcore.elf",
    ]:
        assert (job / name).is_file(), name


@pytest.mark.parametrize("name", SECTIONS)
def test_every_snippet_has_its_output(finished: Site, name: str) -> None:
    assert (finished.job("T-1") / name).stat().st_size > 0


def test_crash_in_ends_in_exit(finished: Site) -> None:
    lines = (finished.job("T-1") / "crash.in").read_text().splitlines()
    assert lines[-1] == "exit"
    assert "bt >> traceback" in lines


def test_the_result_has_every_key_of_the_design(finished: Site) -> None:
    result = finished.result("T-1")
    assert [key for key in KEYS if key not in result] == []
    assert (result["verdict"], result["engine"]) == ("complete", "drgn")
    assert result["evidence"] == "build-id"


def test_the_report_names_the_line_that_crashed(finished: Site) -> None:
    text, _, _ = (finished.job("T-1") / "report.txt").read_text().partition("\n\nLocation:")
    screen = text.splitlines()
    assert len(screen) <= 24
    assert "BUG: kernel NULL pointer dereference" in text
    assert "cas_oops" in text
    assert "drivers/cas/cas_oops.c:" in text
    assert "kworker" in text
    assert all(len(line) <= 80 for line in screen)


def test_the_backtrace_crosses_the_module_with_file_line_and_inlined_frames(
    finished: Site,
) -> None:
    frames = finished.result("T-1")["answer"]["backtrace"]
    inside = [frame for frame in frames if frame["kmod"] == "cas_oops"]
    assert len(inside) > 1
    assert all(frame["file"].endswith("cas_oops.c") and frame["line"] for frame in inside)
    assert any(frame["inlined"] for frame in inside)
    assert frames[-1]["function"] == "ret_from_fork"


def test_modules_are_those_that_were_loaded(finished: Site) -> None:
    found = {path.name for path in (finished.job("T-1") / "usr").rglob("*.ko*")}
    loaded = {kmod["name"] for kmod in finished.result("T-1")["answer"]["kmods"]}
    assert {name.partition(".")[0].replace("-", "_") for name in found} == loaded
    assert "nf-cas-dummy.ko.debug" in found
    assert "cas_spare.ko.debug" not in found


def test_of_a_dump_without_checksums_it_is_said_that_all_bytes_are_there(finished: Site) -> None:
    assert finished.result("T-1")["dump"]["checked"] == "length"
    assert "all bytes are there" in (finished.job("T-1") / "report.txt").read_text()


def test_everything_is_private(finished: Site) -> None:
    modes = {path: path.stat().st_mode for path in finished.jobs.rglob("*")}
    assert [path for path, mode in modes.items() if stat.S_IMODE(mode) & 0o077] == []


def test_the_log_has_times(finished: Site) -> None:
    first = (finished.job("T-1") / "T-1.log").read_text().splitlines()[0]
    assert first[:4].isdigit()


def test_earlier_crashes_are_seen_and_the_same_dump_is_told_apart(
    waiting: Site, vmcore: Path
) -> None:
    site = waiting
    assert "seen before" not in (site.directory / SAID).read_text()
    again = site.cas("-i", "T-1", "-f", vmcore)
    one, two = site.job_directories("T-1")
    assert f"* seen before: the same dump as T-1/{one.name}\n" in again.stderr
    told = json.loads((two / "result.json").read_text())
    assert f"the same dump as T-1/{one.name} (signature" in (two / "report.txt").read_text()

    other = site.cas("-i", "T-2", "-f", FIXTURES / "b" / "vmcore.kdump")
    day = json.loads((one / "result.json").read_text())["started"][:10]
    said = f"the same crash once, on {day}: T-1; kernel 6.1.192-1.cas1.x86_64"
    assert f"* seen before: {said}\n" in other.stderr
    result = site.result("T-2")
    assert result["similar"] == result["finding"]["similar"] == ["T-1"]
    assert result["finding"]["seen"]["same"]["count"] == 1
    assert result["finding"]["seen"]["similar"] is None
    for name in ("report.txt", "report.html"):
        text = re.sub("<.*?>", "", " ".join((site.job("T-2") / name).read_text().split()))
        assert f"{said} (signature {told['signature']})" in text


def test_every_file_is_a_section_or_has_a_name_that_no_section_can_have(finished: Site) -> None:
    sections = {section["name"] for section in finished.result("T-1")["sections"]}
    found = {path.name for path in finished.job("T-1").iterdir()}
    others = {name for name in found - sections if not name.startswith(".")}
    assert [name for name in others if not layout.is_own(name)] == []
    assert [name for name in sections if layout.is_own(name)] == []


@pytest.mark.long
@pytest.mark.parametrize("name", [pytest.param("log", marks=pytest.mark.long), "T-1.log"])
def test_a_dump_called_like_a_result_takes_nobodys_place(
    site_a: Site, tmp_path: Path, vmcore: Path, name: str
) -> None:
    site_a.settings["engine"] = "drgn"
    site_a.keep_snippets("log", "sys")
    upload = tmp_path / name
    upload.symlink_to(vmcore)
    done = site_a.cas("-i", "T-1", "-f", upload)
    assert done.returncode == 0, done.stderr
    job, result = site_a.job("T-1"), site_a.result("T-1")
    assert (job / "log").read_text().startswith("[    0.000000] Linux version 6.1.192")
    assert {section["name"] for section in result["sections"]} == {"log", "sys"}
    assert "sandbox of the debuggers" in (job / "T-1.log").read_text()
    assert Path(result["dump"]["path"]) == job / "vmcore" / name
    assert site_a.admin("check").returncode == 0
    told = site_a.cas("debug", "T-1", "--engine", "drgn", "-c", "sys")
    assert "6.1.192-1.cas1.x86_64" in told.stdout, told.stderr


def test_the_submitted_file_is_untouched(site: Site, tmp_path: Path) -> None:
    site.settings["debugs"] = str(tmp_path / "debugs")
    upload = tmp_path / "vmcore 'of'\nT-9.xz"
    upload.write_bytes((FIXTURES / "a" / "vmcore.elf.xz").read_bytes())
    before = upload.read_bytes(), upload.stat()
    done = site.cas("-i", "T-9", "-f", upload)
    after = upload.stat()
    assert done.returncode == 6, done.stderr
    assert upload.read_bytes() == before[0]
    assert (after.st_mtime_ns, after.st_mode) == (before[1].st_mtime_ns, before[1].st_mode)

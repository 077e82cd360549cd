"""Uploads, jobs and what people say of crashes, all at once: nothing is lost, and nothing twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_crashes import CUT, FILTERED, FULL, files_of_crash
from ready_commands import Started

from cas.archive.archive import Archive
from cas.files.digest import Fingerprint

from installed import Running, Site


def ended(site: Site, words: tuple[str, ...], process: Running | Started) -> tuple[int, str, str]:
    said, complained = process.communicate(timeout=300)
    assert process.returncode is not None
    assert "internal error" not in complained, (words, complained)
    return process.returncode, said, complained


@pytest.mark.parametrize(
    ("crashes", "uploads", "jobs"),
    [(2, 2, 1), pytest.param(10, 2, 4, marks=pytest.mark.long)],
)
def test_uploads_jobs_and_annotations_at_once_lose_nothing(
    site: Site, tmp_path: Path, crashes: int, uploads: int, jobs: int
) -> None:
    site.settings["debugs"] = str(site.directory / "debugs")
    files = [files_of_crash(tmp_path / "given" / str(number), number) for number in range(crashes)]
    ids = [site.cas("object", each[FULL]).stdout.strip() for each in files]
    assert len(set(ids)) == crashes
    first = files_of_crash(tmp_path / "given" / "0", 0)
    assert site.cas("upload", first[CUT]).returncode == 0
    calls: list[tuple[str, ...]] = []
    for each in files:
        calls += [("upload", str(each[FULL]))] * uploads
    for number in range(jobs):
        calls.append(("-i", f"J-{number}", "-f", str(files[number % crashes][FILTERED])))
    calls += [("ticket", ids[0], "T-1"), ("set", ids[0], "triage", "bmc")]
    running = [(words, site.start("cas", *words)) for words in calls]
    done = [ended(site, words, process) for words, process in running]
    for words, (status, said, complained) in zip(calls, done, strict=True):
        assert status == (6 if words[0] == "-i" else 0), (words, status, complained)
        if words[0] == "upload":
            assert said.strip() == ids[int(Path(words[1]).parent.name)]
    assert len(site.cas("ls").stdout.splitlines()) == 1 + crashes
    archive = Archive.of(site.world().config)
    assert list(archive.ids()) == sorted(ids)
    for number, crash_id in enumerate(ids):
        info = archive.read(crash_id)
        wanted = {FULL} | ({CUT} if not number else set())
        names = [f"J-{job}" for job in range(jobs) if job % crashes == number]
        wanted |= {FILTERED} if names else set()
        assert {file.name for file in info.files} == wanted
        assert len(info.files) == len(wanted)
        for file in info.files:
            path = archive.path_of(info, file)
            assert path
            assert Fingerprint(file.size_bytes, str(file.digest)).fits(path)
            assert path.stat().st_nlink == (1 + len(names) if file.name == FILTERED else 1)
        assert sorted({name.partition("/")[0] for name in info.jobs}) == names
        assert info.set_tickets == (() if number else ("T-1",))
        assert info.properties == ({} if number else {"triage": "bmc"})
        assert info.best_file
        assert info.facts_of == info.best_file.digest
        assert archive.answers(crash_id) == [info.answer]
        shown = json.loads(site.cas("info", crash_id).stdout)
        assert (shown["presence"], len(shown["files"])) == ("here", len(wanted))
    assert list((archive.path / "incoming").iterdir()) == []
    assert list((archive.path / "unindexed").iterdir()) == []

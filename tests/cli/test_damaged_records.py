"""One damaged record costs one job, in every verb."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from installed import Site

SCHEMAS = Path(__file__).parents[2] / "schemas"
WRONG_JOBS: dict[str, dict[str, Any]] = {
    "order": {"order": "T-1"},
    "ticket": {"order": {"ticket": 5, "upload": "/x"}},
    "upload": {"order": {"ticket": "T-1", "upload": None}},
    "outside": {"order": {"ticket": "../../x", "upload": "/x"}},
    "started": {"started": 7},
    "years": {"started": "0001-01-01T00:00:00+00:00"},
    "stages": {"stages": {"received": 1}},
    "stored": {"stored": {"vmcore": 5}},
    "escaping": {"stored": {"vmcore": "../../../etc/passwd"}},
    "verdict": {"verdict": ["waiting"]},
    "files": {"files": {"sys": 3}},
    "later": {"version": 2},
}
WRONG_RESULTS: dict[str, dict[str, Any]] = {
    "ticket": {"ticket": {}},
    "started": {"started": None},
    "dump": {"dump": "x"},
    "release": {"dump": {"path": "/x", "format": "ELF", "size_bytes": 1, "arch": 5}},
    "kernel": {"kernel": [1]},
    "vmlinux": {"kernel": {"vmlinux": {}}},
    "answer": {"answer": {"kmods": 1}},
    "sections": {"sections": [5]},
    "panic": {"answer": {"panic_message": ["a"]}},
    "ladder": {"ladder": 3},
    "signature": {"signature": 5},
}


def spoil(site: Site, ticket: str, name: str, change: dict[str, Any] | bytes) -> Path:
    """A copy of T-1's job whose record is damaged."""
    job = site.jobs / ticket / site.job("T-1").name
    shutil.copytree(site.job("T-1"), job, copy_function=os.link)
    job.parent.chmod(0o700)
    record = job / name
    facts = json.loads(record.read_text())
    record.unlink()
    record.write_bytes(
        change if isinstance(change, bytes) else json.dumps({**facts, **change}).encode()
    )
    record.chmod(0o600)
    return job


@pytest.fixture(scope="module")
def spoilt(put_finished: Callable[[Path], Site], tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site with one sound job and many whose records are not."""
    site = put_finished(tmp_path_factory.mktemp("spoilt"))
    for name, change in WRONG_JOBS.items():
        spoil(site, f"J-{name}", "job.json", change)
    for name, change in WRONG_RESULTS.items():
        spoil(site, f"R-{name}", "result.json", change)
    spoil(site, "J-empty", "job.json", b"")
    spoil(site, "R-empty", "result.json", b"")
    assert site.admin("-b").returncode == 0
    return site


def directories(site: Site, kind: str) -> list[Path]:
    return [path.parent for path in sorted(site.jobs.glob(f"{kind}-*/*/job.json"))]


def test_index_enters_the_others(spoilt: Site) -> None:
    done = spoilt.admin("index")
    assert done.returncode == 4
    # a job's row is made of its result alone
    assert done.stdout == f"{len(WRONG_JOBS) + 2} jobs entered\n"
    for directory in directories(spoilt, "R"):
        assert f"{directory / 'result.json'} is damaged: " in done.stderr
    assert "internal error" not in done.stderr


def test_check_names_each_and_looks_at_the_others(spoilt: Site) -> None:
    done = spoilt.admin("check", "--quick")
    assert done.returncode == 4, done.stderr
    for directory in directories(spoilt, "J"):
        assert f"{directory}: {directory} holds no usable job.json: " in done.stdout
    for directory in directories(spoilt, "R"):
        assert f"{directory}: {directory / 'result.json'} is damaged: " in done.stdout
    assert f"broken {spoilt.job('T-1')}:" not in done.stdout


def test_reprocess_names_each_and_judges_the_others(spoilt: Site) -> None:
    done = spoilt.admin("reprocess", "--dry-run")
    assert done.returncode == 4
    damaged = len(directories(spoilt, "J")) + len(directories(spoilt, "R"))
    assert done.stdout == (
        f"{damaged + 1} jobs: 0 would change, 1 unchanged, {damaged} that cannot be judged\n"
    )
    for directory in directories(spoilt, "R"):
        assert f"{directory / 'result.json'} is damaged: " in done.stderr
    assert "internal error" not in done.stderr


@pytest.mark.parametrize("words", [("status",), ("resume",), ("-p", "--dry-run", "-d", "9")])
def test_the_other_verbs_go_on(spoilt: Site, words: tuple[str, ...]) -> None:
    done = spoilt.admin(*words)
    assert done.returncode == 0, done.stderr
    assert "internal error" not in done.stderr
    if words == ("status",):
        assert f"{len(WRONG_RESULTS) + 2} complete" in done.stdout
        assert f"{len(WRONG_JOBS) + 1} unreadable" in done.stdout


def test_debug_opens_what_has_a_sound_job_and_says_why_it_opens_no_other(spoilt: Site) -> None:
    for ticket in ("J-empty", "J-stored"):
        done = spoilt.cas("debug", ticket, "-c", "sys")
        assert done.returncode == 2, done.stderr
        assert "holds no usable job.json" in done.stderr
        # nor is it proposed
        done = spoilt.cas("-i", ticket)
        assert (done.returncode, "cas debug" in done.stderr) == (2, False), done.stderr
    # the dump and its kernel are found without the result
    done = spoilt.cas("debug", "R-vmlinux", "--engine", "drgn", "-c", "sys")
    assert "6.1.192-1.cas1.x86_64" in done.stdout, done.stderr


def test_an_old_record_that_cannot_be_read_does_not_block_its_ticket(waiting: Site) -> None:
    site = waiting
    old = site.jobs / "T-1" / "2001.01.01.00.00.00"
    old.mkdir(0o700)
    (old / "job.json").touch(0o600)
    done = site.cas("-i", "T-1")
    assert done.returncode == 6, done.stderr
    assert f"{old} holds no usable job.json" in done.stderr
    assert done.stdout == f"{site.job_directories('T-1')[-1]}\n"


def unknown(schema: dict[str, Any], part: dict[str, Any], facts: Any) -> Iterator[str]:
    """Keys that a schema does not have."""
    for one in part.get("anyOf", ()):
        if "$ref" in one or one.get("type") == "array":
            part = one
    if "$ref" in part:
        part = schema["$defs"][part["$ref"].rpartition("/")[2]]
    if isinstance(facts, list):
        for each in facts:
            yield from unknown(schema, part.get("items", {}), each)
    if isinstance(facts, dict) and "properties" in part:
        for key, value in facts.items():
            if key not in part["properties"]:
                yield key
            else:
                yield from unknown(schema, part["properties"][key], value)


def test_records_of_real_jobs_fit_the_schemas(
    finished: Site, waiting: Site, tmp_path: Path
) -> None:
    site = waiting
    (tmp_path / "note.txt").write_text("no dump")
    shutil.make_archive(str(tmp_path / "upload"), "gztar", tmp_path, "note.txt")
    assert site.cas("-i", "F", "-f", tmp_path / "upload.tar.gz").returncode == 4
    verdicts = set()
    for job in (finished.job("T-1"), site.job("T-1"), site.job("F")):
        for name in ("job", "result"):
            schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
            facts = json.loads((job / f"{name}.json").read_text())
            jsonschema.Draft202012Validator(schema).validate(facts)
            assert list(unknown(schema, schema, facts)) == []
            verdicts.add(facts["verdict"])
    assert verdicts == {"complete", "waiting", "failed"}

"""Notes on crashes without dumps: they count once, say what they are, and harm nobody."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from write_schemas import closed, path_of

from installed import COMMANDS, FIXTURES, Site

ROOT = Path(__file__).parents[2]
LOG = "forced-ext4-panic.log"
NOW = 1_796_000_000
TOP_3, TITLE = "c07e2c4b732e2de1", "6bf4d6ec043d0941"


def note(**changed: Any) -> dict[str, Any]:
    """A note as a crash kernel leaves it."""
    said = {
        "cas_note": 1,
        "time": NOW,
        "node": "db01",
        "release": "6.1.0-17-amd64",
        "signatures": {"version": 3, "title": TITLE, "top_3": TOP_3},
    }
    return {**said, **changed}


def upload(site: Site, told: object, *words: str) -> subprocess.CompletedProcess[str]:
    text = told if isinstance(told, str) else json.dumps(told)
    (site.directory / "note.json").write_text(text)
    return site.cas("upload", *words, "note.json")


def test_a_note_counts_once_and_says_what_it_is(site: Site) -> None:
    done = upload(site, note())
    assert done.returncode == 0, done.stderr
    assert f"noted, without a dump: the first crash with the signature {TOP_3}" in done.stderr
    crash_id = done.stdout.strip()
    again = upload(site, note(time=datetime.fromtimestamp(NOW, UTC).isoformat()))
    assert (again.returncode, again.stdout.strip()) == (0, crash_id)
    assert "has this note" in again.stderr
    given = site.cas("-i", "T-1", "-f", "note.json")
    assert given.returncode == 4 and "to: cas upload NOTE.json\n" in given.stderr
    piped = site.cas("upload", "-", input=json.dumps(note()))
    assert piped.returncode == 4 and "stdin is a note, without a dump" in piped.stderr
    other = upload(site, note(node="db02"))
    assert other.returncode == 0 and f"2 crashes have the signature {TOP_3}" in other.stderr
    told = json.loads(site.cas("info", crash_id).stdout)
    schema = closed(json.loads(path_of("cas info").read_text()))
    jsonschema.Draft202012Validator(schema).validate(told)
    assert (told["type"], told["presence"], told["files"]) == ("note", "noted", [])
    assert (told["node"], told["time"], told["signatures"]["top_3"]) == ("db01", NOW, TOP_3)
    assert len(site.cas("ls", "type=note").stdout.splitlines()) == 3
    assert json.loads(site.cas("report", "presence").stdout) == {"noted": 2}
    assert site.cas("groups").stdout.splitlines()[1].split()[:3] == [TOP_3, "2", "2"]
    assert site.cas("groups").stdout.splitlines()[2] == "  2 notes without a dump"
    (group,) = json.loads(site.cas("groups", "--json").stdout)["groups"]
    assert (group["crashes"], group["notes"]) == (2, 2)
    assert "only a note" in site.cas("debug", crash_id).stderr
    assert site.admin("index").returncode == 0
    assert json.loads(site.cas("info", crash_id).stdout) == told
    assert site.admin("check").returncode == 0
    assert site.admin("skiplist").stdout.count("\n") == 1


def test_a_crash_with_a_dump_takes_the_place_of_its_note(site: Site, vmcore_b: Path) -> None:
    crash_id = site.cas("object", vmcore_b).stdout.strip()
    assert upload(site, note(id=crash_id)).stdout.strip() == crash_id
    assert site.cas("upload", vmcore_b).returncode == 0
    told = json.loads(site.cas("info", crash_id).stdout)
    assert (told["type"], told["presence"]) == ("crash", "here")
    done = upload(site, note(id=crash_id, node="other"))
    assert (done.returncode, done.stdout.strip()) == (0, crash_id)
    assert "has a dump" in done.stderr
    assert json.loads(site.cas("report", "type").stdout) == {"crash": 1}
    # of another id it is another crash
    assert upload(site, note()).returncode == 0
    assert json.loads(site.cas("report", "type").stdout) == {"crash": 1, "note": 1}


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ('{"cas_note": 1, "x": "' + "x" * (1 << 17) + '"}', "more than 64 KiB"),
        ('{"cas_note": 1, "x": ' + "[" * 5000 + "]" * 5000 + "}", "nested too deeply"),
        ('{"cas_note": 1, "time": NaN}', "NaN is no number"),
        ('{"cas_note": 1, "cas_note": 1}', "a key stands there twice"),
        ('{"cas_note": 1', "it is no JSON"),
        (note(cas_note=2), "cas_note"),
        (note(time=True), "time"),
        (note(time=1e12), "time"),
        (note(time=4_000_000_000), "lies in the future"),
        (note(time=-5), "before 1970"),
        (note(time="yesterday"), "is none"),
        (note(time="2026-11-29T22:53:20"), "no time zone"),
        (note(node="a\x1b[31mb"), "node"),
        (note(node="a\nb"), "node"),
        (note(node=7), "node"),
        (note(node=""), "node"),
        (note(node="x" * 300), "node"),
        (note(node="\ud800"), "node"),
        (note(release=None), "release"),
        (note(signatures={"version": 3}), "neither the signature"),
        (note(signatures={"version": 2, "title": TITLE}), "of the rules 2"),
        (note(signatures={"version": 3, "title": "zz"}), "signatures.title"),
        (note(id="../../etc"), "id"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 30 else "",
)
def test_a_hostile_note_is_refused_in_a_sentence(site: Site, told: object, said: str) -> None:
    done = upload(site, told)
    assert (done.returncode, done.stdout) == (4, "")
    assert "note.json is no usable note: " in done.stderr and said in done.stderr
    assert "Traceback" not in done.stderr and "\x1b" not in done.stderr
    assert len(done.stderr) < 800
    assert not list(site.jobs.rglob("info.json"))


def test_notes_of_another_program_come_by_a_mapping(site: Site) -> None:
    (text,) = re.findall(
        r"```toml\n(time = .*?)```", (ROOT / "docs" / "upkeep.md").read_text(), re.S
    )
    (site.directory / "theirs.toml").write_text(text)
    theirs = {
        "crash": {"when": NOW},
        "host": {"name": "db07"},
        "uname": "6.1.0",
        "known": {"signature": TOP_3},
    }
    done = upload(site, theirs, "--mapping", "theirs.toml")
    assert done.returncode == 0, done.stderr
    assert json.loads(site.cas("info", done.stdout.strip()).stdout)["node"] == "db07"
    done = upload(site, {**theirs, "uname": None}, "--mapping", "theirs.toml")
    assert done.returncode == 4 and "it has no 'uname'" in done.stderr
    for text, said in (
        ("tme = 'x'", "no field 'tme'"),
        ("time = 7", "`time`"),
        ("=", "no mapping"),
    ):
        (site.directory / "wrong.toml").write_text(text)
        done = upload(site, theirs, "--mapping", "wrong.toml")
        assert done.returncode == 2 and said in done.stderr, done.stderr
    assert upload(site, theirs, "--mapping", "absent.toml").returncode == 2


def test_the_script_of_the_guide_skips_what_is_known_and_nothing_else(site: Site) -> None:
    """The whole way: a dump is kept, a crash kernel has its log alone, its note is counted."""
    site.settings["debugs"] = str(site.directory / "debugs")
    vmcore = FIXTURES / "b" / "vmcore.kdump"
    assert site.cas("upload", vmcore).returncode == 0
    listed = site.admin("skiplist", "--json")
    told = json.loads(listed.stdout)
    schema = closed(json.loads(path_of("cas-admin skiplist --json").read_text()))
    jsonschema.Draft202012Validator(schema).validate(told)
    (known,) = told["crashes"]
    assert site.cas("info", known["exemplar"]).returncode == 0
    (site.directory / "list").write_text(site.admin("skiplist").stdout)
    text = (ROOT / "docs" / "upkeep.md").read_text()
    (script,) = re.findall(r"```sh\n(#!/bin/sh\n# skip-known.*?)```", text, re.S)
    (log,) = site.jobs.rglob("answers/*/log")
    programs = site.directory / "bin"
    programs.mkdir()
    for name, content in (
        ("skip-known", script),
        ("vmcore-dmesg", f"#!/bin/sh\nexec cat {site.directory}/dmesg\n"),
    ):
        (programs / name).write_text(content)
        (programs / name).chmod(0o755)
    environment = {**site.prepared(), "TMPDIR": str(site.directory)}
    environment["PATH"] = f"{programs}:{COMMANDS}:{os.environ['PATH']}"

    def crashed(content: str) -> int:
        (site.directory / "dmesg").write_text(content)
        argv = ["skip-known", "list", "note.json"]
        return subprocess.run(argv, env=environment, cwd=site.directory, check=False).returncode

    assert crashed((ROOT / "tests" / "findings" / "logs" / LOG).read_text()) == 1
    assert crashed("nothing") == 1
    assert not (site.directory / "note.json").exists()
    assert crashed(log.read_text()) == 0
    done = site.cas("upload", "note.json")
    assert done.returncode == 0, done.stderr
    assert f"2 crashes have the signature {known['signature']}" in done.stderr
    assert site.cas("-i", "T-2", "-f", vmcore).returncode == 6
    assert "1 note without a dump" in (site.job("T-2") / "report.txt").read_text().replace(
        "\n", " "
    )
    assert site.admin("skiplist", "--at-least", "3").stdout.count("\n") == 1
    assert site.admin("skiplist", "--at-least", "0").returncode == 2
    dump = Path(json.loads(site.cas("info", known["exemplar"]).stdout)["dump"])
    dump.chmod(stat.S_IRUSR | stat.S_IWUSR)
    dump.write_bytes(b"cut")
    assert site.admin("skiplist").stdout.count("\n") == 1

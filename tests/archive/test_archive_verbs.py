"""The archive as users meet it: every crash that a job analysed, asked for and annotated."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import subprocess
from pathlib import Path

import jsonschema
import pytest
from write_schemas import closed, path_of

from cas.commands.meant_job import find_dump
from cas.jobs.job import Job

from installed import COMMANDS, Site, needs

HEADER = "NAME             TYPE  TIME                NODE/CMD         TICKET"


@pytest.fixture
def site(site: Site) -> Site:
    """One whose jobs wait for a kernel: they end in a moment, and their dumps are kept."""
    site.settings["debugs"] = str(site.directory / "debugs")
    return site


def archived(site: Site, vmcore: Path, ticket: str = "T-1") -> str:
    """The id of a dump's crash, once a job has brought it into the archive."""
    done = site.cas("-i", ticket, "-f", vmcore)
    assert done.returncode == 6, done.stderr
    return site.cas("object", vmcore).stdout.strip()


def rows(site: Site, *words: str) -> list[list[str]]:
    done = site.cas("ls", *words)
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()[1:]]


def info(site: Site, *words: str) -> dict[str, object]:
    done = site.cas("info", *words)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_of_nothing_the_header_is_listed(site: Site) -> None:
    assert site.cas("ls").stdout == f"{HEADER}\n"
    assert site.cas("report").stdout == "0\n"
    for word in ('__import__("os")', "x);", "T-9", "'; DROP TABLE crashes; --"):
        done = site.cas("ls", word)
        assert (done.returncode, done.stdout) == (0, f"{HEADER}\n")
    assert site.cas("ls", "--json").stdout == "[]\n"
    done = site.cas("info")
    assert (done.returncode, done.stdout) == (1, "")


def test_a_lost_database_is_told_and_made_anew(site: Site, small: Path) -> None:
    crash_id = archived(site, small)
    Path(site.settings["database"]).unlink()
    done = site.cas("ls")
    assert (done.returncode, done.stdout) == (0, f"{HEADER}\n")
    assert "does not know every crash of the archive; run: cas-admin index" in done.stderr
    assert site.admin("index").returncode == 0
    done = site.cas("ls")
    assert crash_id[:16] in done.stdout and not done.stderr


def test_a_property_that_no_crash_has_is_told(site: Site, small: Path) -> None:
    crash_id = archived(site, small)
    told = "no crash has the property platform; to see what it has: cas info SPEC"
    for words in (("ls", "platform=6*"), ("ls", "type=crash", "platform"), ("report", "platform")):
        assert told in site.cas(*words).stderr
    assert told.replace("platform", crash_id) in site.cas("ls", crash_id[:8], crash_id).stderr
    for words in (("ls", "platform=undefined", "node"), ("report", "type=crash", "release")):
        assert not site.cas(*words).stderr


def test_a_job_is_in_the_archive_with_a_second_name_for_its_dump(site: Site, small: Path) -> None:
    crash_id = archived(site, small)
    assert rows(site) == [[crash_id[:16], "crash", rows(site)[0][2], rows(site)[0][3], "T-1"]]
    found = info(site, "T-1")
    assert found["id"] == crash_id
    kept, own = Path(str(found["dump"])), site.job("T-1") / "vmcore" / small.name
    assert kept.samefile(own)
    assert kept.stat().st_mode & 0o777 == 0o400
    assert (found["presence"], found["whole"], found["format"]) == ("here", True, "KDUMP")
    for word in (crash_id, crash_id[:4], "T-1/latest", found["jobs"][0], str(small)):  # type: ignore[index]
        assert info(site, word)["id"] == crash_id


def test_what_is_not_there_has_status_2_and_what_cannot_be_meant_1(
    site: Site, small: Path, tmp_path: Path
) -> None:
    (tmp_path / "text").write_text("no dump")
    for words in (("T-9",), ("abcdef",), (str(small),), ("node=x",)):
        assert site.cas("info", *words).returncode == 2, words
    garbage = (("zz!",), ("mtime=10x",), (str(tmp_path / "text"),), ("=x",), ("",), ("id=7",))
    for words in garbage:
        done = site.cas("info", *words)
        assert (done.returncode, done.stdout) == (1, ""), words
    assert "invalid time suffix" in site.cas("info", "mtime=10x").stderr


@pytest.mark.parametrize(
    ("verb", "behind"),
    [
        *(("info", ()), ("similar", ()), ("unticket", ()), ("hold", ()), ("unhold", ())),
        *(("set", ("name", "value")), ("unset", ("name",)), ("ticket", ("T-1",))),
        ("analyze", ("signature",)),
    ],
)
def test_a_status_tells_what_cannot_be_meant_from_what_is_not_there(
    site: Site, verb: str, behind: tuple[str, ...]
) -> None:
    statuses = [
        site.cas(verb, *words, *behind).returncode
        for words in (("mtime=10x",), ("node=nobody",), ("--nosuch", "node=nobody"))
    ]
    assert statuses == [1, 2, 2]
    assert site.cas(verb).returncode == (1 if verb == "info" else 2)


def test_a_word_that_means_two_things_is_listed(site: Site, small: Path) -> None:
    crash_id = site.cas("object", small).stdout.strip()
    ticket = crash_id[:6]
    archived(site, small, ticket)
    done = site.cas("info", ticket)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [f"ticket={ticket}", f"id={ticket}"]
    for word in done.stdout.splitlines():
        assert info(site, word)["id"] == crash_id


def test_a_url_is_told_without_its_secrets(site: Site) -> None:
    url = "https://user:secret@example.com/x"
    for words in (("info", url), ("signature", "T-1", url), ("ls", url), ("debug", url)):
        done = site.cas(*words)
        assert "secret" not in done.stdout + done.stderr, words


def test_what_lies_about_by_chance_is_not_meant(site: Site, small: Path) -> None:
    crash_id = archived(site, small)
    (site.directory / "node").mkdir()
    (site.directory / "kind").write_text("no dump")
    (site.directory / "T-1").mkdir()
    shutil.copy(small, site.directory / "copy")
    for words in (("node",), ("kind",), ("T-1",), ("copy",), ("./copy", "kind")):
        assert rows(site, *words)[0][0] == crash_id[:16]
    for word in ("./kind", "./T-1"):
        assert site.cas("ls", word).returncode == 1
    (site.directory / "T-1").rmdir()
    shutil.copy(small, site.directory / "T-1")
    done = site.cas("ls", "T-1")
    assert (done.returncode, done.stdout) == (1, "ticket=T-1\n./T-1\n")


def test_hostile_values_stay_in_their_cells(site: Site, small: Path) -> None:
    archived(site, small)
    assert site.cas("set", "T-1", "esc", "\x1b[31mred\n\u202e").returncode == 0
    assert site.cas("set", "T-1", "long", "x" * 100_000).returncode == 0
    assert site.cas("set", "T-1", "nul", input="a\0b").returncode == 0
    assert site.cas("set", "T-1", "deep", '{"a.b": [{"c d": 1}]}').returncode == 0
    head, line = site.cas("ls", "T-1", "esc", "deep.a.b", "nul", "long").stdout.splitlines()
    assert head.split()[-4:] == ["ESC", "B", "NUL", "LONG"]
    assert "\\x1b[31mred \\u202e" in line
    assert line.index('{"c d": 1}') == head.index("B ", head.index("ESC"))
    assert r"a\x00b" in line
    assert "more characters" in line
    assert len(head) < 200
    for words in (("node=" + "x" * 100_000,), ("x" * 100_000,), ("\x1b[0m",)):
        done = site.cas("ls", *words)
        assert (done.returncode, done.stdout) == (0, f"{HEADER}\n")
        assert "\x1b" not in done.stderr
        assert len(done.stderr) < 400


def test_what_is_printed_as_json_is_what_the_schemas_say(site: Site, vmcore_b: Path) -> None:
    crash_id = archived(site, vmcore_b)
    assert site.cas("hold", crash_id, "mine").returncode == 0
    printed = (
        *((("info", crash_id), "cas info"), (("ls", "--json"), "cas ls --json")),
        *((("jobs", "--json"), "cas jobs --json"), (("groups", "--json"), "cas groups --json")),
        (("similar", crash_id, "--json"), "cas similar --json"),
    )
    for words, name in printed:
        schema = closed(json.loads(path_of(name).read_text()))
        found = json.loads(site.cas(*words).stdout)
        jsonschema.Draft202012Validator(schema).validate(found)
    (listed,) = json.loads(site.cas("ls", "T-1", "--json", "jobs", "files.format").stdout)
    assert (listed["id"], listed["files.format"]) == (crash_id, ["KDUMP"])


def test_properties_and_tickets_are_said_of_crashes_and_by_whom(site: Site, small: Path) -> None:
    crash_id = archived(site, small)
    assert site.cas("set", crash_id[:8], "triage", "bmc").stdout == "set triage: 1 crash\n"
    text = '{"category": "SMF", "engineer": "o\'x\\n$HOME"}'
    assert site.cas("set", "type=crash", "more", input=text).returncode == 0
    assert rows(site, "triage=bmc", "more.category")[0][-1] == "SMF"
    assert info(site, "T-1")["properties"] == {"triage": "bmc", "more": json.loads(text)}
    assert json.loads(site.cas("report", "triage").stdout) == {"bmc": 1}
    of_objects = site.cas("report", "more")
    assert json.loads(of_objects.stdout) == {}
    assert "name a property of them, as more.NAME" in of_objects.stderr
    assert site.cas("unset", "T-1", "triage").returncode == 0
    assert len(rows(site, "triage=undefined")) == 1
    assert rows(site, "ticket=undefined") == []
    refused = site.cas("ticket", "type=crash")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert site.cas("ticket", "type=crash", "a=b").returncode == 1
    assert site.cas("ticket", "T-1", "X-1").returncode == 0
    assert rows(site, "ticket=X-1")[0][-1] == "T-1,X-1"
    record = json.loads((archive_of(site, crash_id) / "info.json").read_text())
    assert {one["by"] for one in record["changes"]} == {getpass.getuser()}
    assert [one["what"] for one in record["changes"]] == [
        *("set triage", "set more", "unset triage", "ticket X-1"),
    ]
    assert site.cas("unticket", "ticket=X-1").returncode == 0
    kept = site.cas("unticket", "T-1", "T-1")
    assert kept.stdout == "unticket T-1: 1 crash, of which 0 changed\n"
    assert kept.stderr == "! 1 crash keeps T-1: that of a job goes with the job\n"
    assert rows(site)[0][-1] == "T-1"


def archive_of(site: Site, crash_id: str) -> Path:
    return site.directory / "cores" / ".archive" / "objects" / crash_id[:2] / crash_id


def test_ids_come_through_standard_input(site: Site, small: Path) -> None:
    archived(site, small)
    listed = site.cas("ls").stdout
    assert site.cas("ls", "dump=stdin", input=listed).stdout == listed
    assert site.cas("ls", "type=core", "dump=stdin", input=listed).stdout == f"{HEADER}\n"
    done = site.cas("ls", "dump=stdin", "kind", input=f"{listed}{'ab' * 16}\n0000\n")
    assert "2 ids of standard input" in done.stderr
    assert done.stdout.split()[-1] == rows(site, "kind")[0][-1]
    for text in ("garbage\n", "\0\0\n", "\x1b\n", "abc\n"):
        done = site.cas("ls", "dump=stdin", input=text)
        assert (done.returncode, done.stdout) == (1, "")
    assert site.cas("ls", "dump=stdin", input="").stdout == f"{HEADER}\n"


def test_the_index_can_be_made_anew_and_prints_what_it_printed(
    site: Site, vmcore_b: Path, tmp_path: Path
) -> None:
    archived(site, vmcore_b)
    assert site.cas("set", "T-1", "triage.engineer", "bmc").returncode == 0
    calls = (("ls",), ("ls", "triage.engineer", "stack"), ("info", "T-1"), ("report", "release"))
    before = [site.cas(*words).stdout for words in calls]
    for file in tmp_path.glob("cas.db*"):
        file.unlink()
    assert site.admin("index").returncode == 0
    assert [site.cas(*words).stdout for words in calls] == before


def test_jobs_of_before_are_taken_over_without_a_copy(site: Site, small: Path) -> None:
    crash_id = archived(site, small)
    shutil.rmtree(site.directory / "cores" / ".archive")
    own = site.job("T-1") / "vmcore" / small.name
    assert own.stat().st_nlink == 1
    assert site.admin("index").returncode == 0
    assert own.stat().st_nlink == 2
    assert rows(site)[0][0] == crash_id[:16]


def test_what_a_file_became_is_seen_when_it_is_asked_for(site: Site, small: Path) -> None:
    crash_id = archived(site, small)
    dump = Path(str(info(site, "T-1")["dump"]))
    content = dump.read_bytes()
    dump.chmod(0o600)
    os.truncate(dump, 100)
    assert rows(site, "presence=truncated")[0][0] == crash_id[:16]
    dump.unlink()
    assert rows(site, "presence")[0][-1] == "missing"
    dump.write_bytes(content)
    assert rows(site, "presence=missing") == []


def test_another_job_on_the_same_dump_adds_its_ticket_and_no_copy(site: Site, small: Path) -> None:
    archived(site, small)
    assert site.cas("set", "T-1", "triage", "bmc").returncode == 0
    crash_id = archived(site, small, "T-2")
    found = info(site, crash_id)
    assert (found["ticket"], found["properties"]) == ("T-1,T-2", {"triage": "bmc"})
    dump = Path(str(found["dump"]))
    for ticket in ("T-1", "T-2"):
        assert dump.samefile(site.job(ticket) / "vmcore" / small.name)
    newest = find_dump([crash_id], site.world())
    assert isinstance(newest, Job)
    assert newest.directory == site.job("T-2")
    assert len(found["files"]) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("is_ticketed", [False, True])
def test_a_purge_frees_what_no_job_and_no_set_ticket_needs(
    site: Site, small: Path, *, is_ticketed: bool
) -> None:
    archived(site, small)
    crash_id = archived(site, small, "T-2")
    dump = Path(str(info(site, crash_id)["dump"]))
    if is_ticketed:
        assert site.cas("ticket", crash_id, "KEEP").returncode == 0
    assert site.admin("-p", "-d", "0", "--unfinished", "--yes").returncode == 0
    assert dump.exists() is is_ticketed
    found = info(site, crash_id)
    assert found["presence"] == ("here" if is_ticketed else "purged")
    assert found.get("ticket") == ("KEEP" if is_ticketed else None)


def test_what_is_judged_anew_is_known_to_the_archive(site: Site, vmcore_b: Path) -> None:
    """And an older job on the same file does not take the place of what a newer one found out."""
    crash_id = archived(site, vmcore_b)
    record = archive_of(site, crash_id) / "info.json"
    found = json.loads(record.read_text())
    title, newer = found["facts"]["title"], found["facts_at_s"] + 1000
    for at_s, expected in ((found["facts_at_s"], title), (newer, "old")):
        found |= {"facts": found["facts"] | {"title": "old"}, "facts_at_s": at_s}
        record.write_text(json.dumps(found))
        assert site.admin("reprocess", "T-1").returncode == 0
        assert info(site, "T-1")["title"] == expected


def test_jobs_are_listed_and_shown_and_like_crashes_told(
    site: Site, vmcore: Path, vmcore_b: Path
) -> None:
    crash_id = archived(site, vmcore_b)
    other = archived(site, vmcore, "T-2")
    stopped = site.job("T-1").with_name("2027.01.01.00.00.00")
    stopped.mkdir(mode=0o700)
    record = json.loads((site.job("T-1") / "job.json").read_text())
    record |= {"verdict": None, "stored": None, "files": {}, "stages": ["received"]}
    (stopped / "job.json").write_text(json.dumps(record))
    head, *lines = site.cas("jobs").stdout.splitlines()
    assert head.split() == ["JOB", "STATE", "STARTED", "KERNEL", "CRASH"]
    told = [line.split()[:2] for line in lines]
    named = [f"{path.parent.name}/{path.name}" for path in site.job_directories("T-1")]
    (second,) = site.job_directories("T-2")
    assert told == [
        [f"T-2/{second.name}", "waiting"],
        *([name, "waiting" if name in named[:1] else "stopped"] for name in named),
    ]
    assert all("NULL pointer dereference" in line for line in lines[:2])
    for words in (("T-2",), (other,), ("ticket=T-2",), (str(vmcore),)):
        shown = site.cas("show", *words).stdout
        assert shown == (second / "report.txt").read_text()
    assert site.cas("show", "T-9").returncode == 2
    assert site.cas("show", "type=crash").returncode == 1
    head, line = site.cas("similar", crash_id).stdout.splitlines()
    assert head.split()[-1] == "ALIKE"
    assert line.startswith(other[:16])
    assert line.endswith(" same (full)")
    head, line = site.cas("groups").stdout.splitlines()
    assert line.split()[1] == "2"
    assert "cas jobs" in site.cas("results").stderr


def test_an_id_is_told_by_kilobytes_of_a_dump(site: Site, vmcore: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    reads = ("-e", "trace=read,pread64,preadv,preadv2,mmap", "-P", vmcore, "-o", trace)
    program = (COMMANDS / "cas", "object", vmcore)
    argv = [needs("strace"), "-f", "-qq", *reads, *program]
    done = subprocess.run(argv, env=site.prepared(), capture_output=True, text=True, check=True)
    assert len(done.stdout) == 33
    ends = [line.rpartition(" = ")[2].split()[0] for line in trace.read_text().splitlines()]
    assert ends
    assert sum(map(int, filter(str.isdigit, ends))) <= 64 << 10
    assert "mmap" not in trace.read_text()

"""``cas export`` as users type it: what comes out, where it goes, and what it never does."""

from __future__ import annotations

import getpass
import gzip
import io
import json
import re
import stat
import tarfile
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import pytest
import zstandard
from planted import HOST, SECRETS, SHORT, TELLING, WORDS, encoded, leaks, words_of_memory
from write_schemas import closed, path_of

from installed import Site

OOPS = f"""\
[    0.000000] Linux version 6.1.0-17-amd64 (debian-kernel@lists.debian.org) (gcc-12) #1 SMP
{TELLING}[    5.000000] BUG: kernel NULL pointer dereference, address: 0000000000000018
[    5.000001] #PF: supervisor read access in kernel mode
[    5.000002] Oops: 0000 [#1] PREEMPT SMP PTI
[    5.000003] CPU: 1 PID: 27 Comm: {SHORT}-sync Tainted: G           OE      6.1.0-17-amd64 #1
[    5.000004] Hardware name: Dell Inc. PowerEdge R640/0W23H8, BIOS 2.1.3 05/01/2021
[    5.000005] RIP: 0010:cas_sum_entries+0x18/0x38 [cas_oops]
[    5.000006] RAX: 0000000000000000 RBX: ffff9a3c41a0b800 RCX: 0000000000000000
[    5.000007] Call Trace:
[    5.000008]  cas_audit_ledger+0x30/0x50 [cas_oops]
[    5.000009]  cas_audit_work+0x14/0x20 [cas_oops]
[    5.000010]  process_one_work+0x1c5/0x380
"""
SURVIVES = (
    *(
        "cas_sum_entries+0x18/0x38 [cas_oops]",
        "6.1.0-17-amd64",
        "ffff9a3c41a0b800",
        "[    5.000006]",
    ),
    *("Dell Inc. PowerEdge R640/0W23H8, BIOS 2.1.3", "NULL pointer dereference in cas_sum_entries"),
)


@dataclass(frozen=True)
class Case:
    """A site whose archive has a crash of which log and properties name much."""

    site: Site
    crash: str


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Case:
    """One for all tests, each of which exports to a place of its own."""
    place = tmp_path_factory.mktemp("export")
    (place / "kernels").mkdir()
    settings = {
        "kernels": str(place / "kernels"),
        "workDirectory": str(place / "cores"),
        "debugs": str(shared / "debugs"),
        "database": str(place / "cas.db"),
    }
    site = Site(place, settings)
    memory = [f"[    4.000000] {line}" for line in words_of_memory(HOST.encode() * 2).splitlines()]
    log = place / f"{SHORT}.log"
    log.write_text("\n".join(memory) + "\n" + OOPS)
    done = site.cas("-i", SECRETS["ticket"], "-f", log)
    assert done.returncode == 3, done.stderr
    crash_id = site.cas("object", log).stdout.strip()
    told = {name: "\n".join(encoded(secret).values()) for name, secret in SECRETS.items()}
    assert site.cas("set", crash_id, "seen", input=json.dumps(told)).returncode == 0
    assert site.cas("set", crash_id, SHORT, "\n".join(WORDS)).returncode == 0
    (place / "words").write_text("# of the customer\n" + "\n".join(WORDS) + "\n")
    return Case(site, crash_id)


def contents(directory: Path) -> dict[str, str]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_text() for path in files}


def test_no_planted_secret_comes_out_and_the_report_is_of_use(case: Case, tmp_path: Path) -> None:
    site, crash = case.site, case.crash
    words = ("--redact", "--words", "words", "-o", tmp_path / "case")
    done = site.cas("export", crash, *words, "--key", tmp_path / "key")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"exported 1 crash to {tmp_path / 'case'}, redacted\n")
    found = contents(tmp_path / "case")
    for name, text in found.items():
        for secret in SECRETS.values():
            assert not leaks(text, secret), (name, secret)
            assert secret.lower() not in name.lower()
    report = {
        f"{crash}/{name}" for name in ("report.txt", "report.html", "result.json", "info.json")
    }
    assert report <= set(found)
    told = "\n".join(found.values())
    for text in SURVIVES:
        assert text in told
    assert str(site.directory) not in told and "HOST-1.log" in found[f"{crash}/result.json"]
    export = json.loads(found["export.json"])
    jsonschema.Draft202012Validator(
        closed(json.loads(path_of("export.json").read_text()))
    ).validate(export)
    counts = {one["replacement"]: one["count"] for one in export["replaced"]}
    assert counts["HOST-1"] == sum(
        len(re.findall(r"HOST-1(?!\d)", text))
        for name, text in found.items()
        if name != "export.json"
    )
    assert export["redacted"] and not export["has_dumps"]
    key = json.loads((tmp_path / "key").read_text())
    assert SHORT in key["HOST-1"] or SHORT in str(key)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    for path in (tmp_path / "case").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    record = json.loads((site.jobs / f".archive/objects/{crash[:2]}/{crash}/info.json").read_text())
    assert record["changes"][-1]["what"] == "export, redacted"
    assert record["changes"][-1]["by"] == getpass.getuser()


def test_an_export_that_is_not_redacted_says_so(case: Case, tmp_path: Path) -> None:
    site, crash = case.site, case.crash
    done = site.cas("export", SECRETS["ticket"], "--with-dump", "-o", tmp_path / "all.tar.zst")
    assert done.returncode == 0, done.stderr
    assert "not redacted: names, addresses and all, with dumps" in done.stdout
    packed = (tmp_path / "all.tar.zst").read_bytes()
    plain = zstandard.ZstdDecompressor().decompressobj().decompress(packed)
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        names = tar.getnames()
        assert {(one.uid, one.gid, one.uname, one.gname) for one in tar} == {(0, 0, "", "")}
        assert f"cas-export/{crash}/vmcore" in names
        kept = tar.extractfile("cas-export/export.json")
        assert kept
        made = json.load(kept)
        assert made["has_dumps"]
        (told,) = made["crashes"]
        assert "vmcore" not in {left["name"] for left in told["left_out"]}
    dump = Path(json.loads(site.cas("info", crash).stdout)["dump"])
    dump.rename(tmp_path / "away")
    done = site.cas("export", SECRETS["ticket"], "--with-dump", "-o", tmp_path / "without")
    (tmp_path / "away").rename(dump)
    assert "without the dump of 1 crash: it is not on this machine" in done.stdout
    assert ", with dumps" not in done.stdout


def test_what_cannot_be_meant_is_refused_and_leaves_nothing(case: Case, tmp_path: Path) -> None:
    site, crash = case.site, case.crash
    there, short = tmp_path / "there", tmp_path / "short"
    there.mkdir()
    short.write_text("ab\n")
    before = sorted(site.directory.iterdir())
    for words, said in (
        (("--redact", "--with-dump", "-o", "new"), "a dump cannot be redacted"),
        (("--redact", "-o", there), "is there already"),
        (("--redact", "-o", "nowhere/new"), "is no directory"),
        (("--redact", "-o", tmp_path / "new.zip"), "an archive ends with one of .tar"),
        (("--words", "words", "-o", "new"), "of use only with --redact"),
        (("--redact", "--words", short, "-o", "new"), "has fewer than 3 characters"),
        (("--redact", "--words", "absent", "-o", "new"), "cannot read absent"),
        (("--redact", "--key", "new/key", "-o", "new"), "must not lie in the export"),
    ):
        done = site.cas("export", crash, *words)
        assert done.returncode == 2 and said in done.stderr, (words, done.stderr)
    assert site.cas("export", "T-9", "-o", "new").returncode == 2
    assert sorted(site.directory.iterdir()) == before


def test_an_archive_is_for_its_owner_alone_and_stays(case: Case, tmp_path: Path) -> None:
    site, crash, path = case.site, case.crash, tmp_path / "a.tar.gz"
    assert site.cas("export", f"id={crash[:8]}", "--redact", "-o", path).returncode == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with tarfile.open(path) as tar:
        assert f"cas-export/{crash}/report.txt" in tar.getnames()
    before = path.read_bytes()
    assert site.cas("export", crash, "--redact", "-o", path).returncode == 2
    assert path.read_bytes() == before


ANALYZER = """\
cas_set found "$(cas_info node) in $(cas_info node | od -A n -t x1)"
"""


@pytest.mark.long
def test_what_a_dump_s_memory_and_an_analyzer_say_comes_out_without_names(
    site_a: Site, vmcore: Path
) -> None:
    site, node = site_a, "cas-guest"
    own = site.keep_snippets("log", "sys")
    (own / "names").write_text(
        "# title: Names in memory\nrd init_uts_ns 50\nrd -8 init_uts_ns 400\nrd -a linux_banner\n"
    )
    assert site.cas("-i", "T-1", "-f", vmcore).returncode in (0, 3)
    assert site.cas("analyzer", "names", input=ANALYZER).returncode == 0
    assert site.cas("analyze", "T-1", "names").returncode == 0
    (crash_id,) = json.loads(site.cas("ls", "--json").stdout)
    before = "".join(path.read_text() for path in site.job("T-1").glob("*") if path.name == "names")
    assert {"plain", "spaced"} <= set(leaks(before, node)) and "6575672d73616300" in before
    done = site.cas("export", "T-1", "--redact", "-o", "case")
    assert done.returncode == 0, done.stderr
    found = contents(site.directory / "case")
    for name, text in found.items():
        assert not leaks(text, node), name
        for part in ("6575672d73616300", "cas-gu", "guest"):
            assert part not in text, (name, part)
    place = site.directory / "case" / crash_id["id"]
    names = (place / "names").read_text()
    assert "78787878" in names and "Linux version 6.1.192-1.cas1.x86_64" in names
    assert "39312e312e36" in names  # of the release, in words
    assert "HOST-1" in json.loads(found[f"{crash_id['id']}/info.json"])["properties"]["found"]
    report = found[f"{crash_id['id']}/report.txt"]
    for kept in ("Title ", "cas_", "+0x", "6.1.192-1.cas1.x86_64"):
        assert kept in report
    result = json.loads((place / "result.json").read_text())
    schema = closed(json.loads(path_of("result.json").read_text()))
    jsonschema.Draft202012Validator(schema).validate(result)
    before_facts = site.result("T-1")
    assert result["finding"]["title"] == before_facts["finding"]["title"]
    assert result["answer"]["backtrace"] == before_facts["answer"]["backtrace"]
    assert result["registers"] == before_facts["registers"]


def test_a_job_is_exported_by_its_own_report_and_two_meanings_are_listed(
    case: Case, tmp_path: Path
) -> None:
    site, crash = case.site, case.crash
    log = site.directory / f"{SHORT}.log"
    assert site.cas("-i", crash[:6], "-f", log).returncode == 3
    (job,) = (site.jobs / SECRETS["ticket"]).iterdir()
    named = {}
    for word in (f"{job.parent.name}/{job.name}", SECRETS["ticket"], f"ticket={crash[:6]}"):
        target = tmp_path / f"case-{len(named)}"
        assert site.cas("export", word, "-o", target).returncode == 0
        result = target / crash / "result.json"
        named[word] = json.loads(result.read_text())["ticket"]
    assert list(named.values()) == [SECRETS["ticket"], SECRETS["ticket"], crash[:6]]
    done = site.cas("export", crash[:6], "-o", "new")
    assert (done.returncode, done.stdout) == (1, f"ticket={crash[:6]}\nid={crash[:6]}\n")
    assert not (site.directory / "new").exists()


def test_several_crashes_have_a_directory_each_and_one_name_for_a_machine(
    case: Case, tmp_path: Path
) -> None:
    site = case.site
    log = site.directory / "other.log"
    log.write_text(OOPS.replace("0000000000000018", "0000000000000028").replace("5.0000", "6.0000"))
    assert site.cas("-i", "T-2", "-f", log).returncode == 3
    note = {
        "cas_note": 1,
        "time": 1_700_000_000,
        "node": HOST,
        "release": "6.1.0",
        "signatures": {"version": 3, "top_3": "c07e2c4b732e2de1"},
    }
    (site.directory / "note.json").write_text(json.dumps(note))
    assert site.cas("upload", "note.json").returncode == 0
    assert site.cas("export", "time=100y", "--redact", "-o", tmp_path / "case").returncode == 0
    found = contents(tmp_path / "case")
    made = json.loads(found["export.json"])
    assert len(made["crashes"]) == 3
    (noted,) = (each for each in made["crashes"] if each["files"] == ["info.json"])
    host = json.loads(found[f"{noted['directory']}/info.json"])["node"]
    others = [text for name, text in found.items() if name.endswith("/log")]
    assert len(others) == 2 and all(f"Hostname set to <{host}>" in text for text in others)


def test_what_nobody_can_look_into_is_left_out_and_said(case: Case, tmp_path: Path) -> None:
    site, crash = case.site, case.crash
    log = site.job(SECRETS["ticket"]) / "log"
    before = log.read_bytes()
    log.write_bytes(gzip.compress(SHORT.encode()))
    done = site.cas("export", SECRETS["ticket"], "--redact", "-o", tmp_path / "case")
    log.write_bytes(before)
    assert done.returncode == 0, done.stderr
    found = contents(tmp_path / "case")
    assert f"{crash}/log" not in found
    (made,) = json.loads(found["export.json"])["crashes"]
    left_out = {one["name"]: one["why"] for one in made["left_out"]}
    assert left_out["log"] == "it is no text, and nobody can look into it"
    assert left_out["vmcore"] == "a dump is memory, which cannot be redacted"

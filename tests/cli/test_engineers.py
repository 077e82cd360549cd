"""Engineers with logins of their own, who use the store of ``casuser`` by sudo and own nothing."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from other_users import Company, require_mounts, shared_site

from installed import COMMANDS, FIXTURES, needs

PROJECT = Path(__file__).parents[2]
SUDOERS = PROJECT / "etc" / "cas.sudoers"


def test_the_lines_for_sudoers_can_be_read_by_sudo() -> None:
    visudo = needs("visudo")
    done = subprocess.run(
        [visudo, "-c", "-f", SUDOERS], capture_output=True, text=True, check=False
    )
    assert (done.returncode, "parsed OK" in done.stdout) == (0, True), done.stderr


@pytest.fixture
def company() -> Iterator[Company]:
    """alice is an engineer, bob is none; the store is of cas, as cas.conf and sudoers say."""
    for program in ("sudo", "useradd"):
        needs(program)
    with shared_site(FIXTURES / "b") as shared:
        site = Company(shared.directory, shared.settings)
        site.settings |= {"casuser": "cas", "engineerGroup": "engineers"}
        site.keep_snippets("sys")
        there = site.directory
        (there / "said").mkdir()
        (there / "bin").mkdir()
        for name in ("cas", "cas-admin"):
            (there / "bin" / name).symlink_to(COMMANDS / name)
        site.configure()
        script = f"""set -e
            cp -a /etc {there}/etc
            mount --bind {there}/etc /etc
            groupadd engineers
            useradd -M -d {there} -G engineers alice
            useradd -M -d {there} bob
            useradd -M -d {there} cas
            install -m 440 {SUDOERS} /etc/sudoers.d/cas
            install -m 644 {there}/cas.conf /etc/cas.conf
            install -d -o cas -m 700 {there}/cores {there}/debugs {there}/db"""
        done = site.run("unshare", "-m", "sh", "-c", script)
        require_mounts(done)
        yield site


@pytest.mark.long
def test_an_engineer_uses_every_verb_and_owns_nothing(company: Company, vmcore_b: Path) -> None:
    dump = company.directory / "vmcore"
    dump.write_bytes(vmcore_b.read_bytes())
    dump.chmod(0o644)
    sudo = "alice: sudo -n -u cas cas"
    company.say("cas: cas-admin -b")
    job, upload, listed, set_, ticket, hold, info, debug, by_root, bob = company.say(
        f"{sudo} -i T-1 -f - <{dump}",
        f"{sudo} upload - <{dump}",
        f"{sudo} ls",
        f"{sudo} set T-1 triage alice",
        f"{sudo} ticket T-1 KEEP",
        f"{sudo} hold T-1 audit",
        f"{sudo} info T-1",
        f"{sudo} debug T-1 --engine drgn -c sys",
        "root: cas set T-1 seen yes && cas ls && cas info T-1",
        "bob: sudo -n -u cas cas ls",
    )
    assert job.returncode == 0, job.stderr
    assert (upload.returncode, len(upload.stdout)) == (0, 33), upload.stderr
    assert " T-1\n" in listed.stdout, listed.stderr
    for done in (set_, ticket, hold):
        assert done.returncode == 0, done.stderr
    found = json.loads(info.stdout)
    assert (found["properties"], found["hold"]) == ({"triage": "alice"}, ["alice: audit"])
    assert (debug.returncode, "PANIC" in debug.stdout) == (0, True), debug.stderr
    assert by_root.returncode == 0, by_root.stderr
    assert (bob.returncode, bob.stdout) == (1, "")
    records = list(company.jobs.glob(".archive/objects/*/*/info.json"))
    (record,) = (json.loads(path.read_text()) for path in records)
    changes = [(one["what"], one["by"]) for one in record["changes"]]
    assert changes[:3] == [("set triage", "alice"), ("ticket KEEP", "alice"), ("hold", "alice")]
    assert [what for what, _ in changes[3:]] == ["set seen"]
    owners = {
        path.lstat().st_uid
        for place in ("cores", "db")
        for path in (company.directory / place).rglob("*")
    }
    assert owners == {(company.directory / "db").stat().st_uid}


def test_who_forgets_sudo_is_told_the_command_to_type(company: Company) -> None:
    company.say("cas: cas ls")
    answers = company.say(
        "alice: cas ls mtime=3d",
        'alice: cas set T-1 triage "it is mine"',
        "alice: cas debug T-1",
        f"alice: cas -i T-1 -f {FIXTURES / 'b' / 'vmcore.kdump'}",
        "bob: cas ls",
    )
    typed = (
        "cas ls mtime=3d",
        "cas set T-1 triage 'it is mine'",
        "cas debug T-1",
        f"cas -i T-1 -f {FIXTURES / 'b' / 'vmcore.kdump'}",
    )
    for answer, command in zip(answers, typed, strict=False):
        assert answer.returncode == 2, answer.stderr
        assert f"→ type: sudo -u cas {command}\n" in answer.stderr, answer.stderr
    *_, bob = answers
    assert (bob.returncode, "type: sudo" in bob.stderr) == (2, False), bob.stderr

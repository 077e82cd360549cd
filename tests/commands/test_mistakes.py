"""A wrong command line is answered with the right one."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

import cas.commands
import cas_admin.command_line
from cas.commands import command_line, habits, mistakes, wrong_file
from cas.errors import NotADump, UsageError
from cas.jobs.job import Job
from cas.jobs.order import Order
from cas.model.dump import Stored
from cas_admin import habits as admin_habits

PARSE = {"cas": cas.commands.parse, "cas-admin": cas_admin.command_line.parse_admin}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("vmcore", "vmcore.1", "vmcore.2", "my core", "-core"):
        (tmp_path / name).write_text("x")
    job = tmp_path / "cores/T-1/2026.11.21.13.51.06"
    job.mkdir(parents=True)
    (job / "job.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("cas", "cas -i TICKET -f FILE"),
        ("cas vmcore", "cas -i TICKET -f vmcore, or: cas identify vmcore"),
        ("cas -f vmcore", "cas -i TICKET -f vmcore"),
        ("cas vmcore.1 vmcore.2", "cas -i TICKET -f vmcore.1 -f vmcore.2"),
        ("cas T-1", "cas debug T-1 opens"),
        ("cas T-1 -f my\\ core", "cas -i T-1 -f 'my core'"),
        ("cas T-1 vmcore", "cas -i T-1 -f vmcore"),
        ("cas T-1 https://user:secret@example.com/vmcore", "cas -i T-1 -f URL"),
        ("cas list", "cas jobs"),
        ("cas status", "cas-admin status"),
        ("cas statsu --json", "cas-admin status --json"),
        ("cas idnetify vmcore", "cas identify vmcore"),
        ("cas help nonsense", "identify, debug, glide, jobs, show"),
        ("cas resume T-1", "cas -i T-1"),
        ("cas submit T-1 vmcore", "cas -i T-1 -f vmcore"),
        ("cas version", "cas --version"),
        ("cas -v", "cas --version"),
        ("cas -b --watch", "cas-admin -b --watch"),
        ("cas identify", "cas identify FILE"),
        ("cas identify vmcore.1 vmcore.2", "cas identify vmcore.1"),
        ("cas identify -f vmcore", "cas identify vmcore"),
        ("cas --json identify vmcore", "cas identify --json vmcore"),
        ("cas identify --jsno vmcore", "cas identify --json vmcore"),
        ("cas debug", "cas debug TICKET"),
        ("cas debug --enigne drgn T-1", "cas debug --engine drgn T-1"),
        ("cas debug T-1 --script=x --comand bt", "cas debug T-1 --script=x --command bt"),
        ("cas debug -c bt", "cas debug TICKET -c bt"),
        ("cas debug -c 'bt -a' --force", "cas debug TICKET -c 'bt -a' --force"),
        ("cas debug -x vmcore", "cas debug TICKET -x vmcore"),
        ("cas debug --engine=drgn", "cas debug TICKET --engine=drgn"),
        (
            "cas debug --kernel vmcore --host arm-03",
            "cas debug TICKET --kernel vmcore --host arm-03",
        ),
        ("cas identify --member vmcore", "cas identify FILE --member vmcore"),
        ("cas identify --json -f vmcore", "cas identify vmcore"),
        ("cas debug --config vmcore", "cas debug TICKET --config vmcore"),
        ("cas-admin host add --config x", "cas-admin host add HOST --config x"),
        ("cas -i T-1 debug", "cas debug T-1"),
        ("cas -i T-1 vmcore", "cas -i T-1 -f vmcore"),
        ("cas -i T-1 -f vmcore.1 vmcore.2", "cas -i T-1 -f vmcore.1 -f vmcore.2"),
        ("cas -i T-1 -f my core", "cas -i T-1 -f 'my core'"),
        ("cas -i T-1 -f vmcore -f vmcore", "-f once"),
        ("cas -i T-1 -f -core", "cas -i T-1 -f ./-core"),
        ("cas -i T-1 -f ''", "variable"),
        ("cas -i '' -f vmcore", "variable"),
        ("cas -i -T-1 -f vmcore", "-i ID: the ticket"),
        ("cas -i T-1 -e", "-e EMAIL: mail the results"),
        ("cas -i ./vmcore", "cas -i TICKET -f ./vmcore"),
        ("cas -i cores/T-1/2026.11.21.13.51.06", "cas -i T-1"),
        ("cas -i T-1/2026.11.21.13.51.06", "cas debug T-1/2026.11.21.13.51.06"),
        ("cas --enigne drgn -i T-1 -f vmcore", "cas --engine drgn -i T-1 -f vmcore"),
        ("cas -identifier T-1 -file vmcore", "cas --identifier T-1 --file vmcore"),
        ("cas \u2013i T-1 \u2014file vmcore", "cas -i T-1 --file vmcore"),
        ("cas 'identify vmcore'", "cas identify vmcore"),
        ("cas '-i T-1'", "cas -i T-1"),
        ("cas https://user:secret@example.com/vmcore", "cas -i TICKET -f URL"),
        ("cas -i T-1 https://user:secret@example.com/vmcore", "cas -i T-1 -f URL"),
        ("cas -i T-1 -f x https://example.com/vmcore?sig=secret", "for one dump"),
        ("cas -i https://user:secret@example.com/vmcore", "cas -i TICKET -f URL"),
        ("cas --fil=https://user:secret@example.com/x -m", "TICKET"),
        ("cas --fiel=https://user:secret@example.com/x -m", "did you mean --file? cas URL -m"),
        ("cas analyse mtime=1w uptime", "cas analyze SPEC ANALYZER"),
        ("cas init", "cas upload FILE"),
        ("cas jobs T-1", "cas ls T-1 jobs"),
        (f"cas {'x' * 5000}", "identify, debug, glide, jobs, show"),
        ("cas-admin", "cas-admin status"),
        ("cas-admin list", "cas-admin host list"),
        ("cas-admin hosts", "cas-admin host list"),
        ("cas-admin host", "cas-admin host add|list"),
        ("cas-admin host lsit", "cas-admin host list"),
        ("cas-admin host add", "cas-admin host add HOST"),
        ("cas-admin stauts", "cas-admin status"),
        ("cas-admin status --jsn", "cas-admin status --json"),
        ("cas-admin --json status", "cas-admin status --json"),
        ("cas-admin identify vmcore", "cas identify vmcore"),
        ("cas-admin -i T-1 -f vmcore", "cas -i T-1 -f vmcore"),
        ("cas-admin -p 30", "cas-admin -p -d 30"),
        ("cas-admin -d 30", "cas-admin -p -d 30"),
        ("cas-admin --watch", "cas-admin -b --watch"),
        ("cas-admin -b /srv", "`kernels`"),
        ("cas-admin resume T-1", "cas -i T-1"),
        ("cas-admin kernels 6.1 6.2", "cas-admin kernels '"),
    ],
)
def test_a_wrong_command_is_answered_with_the_right_one(here: Path, wrong: str, right: str) -> None:
    program, *argv = shlex.split(wrong)
    with pytest.raises(UsageError) as caught:
        PARSE[program](argv)
    assert right in caught.value.hint
    assert "secret" not in f"{caught.value}{caught.value.hint}"
    assert caught.value.exit_code == 2


def test_two_tickets_are_none() -> None:
    with pytest.raises(UsageError, match="-i was given twice: T-1 and T-2"):
        PARSE["cas"](["-i", "T-1", "-i", "T-2", "-f", "x"])


@pytest.mark.parametrize("words", [["help"], ["help", "debug"], ["identify", "--help"]])
def test_help_is_given_in_every_form(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        PARSE["cas"](words)
    assert end.value.code == 0
    assert "usage: cas" in capsys.readouterr().out


def test_a_tilde_that_no_shell_has_replaced_is_the_home_directory(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(here))
    assert PARSE["cas"](["-i", "T-1", "--file=~/vmcore"]).uploads == (here / "vmcore",)
    (here / "~").mkdir()
    (here / "~/vmcore").touch()
    assert PARSE["cas"](["-i", "T-1", "-f", "~/vmcore"]).uploads == (Path("~/vmcore"),)


@pytest.mark.parametrize("option", ["--kaslr=auto", "--hex", "--minimal", "--hash=8"])
def test_options_of_crash_are_no_misspelt_ones(option: str) -> None:
    command_line.parse(["debug", "T-1", option])


def test_the_programs_know_each_others_verbs() -> None:
    parser = cas_admin.command_line.admin_parser()
    assert {*habits.HABITS.other_verbs} == {*mistakes.parser_verbs(parser)}
    assert {*admin_habits.HABITS.other_verbs} == {*mistakes.parser_verbs(cas.commands.parser())}
    assert {*habits.ADMIN_OPTIONS} <= {*mistakes.parser_options(parser)}
    for known, own in ((habits.HABITS, cas.commands.parser()), (admin_habits.HABITS, parser)):
        assert not {*known.meant} & {*mistakes.parser_verbs(own)}


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("crash/127.0.0.1-2026", "cas -i T-9 -f crash/127.0.0.1-2026/vmcore"),
        ("cores/T-1/2026.11.21.13.51.06", "cas -i T-1 -f FILE"),
        ("vmcore.?", "cas -i T-9 -f vmcore.1, or: cas -i T-9 -f vmcore.2"),
        ("vmcor", "cas -i T-9 -f vmcore"),
        ("db03:/var/crash/vmcore", "cas -i T-9 -f sftp://db03/var/crash/vmcore"),
        ("-", "... | cas -i TICKET -f -"),
        ("nowhere/at/all", "check the path"),
        ("crash", "name the dump, or an archive"),
    ],
)
def test_a_file_that_is_none_is_answered_with_the_one_that_was_meant(
    here: Path, wrong: str, right: str
) -> None:
    directory = here / "crash/127.0.0.1-2026"
    directory.mkdir(parents=True)
    (directory / "vmcore").write_bytes(b"KDUMP   " + bytes(5000))
    (directory / "vmcore-dmesg.txt").write_text("[    0.000000] Linux version\n")
    os.mkfifo(directory / "a-fifo")
    with pytest.raises(NotADump) as caught:
        wrong_file.require_dump_file(Path(wrong), ("-i", "T-9", "-f"))
    assert right in caught.value.hint


def test_of_a_job_only_that_is_proposed_which_can_be_done(here: Path) -> None:
    job = Job(here / "cores/T-1/2026.11.21.13.51.06", Order("T-1", here), datetime.now(UTC))
    job.save()
    with pytest.raises(NotADump) as caught:
        wrong_file.require_dump_file(job.directory, ("-i", "T-9", "-f"))
    assert caught.value.hint == "it is a job; to go on with it: cas -i T-1"
    vmcore = job.directory / "vmcore" / "vmcore"
    vmcore.parent.mkdir()
    vmcore.touch()
    replace(job.having("stored"), stored=Stored(vmcore), verdict="complete").save()
    with pytest.raises(NotADump) as caught:
        wrong_file.require_dump_file(job.directory, ("-i", "T-9", "-f"))
    assert caught.value.hint.endswith("to open a debugger on it: cas debug T-1/2026.11.21.13.51.06")
    assert "go on" not in caught.value.hint

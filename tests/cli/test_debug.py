"""``cas debug``: the debugger on the right dump and kernel, in a pipe and on a terminal."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from fake_crash import opened
from person import person

from cas import elf
from cas.findings.advice import shipped_advice
from cas.jobs.job import load_job

from installed import COMMANDS, Site, needs

PANIC_FRAME = "cas_audit_ledger"
ID = "81561b88fc316209f6d1adc62e3e31a14f1760c3"
DRGNS = "TAINTED_MASK: 1080  GDO\n"
"""What `sys -t` prints there."""


@pytest.fixture
def job(finished: Site, tmp_path: Path) -> Site:
    """A site with the job T-1, whose settings may be changed."""
    (tmp_path / "cores").symlink_to(finished.jobs)
    return Site(
        tmp_path,
        {**finished.settings, "workDirectory": str(tmp_path / "cores"), "engine": "auto"},
    )


def debug(site: Site, *words: str | Path, **how: str) -> subprocess.CompletedProcess[str]:
    return site.cas("debug", "T-1", *words, **how)


def pretend_crash(site: Site, script: str) -> None:
    """Have a shell script be crash; it can call `opened` where crash would have read the dump."""
    program = site.directory / "crash"
    program.write_text("#!/bin/sh\n" + opened() + script)
    program.chmod(0o755)
    site.settings["crash"] = str(program)


def with_another_build_id(vmlinux: Path, path: Path) -> str:
    """A copy of a vmlinux that says it is another one; its build-id."""
    shutil.copy(vmlinux, path)
    old = bytes.fromhex(ID)
    with path.open("r+b") as file:
        data = file.read()
        at = data.index(old)
        file.seek(at)
        file.write(b"\xee" * 4)
    other = elf.build_id(path)
    assert other and other != ID
    return other


# Without a terminal


@pytest.mark.long
def test_a_command_in_a_pipe_gives_its_output_and_nothing_else(job: Site, indexed: Path) -> None:
    needs("crash")
    done = debug(job, "--kernel", indexed, input="bt\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("PID: 27 ")
    assert f"#5 [ffffaff9c00efe90] {PANIC_FRAME}" in done.stdout
    assert "crash>" not in done.stdout
    assert "ALIAS" not in done.stdout


def test_commands_and_files_run_in_their_order_behind_the_prelude(
    job: Site, indexed: Path, tmp_path: Path
) -> None:
    """What crash does not like of the prelude is said, and the rest of it holds."""
    needs("crash")
    (tmp_path / "snippets").mkdir()
    (tmp_path / "snippets/prelude").write_text("alias jiff p jiffies\nalias t {{ nosuch }}")
    job.settings |= {"snippets": str(tmp_path / "snippets"), "extensions": "/nowhere/trace.so"}
    script = tmp_path / "my commands"
    script.write_text("waits -l\nhung\nsys -t")
    words = ("-c", "p panic_timeout", "-x", script, "--command", "!echo last")
    done = debug(job, "--kernel", indexed, *words, input="p never_read\n")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "panic_timeout = $1 = 0"
    assert "cas_stuck_read" in done.stdout
    assert lines[-2:] == ["TAINTED_MASK: 1080  DO", "last"]
    assert "extend: /nowhere/trace.so: " in done.stderr
    assert "snippets/prelude, as a template" in done.stderr


def test_a_program_can_converse_with_drgn(job: Site) -> None:
    with subprocess.Popen(
        [COMMANDS / "cas", "debug", "T-1", "--engine", "drgn"],
        env=job.prepared(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        bufsize=1,
    ) as process:
        assert process.stdin and process.stdout
        process.stdin.write("sys -t\n")
        assert process.stdout.readline() == DRGNS
        process.stdin.write("# a remark\n\ncpu = 7\ncpu + 1\n")
        assert process.stdout.readline() == "8\n"
        process.stdin.write("sys -t\nexit\nnever reached\n")
        assert process.stdout.read() == DRGNS
        assert process.wait() == 0


def test_a_pipe_into_drgn_takes_commands_of_crash_and_python(job: Site) -> None:
    """What fails shows the user's own lines, and makes the status 1."""
    block = "for number in range(2):\n    print(number)\n\n    print(number * 2)\n"
    commands = "ps -m | wc -l\nlog | grep -c Oops\n!echo $((6 * 7))\ndis -l cas_sum_entries 1\n"
    fault = 'def f():\n    return prog["nosuch"]\nf()\n'
    failing = f"%crash ps > /tmp/ps\n{fault}btt\ndis nosuch\nsys -t\n"
    done = debug(job, "--engine", "drgn", input=block + commands + failing)
    assert done.returncode == 1
    said, traceback, *rest = done.stdout.split("Traceback")
    *numbers, tasks, oopses, answer, _, code = said.splitlines()
    assert (numbers, answer) == (["0", "0", "1", "2"], "42")
    assert int(tasks) > 10
    assert int(oopses) > 0
    assert re.fullmatch(r"0x[0-9a-f]{16} <cas_sum_entries>:\t\w+ .*", code)
    files = re.findall(r'File "(.+)", line (\d+)', traceback)
    assert [name for name, _ in files] == ["<input>", "<input>"]
    assert int(files[0][1]) == int(files[1][1]) + 1
    assert "there is no command btt either; there is: bt\n" in rest[0]
    assert "dis: symbol not found: nosuch\n" in rest[0]
    assert done.stdout.endswith(DRGNS)


def test_drgns_prompt_has_the_deep_trace(job: Site) -> None:
    words = ("-c", "glide --tasks panic | grep -c cas_ledger", "-c", "glide --tasks 1 --depth 1")
    done = job.cas("debug", "T-1", "--engine", "drgn", *words, "-c", "glide --tasks nobody")
    assert done.returncode == 1, done.stdout
    number, trace, *rest = done.stdout.splitlines()
    assert int(number) > 1 and trace.startswith("Linux 6.1.192-1.cas1.x86_64; modules: core")
    assert "pid 1 (init), S (sleeping)" in rest and "== core ==" in rest
    assert rest[-1] == (
        "glide: 'nobody' names no tasks: panic, cpus, blocked, all, or process ids as 1,47"
    )


def test_a_command_that_crash_lacks_makes_the_status_1_and_names_what_there_is(job: Site) -> None:
    help_ = r"printf '\n%s\n%s\n\ncrash version: 8\n' '*  bt  btop' 'sys  q'"
    opens = opened().replace("case $w in", f"case $w in help) {help_};;")
    talk = (
        'while read -r w x; do [ $w != exit ] || exit 0; echo "crash: command not found: $w"; done'
    )
    pretend_crash(job, f'{opens}opened "$@"; echo "crash: command not found: log"; {talk}\n')
    done = debug(job, "-c", "btt -a")
    assert done.returncode == 1
    assert "crash has no command btt; there is: bt\n" in done.stderr
    assert "no command log" not in done.stderr  # nobody asked for it


def test_what_crash_lacks_in_its_minimal_mode_is_one_sentence(job: Site) -> None:
    lacks = r"""printf 'crash: %s: command not available in minimal mode\n' "$w" """
    opens = opened().replace("case $w in", f"case $w in alias) {lacks};;")
    talk = f"while read -r w x; do [ $w != exit ] || exit 0; {lacks}; done"
    pretend_crash(job, f'{opens}shift; opened "$@"; {talk}\n')
    done = debug(job, "--minimal", "-c", "bt", "-c", "ps")
    assert done.returncode == 1
    assert done.stdout.count("not available in minimal mode") == 2
    said = "! crash runs with --minimal here, in which it has few commands"
    assert [line.partition(";")[0] for line in done.stderr.splitlines() if line[0] == "!"] == [said]


def test_options_that_are_none_of_ours_go_on_to_crash(job: Site, tmp_path: Path) -> None:
    talk = 'while read -r w; do echo "$w"; [ "$w" != exit ] || exit 0; done'
    pretend_crash(job, f'opened "$@"; echo "$@"; {talk}\n')
    (tmp_path / "my file").write_text("first")
    words = ("-s", "-d", "8", "-i", tmp_path / "my file", "--no_kmem_cache")
    done = debug(job, *words, input="second\n")
    assert done.returncode == 0, done.stderr
    options, *told = done.stdout.splitlines()
    assert options.startswith("--no_crashrc -s -d 8 --no_kmem_cache ")
    assert told == ["first", "second", "exit"]
    another = debug(job, "T-2").stderr
    assert "one SPEC at a time: 'T-2'" in another and "cas analyzers" in another
    pretend_crash(job, 'echo "crash: invalid option: --no_such_thing"; exit 1\n')
    unknown = debug(job, "--no_such_thing", "-c", "bt")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "neither CAS nor crash has the option --no_such_thing" in unknown.stderr


def test_drgn_reads_a_dump_of_another_architecture(finished_of: Callable[[str], Site]) -> None:
    site = finished_of("arm64")
    done = debug(site, "--engine", "drgn", input="bt\n")
    assert done.returncode == 0, done.stderr
    assert PANIC_FRAME in done.stdout
    site.settings["engine"] = "auto"
    refused = debug(site, input="bt\n")
    assert refused.returncode == 4
    assert "aarch64" in refused.stderr
    assert "cas-admin host add" in refused.stderr


def test_the_debuggers_own_status_is_returned(job: Site) -> None:
    pretend_crash(job, 'opened "$@"; read -r line; echo "told: $line"; exit 7\n')
    done = debug(job, "-c", "hello")
    assert (done.returncode, done.stdout) == (7, "told: hello\n")


def test_a_debugger_that_is_killed_is_said(job: Site) -> None:
    pretend_crash(job, 'opened "$@"; kill -SEGV $$\n')
    done = debug(job, "-c", "bt")
    assert done.returncode == 128 + signal.SIGSEGV
    assert "crash was killed by SIGSEGV" in done.stderr


def test_a_debugger_that_cannot_open_the_dump_has_its_last_words(job: Site) -> None:
    pretend_crash(
        job, 'echo "crash: vmlinux and vmcore do not match!"; echo; echo Usage:; exit 1\n'
    )
    done = debug(job, "-c", "bt")
    assert (done.returncode, done.stdout) == (4, "")
    assert "exit status 1: crash: vmlinux and vmcore do not match!" in done.stderr


def test_a_file_of_commands_that_is_not_there_is_a_wrong_command_line(job: Site) -> None:
    done = debug(job, "-x", "nosuch")
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot read nosuch: No such file" in done.stderr
    assert "behind SPEC: cas debug TICKET -i FILE" in done.stderr


def test_a_reader_that_leaves_ends_the_session(job: Site) -> None:
    pretend_crash(job, 'opened "$@"; while echo line; do :; done; sleep 1000\n')
    argv = [COMMANDS / "cas", "debug", "T-1", "-c", "bt"]
    with subprocess.Popen(
        argv, env=job.prepared(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"line\n"
        process.stdout.close()
        assert process.wait(60) == 141


# Which job


def test_no_job_is_a_wrong_command_line(site_a: Site) -> None:
    for spec in ("T-1", "T-1/2026.01.01.00.00.00", "/nowhere", "a b;c", "..", "*"):
        done = site_a.cas("debug", spec)
        assert (done.returncode, done.stdout) == (2, ""), spec
        assert f"there is no job '{spec}'" in done.stderr


def test_several_jobs_are_listed(own_finished: Site) -> None:
    first = own_finished.job("T-1")
    shutil.copytree(first, earlier := first.with_name("2026.01.01.00.00.00"), symlinks=True)
    job = load_job(earlier)
    replace(job, started=job.started - timedelta(days=200)).save()
    done = debug(own_finished, input="bt\n")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    names = [f"T-1/{directory.name}" for directory in own_finished.job_directories("T-1")]
    assert [line.split()[0] for line in lines] == names
    assert all("complete" in line and "NULL pointer dereference" in line for line in lines)
    assert done.stderr.endswith(f"* the newest: cas debug {names[-1]}\n")
    (first / "vmcore" / "vmcore.elf").unlink()
    pretend_crash(own_finished, 'opened "$@"; echo told\n')
    newest = own_finished.cas("debug", "T-1/latest", "--engine", "crash", "-c", "sys")
    assert (newest.returncode, newest.stdout) == (0, "told\n"), newest.stderr
    gone = own_finished.cas("debug", names[-1], "-c", "prog")
    assert gone.returncode == 2
    assert f"{names[-1]} has no dump\n  → to analyse a dump: cas -i TICKET" in gone.stderr


def test_a_name_that_no_job_has_is_answered_with_the_nearest(job: Site) -> None:
    stamp = job.job("T-1").name
    in_job = str(job.job("T-1").resolve())
    for spec, near in (
        ("t-1", "T-1"),
        ("T-1/2026.01.01.00.00.00", f"T-1/{stamp}"),
        (str(job.job("T-1").parent), f"T-1/{stamp}"),
        (f"cores/T-1/{stamp}/report.txt", in_job),
    ):
        done = job.cas("debug", spec, "-c", "bt")
        assert (done.returncode, done.stdout) == (2, "")
        assert f"did you mean {near}?" in done.stderr


def test_a_crash_is_debugged_by_whatever_means_it_in_the_archive(
    own_finished: Site, vmcore: Path
) -> None:
    site, job = own_finished, own_finished.job("T-1")
    (crash,) = json.loads(site.cas("ls", "--json").stdout)
    pretend_crash(site, 'opened "$@"; read -r line; echo "$line"\n')
    site.settings["engine"] = "auto"
    one = crash["id"][:8]
    specs = ((one,), (f"id={one}",), ("kind=null*", "ticket=T-1"), (vmcore,), ("T-1/latest",))
    for words in specs:
        done = site.cas("debug", *words, "-c", "hello")
        assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr
        assert site.cas("signature", *words).returncode == 0
    for words, status in ((("kind=x",), 2), (("mtime=10x",), 1), ((f"id={'0' * 32}",), 2)):
        done = site.cas("debug", *words)
        assert (done.returncode, done.stdout) == (status, ""), words
    # without its job, the archive's own file is opened
    dump = Path(json.loads(site.cas("info", one).stdout)["dump"])
    job.rename(job.with_name("elsewhere"))
    done = site.cas("debug", one, "-c", "hello")
    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr
    assert site.cas("signature", one).returncode == 2
    dump.chmod(0o600)
    with dump.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff")
    assert site.cas("debug", one, "-c", "hello").returncode == 5
    done = site.cas("debug", one, "-c", "hello", "--force")
    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr
    record = json.loads((dump.parents[1] / "info.json").read_text())
    assert "debugs another dump by --force" in record["changes"][-1]["what"]


@pytest.mark.long
def test_several_crashes_are_listed(own_finished: Site, vmcore_b: Path) -> None:
    own_finished.cas("-i", "T-2", "-f", vmcore_b)
    done = own_finished.cas("debug", "type=crash", "-c", "bt")
    assert done.returncode == 1
    assert done.stdout == own_finished.cas("ls").stdout
    assert "2 crashes are meant" in done.stderr


def test_a_job_is_named_by_its_time_or_its_directory(job: Site) -> None:
    directory = job.job("T-1")
    pretend_crash(job, 'opened "$@"; read -r line; echo "$line"\n')
    for spec in (f"T-1/{directory.name}", str(directory), f"cores/T-1/{directory.name}"):
        done = job.cas("debug", spec, "-c", "hello")
        assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr


@pytest.mark.long
def test_a_dumps_name_is_inert(site_a: Site, vmcore: Path, tmp_path: Path) -> None:
    dump = tmp_path / "it's; touch owned `touch owned` $(touch owned) \"|\n.core"
    dump.symlink_to(vmcore)
    site_a.keep_snippets("sys")
    done = site_a.cas("-i", "T-1", "-f", dump, "--engine", "drgn")
    assert done.returncode == 0, done.stderr
    pretend_crash(site_a, 'for dump; do :; done; opened "$@"; wc -c < "$dump"\n')
    done = debug(site_a, "--engine", "crash", "-c", "sys -t")
    assert (done.returncode, done.stdout) == (0, f"{vmcore.stat().st_size}\n"), done.stderr
    assert not list(tmp_path.rglob("owned"))


def wrapper(path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [path, *words], input="sys -t\n", cwd="/", capture_output=True, text=True, check=False
    )


def test_the_wrapper_opens_the_job_that_it_lies_in(job: Site, tmp_path: Path) -> None:
    """Wherever that is by then, and through a link; an older installation's is told of."""
    moved = tmp_path / 'it\'s "moved" $HOME'
    shutil.copytree(job.job("T-1"), moved)
    (tmp_path / "linked").symlink_to(moved / "crash")
    done = wrapper(tmp_path / "linked")
    assert (done.returncode, done.stdout) == (0, DRGNS), done.stderr
    text = (moved / "crash").read_text()
    config = re.findall(r"^config=(\S+)", text, re.MULTILINE)[0]
    (moved / "crash").write_text(text.replace(config, "/nowhere/cas.conf"))
    done = wrapper(moved / "crash")
    typed = done.stderr.rpartition("now: ")[2]
    assert (done.returncode, "/nowhere/cas.conf is not there" in done.stderr) == (2, True)
    again = shlex.split(typed.replace("FILE", config))
    script = moved / "crash.in"  # by which what the snippets gave can be had again
    assert " >> " in script.read_text()
    assert "MACHINE TYPE" in wrapper(Path(again[0]), *again[1:], "-x", str(script)).stdout
    python = re.findall(r"^python=(\S+)", text, re.MULTILINE)[0]
    (moved / "crash").write_text(text.replace(python, "/nowhere/python"))
    done = wrapper(moved / "crash")
    assert (done.returncode, "/nowhere/python is not there" in done.stderr) == (2, True)
    assert shlex.split(done.stderr.rpartition("now: ")[2]) == ["cas", "debug", str(moved)]


# Which kernel


def test_another_kernel_is_refused(job: Site, vmlinux: Path, tmp_path: Path) -> None:
    other = with_another_build_id(vmlinux, tmp_path / "vmlinux")
    done = debug(job, "--kernel", tmp_path / "vmlinux", input="bt\n")
    assert (done.returncode, done.stdout) == (5, "")
    assert other in done.stderr
    assert ID in done.stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [("nosuch", "nosuch cannot be read: No such file"), ("text", "text is no vmlinux: no ELF")],
)
def test_a_kernel_that_is_none_is_named_and_a_vmlinux_asked_for(
    job: Site, name: str, said: str
) -> None:
    (job.directory / "text").write_text("the vmlinux is on db03\n")
    done = debug(job, "--kernel", name, "-c", "sys")
    assert (done.returncode, done.stdout) == (4, "")
    assert f"! {job.directory}/{said}" in done.stderr
    assert "→ give the vmlinux of the debuginfo package" in done.stderr


def test_a_forced_kernel_is_used_and_recorded(
    job: Site, finished: Site, vmlinux: Path, tmp_path: Path
) -> None:
    other = with_another_build_id(vmlinux, tmp_path / "vmlinux")
    given = f"{sha256((tmp_path / 'vmlinux').read_bytes()).hexdigest()}\n"
    show = 'for word; do vmlinux=$dump dump=$word; done; sha256sum < "$vmlinux" | head -c 64; echo'
    pretend_crash(job, f'opened "$@"; {show}\n')
    for engine, said in (("crash", given), ("drgn", DRGNS)):
        words = ("--engine", engine, "--kernel", tmp_path / "vmlinux", "--force")
        done = debug(job, *words, "-c", "sys -t")
        assert (done.returncode, done.stdout) == (0, said), done.stderr
    last = (job.job("T-1") / "T-1.log").read_text().splitlines()[-1]
    assert "--force" in last
    assert other in last
    assert ID in last
    assert finished.admin("check").returncode == 0


@pytest.mark.long
def test_the_right_kernel_of_the_users_own_is_taken(job: Site, vmlinux: Path) -> None:
    log = (job.job("T-1") / "T-1.log").read_text()
    words = ("--engine", "drgn", "-c", "sys -t", "--kernel", vmlinux, "--force")
    assert debug(job, *words).returncode == 0
    assert (job.job("T-1") / "T-1.log").read_text() == log


@pytest.mark.long
def test_a_kernel_that_is_gone_is_extracted_again(job: Site, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(job.job("T-1"), moved)
    result = moved / "result.json"
    result.write_text(result.read_text().replace('/vmlinux"', '/gone"'))
    job.settings["debugs"] = str(tmp_path / "debugs")
    done = job.cas("debug", moved, "--engine", "drgn", "-c", "sys -t")
    assert (done.returncode, done.stdout) == (0, DRGNS), done.stderr
    assert "Extracting vmlinux" in done.stderr


def test_the_commands_of_advice_run(job: Site) -> None:
    commands = dict.fromkeys(command for each in shipped_advice() for command in each.run)
    words = [word for command in commands for word in ("-c", command)]
    done = debug(job, "--engine", "drgn", *words)
    assert done.returncode == 0, done.stderr
    assert "!" not in done.stderr, done.stderr
    assert 'COMMAND: "' in done.stdout


# On a terminal


def test_a_person_has_the_prelude_the_windows_size_and_ctrl_c(
    job: Site, indexed: Path, tmp_path: Path
) -> None:
    needs("crash")
    (tmp_path / "snippets").mkdir()
    (tmp_path / "snippets/prelude").write_text("alias taint sys -t\n")
    job.settings["snippets"] = str(tmp_path / "snippets")
    words = ("debug", "T-1", "--kernel", indexed)
    with person(job, *words, columns=101, rows=33) as user:
        introduction = user.wait_for(b"crash> ")
        assert b"RELEASE: 6.1.192-1.cas1.x86_64" in introduction
        assert b"ALIAS" not in introduction
        user.press(b"taint\r")
        assert b"TAINTED_MASK: 1080  DO" in user.wait_for(b"crash> ")
        user.press(b"!stty size\r")
        user.wait_for(b"33 101")
        user.resize(120, 40)
        user.wait_for(b"crash> ")
        user.press_until(b"!stty size\r", b"40 120")  # the keys may overtake the signal
        user.wait_for(b"crash> ")
        user.press(b"repeat -1 p jiffies\r")
        for _ in range(2):
            user.wait_for(b"jiffies = ")
        user.press_until(b"\x03", b"crash> ")  # `repeat` survives some of them
        user.press(b"taint\r")
        user.wait_for(b"TAINTED_MASK: 1080  DO")
        user.wait_for(b"crash> ")
        user.press(b"exit\r")
        assert user.status() == 0
        assert user.is_terminal_as_before


def test_a_person_can_use_crashs_commands_and_python_in_drgn(job: Site, tmp_path: Path) -> None:
    (tmp_path / "first").write_text("sys -t\n")
    words = ("--engine", "drgn", "-s", "-i", tmp_path / "first")
    with person(job, "debug", "T-1", *words, columns=90, rows=30) as user:
        assert DRGNS.strip().encode() in user.wait_for(b">>> ")
        user.press(b"bt | head -1\r")
        user.wait_for(b"PID: 27 ")
        user.wait_for(b">>> ")
        user.press(b"bt = 40 + 2; bt\r")
        user.wait_for(b"42\r\n")
        user.wait_for(b">>> ")
        user.press(b"def f(): return 1 / 0\r\rf()\r")
        told = user.wait_for(b"ZeroDivisionError")
        # Python 3.13 has colours here, and another name for what was typed
        plain = re.sub(rb"\x1b\[[\d;]*m", b"", told)
        files = re.findall(rb'File "([^"]+)", line 1, in (\S+)', plain)
        assert {name for _, name in files} == {b"<module>", b"f"}
        assert all(file.startswith(b"<") for file, _ in files)
        user.wait_for(b">>> ")
        user.press(b"nosuch -x foo\r")
        user.wait_for(b"there is no command nosuch either")
        user.wait_for(b">>> ")
        user.press(b"mac\t\r")
        user.wait_for(b"MACHINE TYPE: x86_64")
        user.wait_for(b">>> ")
        user.press(b"exit\r")
        assert user.status() == 0
        assert user.is_terminal_as_before


@pytest.mark.long
def test_a_person_can_use_drgn(job: Site) -> None:
    with person(job, "debug", "T-1", "--engine", "drgn", columns=90, rows=30) as user:
        user.wait_for(b"helpers.linux import *")
        user.wait_for(b">>> ")
        user.press(b"import os; print(prog['panic_timeout'], os.get_terminal_size()[:])\r")
        user.wait_for(b"(int)0 (90, 30)")
        user.press(b"while True: print('again')\r\r")
        user.wait_for(b"again\r\nagain")
        user.press(b"\x03")
        user.wait_for(b"KeyboardInterrupt")
        user.wait_for(b">>> ")
        user.press(b"\x04")
        assert user.status() == 0
        assert user.is_terminal_as_before


def children(pid: int) -> list[int]:
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def cmdline(pid: int) -> bytes:
    """Empty for a process that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


def pretended(site: Site, script: str) -> None:
    pretend_crash(site, f'opened "$@"; echo ready; {script}\n')


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        pytest.param(signal.SIGHUP, marks=pytest.mark.long),
        pytest.param(signal.SIGINT, marks=pytest.mark.long),
        pytest.param(signal.SIGQUIT, marks=pytest.mark.long),
    ],
)
def test_a_signal_leaves_the_terminal_as_it_was(job: Site, number: int) -> None:
    pretended(job, "printf '\\033[?1049h\\033[31m'; sleep 1000")
    with person(job, "debug", "T-1") as user:
        user.wait_for(b"\x1b[31m")
        user.wait_until_raw()
        user.process.send_signal(number)
        assert user.status() == 130
        assert user.is_terminal_as_before
        assert user.seen[user.seen.index(b"\x1b[31m") :].count(b"\x1b[?1049l") == 1
        assert b"\x1b[m" in user.seen


@pytest.mark.parametrize(
    "reach",
    [
        pytest.param(os.kill, id="alone"),
        pytest.param(os.killpg, marks=pytest.mark.long, id="its group"),
    ],
)
def test_even_a_session_that_is_killed_leaves_the_terminal_as_it_was(
    job: Site, reach: Callable[[int, int], None]
) -> None:
    pretended(job, "sleep 1000")
    with person(job, "debug", "T-1") as user:
        user.wait_for(b"ready")
        user.wait_until_raw()
        reach(user.process.pid, signal.SIGKILL)
        assert user.process.wait(60) == -signal.SIGKILL
        user.wait_until_as_before()


def test_the_guard_leaves_a_terminal_alone_that_somebody_else_uses_by_then(job: Site) -> None:
    pretended(job, "sleep 1000")
    with person(job, "debug", "T-1") as user:
        user.wait_for(b"ready")
        user.wait_until_raw()
        (guard,) = (pid for pid in children(user.process.pid) if b"guard.py" in cmdline(pid))
        user.use_as_a_shell()
        user.process.kill()
        user.process.wait(60)
        while cmdline(guard):
            time.sleep(0.05)
        assert not user.is_terminal_as_before


def test_a_debugger_that_dies_leaves_the_terminal_as_it_was(job: Site) -> None:
    pretended(job, "read -r key; kill -SEGV $$")
    with person(job, "debug", "T-1") as user:
        user.wait_for(b"ready")
        user.press(b"go\r")
        assert user.status() == 128 + signal.SIGSEGV
        assert b"crash was killed by SIGSEGV" in user.seen
        assert user.is_terminal_as_before


def test_a_stopped_session_goes_on(job: Site) -> None:
    pretended(job, "read -r key; echo key: $key; sleep 1000")
    with person(job, "debug", "T-1") as user:
        user.wait_for(b"ready")
        user.wait_until_raw()
        user.process.send_signal(signal.SIGTSTP)
        user.wait_until_as_before()
        _, status = os.waitpid(user.process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        user.process.send_signal(signal.SIGCONT)
        user.wait_until_raw()
        user.press(b"go\r")
        user.wait_for(b"key: go")


def test_ctrl_c_and_ctrl_z_are_the_debuggers(job: Site) -> None:
    pretended(job, "trap 'echo interrupted' INT; while :; do sleep 0.1; done")
    with person(job, "debug", "T-1") as user:
        user.wait_for(b"ready")
        user.wait_until_raw()
        user.press(b"\x1a\x03")
        user.wait_for(b"interrupted")
        assert user.process.poll() is None


def test_hostile_sequences_do_not_reach_the_terminal(job: Site) -> None:
    pretended(
        job, r"printf '\033]0;owned\007a\033[31mb\033[6nc\033P+q\033\\d\005\033[?1000he\n'; sleep 9"
    )
    with person(job, "debug", "T-1") as user:
        user.wait_for(b"a\x1b[31mbcde\r\n")


def test_output_of_given_commands_is_text_on_a_terminal(job: Site) -> None:
    pretended(job, r"printf 'a\033[2J\033]0;x\007\tb\303\244\n'")
    with person(job, "debug", "T-1", "-c", "log") as user:
        user.wait_for(rb"a\x1b[2J\x1b]0;x\x07" + "\tbä\r\n".encode())
        assert user.status() == 0
    done = debug(job, "-c", "log")
    assert done.stdout == "ready\na\x1b[2J\x1b]0;x\x07\tbä\n"  # a pipe gets what there is


def test_two_users_do_not_disturb_each_other(job: Site) -> None:
    pretended(job, "read -r key; echo key: $key; read -r key")
    before = {path.name for path in job.job("T-1").iterdir()}
    with person(job, "debug", "T-1") as one, person(job, "debug", "T-1") as other:
        for user, keys in ((one, b"first"), (other, b"second")):
            user.wait_for(b"ready")
            user.press(keys + b"\r")
            user.wait_for(b"key: " + keys)
        one.process.terminate()
        assert one.status() == 130
        other.press(b"\r")
        assert other.status() == 0
    assert {path.name for path in job.job("T-1").iterdir()} == before


def test_without_any_crash_for_this_machines_dumps_drgn_answers(job: Site) -> None:
    job.settings["crash"] = "/nowhere/crash"
    done = job.cas("debug", "T-1", input="bt\n")
    assert done.returncode == 0, done.stderr
    assert "cas_oops" in done.stdout
    assert "/nowhere/crash cannot be run: this is drgn" in done.stderr
    demanded = job.cas("debug", "T-1", "--engine", "crash", input="bt\n")
    assert demanded.returncode == 4
    assert "/nowhere/crash cannot be run" in demanded.stderr

"""``cas analyze`` as users type it: real programs on real dumps, in the order of the crashes."""

from __future__ import annotations

import getpass
import itertools
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from archived_crashes import another_crash, archived
from person import person

from installed import FIXTURES, Site, few_of, needs, working_sandbox

ECHO = 'echo "$CAS_NAME"\n'


def add(site: Site, name: str, text: str) -> None:
    done = site.cas("analyzer", name, input=text)
    assert done.returncode == 0, done.stderr


def info(site: Site, spec: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(site.cas("info", spec).stdout)
    return found


def changes(site: Site, crash_id: str) -> list[str]:
    record = json.loads((archive_of(site, crash_id) / "info.json").read_text())
    return [each["what"] for each in record["changes"]]


@pytest.fixture
def crashes(
    site_b: Site, vmcore_b: Path, made: Callable[[str, Callable[[Path], object]], Path]
) -> list[str]:
    """The ids of three crashes of a site, in the order in which they are listed."""

    def fill(path: Path) -> None:
        path.mkdir()
        settings = {"workDirectory": f"{path}/cores", "database": f"{path}/cas.db"}
        shutil.copy(site_b.settings["database"], path / "cas.db")
        site = Site(path, {**site_b.settings, **settings})
        for number in range(3):
            archived(site, another_crash(vmcore_b, number, path / f"dump{number}"))
        assert site.admin("index").returncode == 0

    filled = made("three-crashes", fill)
    shutil.copytree(filled / "cores" / ".archive", site_b.jobs / ".archive")
    site_b.jobs.chmod(0o700)
    shutil.copy(filled / "cas.db", site_b.settings["database"])
    return [each["id"] for each in json.loads(site_b.cas("ls", "--json").stdout)]


def archive_of(site: Site, crash_id: str) -> Path:
    return site.jobs / ".archive" / "objects" / crash_id[:2] / crash_id


def test_a_shell_analyzer_says_things_that_survive_quotes_and_newlines(
    site_b: Site, crashes: list[str]
) -> None:
    working_sandbox()
    text = """
        [ "$CAS_DUMP $CAS_NAME $CAS_TYPE" = "$THOTH_DUMP $THOTH_NAME $THOTH_TYPE" ] || exit 9
        [ -s "$CAS_VMLINUX" ] && grep -q '"id"' "$CAS_INFO" && : > "$CAS_TMPDIR/x" || exit 8
        echo "$CAS_NAME $CAS_ARCH $CAS_KERNEL $(cas_info format)" >&2
        thoth_set odd "it's \\"q\\" \\$HOME \\`x\\`
second"
        printf '{"a": ["$x", 1]}' | cas_set tree
        cas_set plain; cas_ticket X-1
    """
    add(site_b, "say", text)
    done = site_b.cas("analyze", "type=crash", "say")
    assert done.returncode == 0, done.stderr
    rest = "x86_64 6.1.192-1.cas1.x86_64 KDUMP"
    assert done.stdout.splitlines() == [f"{crash_id} {rest}" for crash_id in crashes]
    found = info(site_b, crashes[0])
    assert found["properties"] == {
        "odd": 'it\'s "q" $HOME `x`\nsecond',
        "tree": {"a": ["$x", 1]},
        "plain": "",
    }
    assert found["tickets"] == ["T-1", "X-1"]
    (change,) = changes(site_b, crashes[0])
    listed = json.loads(site_b.cas("analyzers", "--json").stdout)["analyzers"]
    (digest,) = (each["digest"][:19] for each in listed if each["name"] == "say")
    assert change.startswith(f"analyze say {digest} by {getpass.getuser()}: set odd, set tree")
    add(site_b, "unsay", "cas_unset tree; cas_unset plain; cas_unset odd; cas_unticket X-1")
    assert site_b.cas("analyze", crashes[0], "unsay").returncode == 0
    assert info(site_b, crashes[0])["properties"] == {}
    assert info(site_b, crashes[0])["tickets"] == ["T-1"]


def test_python_gets_the_dump_with_its_kernel(site_b: Site, crashes: list[str]) -> None:
    text = (
        "tasks = [task.comm.string_().decode() for task in for_each_task(prog)]\n"
        "print(info['id'], 'swapper/0' in tasks, prog['jiffies'].value_())\n"
        "set_property('tasks', {'all': len(tasks), 'text': \"'$x\\n\"})\n"
        "set_property('digits', '17')\n"
        "ticket('PY-1')\n"
    )
    add(site_b, "tasks", text)
    done = site_b.cas("analyze", "type=crash", "tasks")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == crashes
    found = info(site_b, crashes[2])
    assert found["properties"]["tasks"]["text"] == "'$x\n"
    assert found["properties"]["tasks"]["all"] > 10
    assert found["tickets"] == ["T-1", "PY-1"]
    add(site_b, "fails", "print(prog['jiffies'] > 0, flush=True)\n1 / 0")
    done = site_b.cas("analyze", crashes[0], "fails")
    assert done.returncode == 1
    assert done.stdout.count("True\n") == 1  # once: it was no fault of the dump


def test_one_failure_is_told_and_the_others_stay(site_b: Site, crashes: list[str]) -> None:
    add(site_b, "odd", f'{ECHO}[ "$CAS_NAME" != {crashes[1]} ] || exit 3\ncas_set "a b" 1\n')
    done = site_b.cas("analyze", "type=crash", "odd")
    assert done.returncode == 1
    assert done.stdout.split() == crashes
    assert f"! {crashes[1][:16]}: exit status 3\n" in done.stderr
    assert f"! {crashes[0][:16]}: set: 'a b' is no name of a property\n" in done.stderr
    assert "failed on 3 of 3, exit status 1; " in done.stderr and "cas debug ID odd" in done.stderr
    add(site_b, "wrong.py", "print('before')\nprog['nosuch']\n")
    done = site_b.cas("analyze", crashes[0], "wrong.py")
    assert done.returncode == 1
    assert done.stdout.startswith('before\nTraceback (most recent call last):\n  File "analyzer"')
    assert "could not find 'nosuch'" in done.stdout


def test_the_first_output_appears_while_later_ones_run_and_keep_their_crashes_from_a_purge(
    site_b: Site, crashes: list[str]
) -> None:
    working_sandbox()
    for job in (each.parent for each in site_b.jobs.glob("*/*/job.json")):
        shutil.rmtree(job)
    site_b.admin("index")  # so that nothing but the run needs them
    add(site_b, "slow", f'{ECHO}[ "$CAS_NAME" = {crashes[0]} ] || sleep 1000\n')
    with site_b.start("cas", "analyze", "--jobs", "2", "type=crash", "slow") as running:
        assert running.stdout
        assert running.stdout.readline() == f"{crashes[0]}\n"
        purge = site_b.admin("-p", "-d", "0", "--yes")
        assert f"the crash {crashes[1]} is in use" in purge.stderr
        has_file = [any((archive_of(site_b, each) / "files").iterdir()) for each in crashes]
        assert has_file[:2] == [False, True]
        running.send_signal(signal.SIGTERM)
        running.wait(60)


def test_a_killed_run_is_gone_on_with(site_b: Site, crashes: list[str], tmp_path: Path) -> None:
    """By the same command, and by that only; what was done is printed again, and not run again."""
    working_sandbox()
    add(site_b, "slow", f'cas_set at "$$"; {ECHO}[ "$CAS_NAME" != {crashes[2]} ] || sleep 1000\n')
    with site_b.start("cas", "analyze", "--jobs", "2", "type=crash", "slow") as running:
        assert running.stdout
        assert [running.stdout.readline().strip() for _ in range(2)] == crashes[:2]
        running.kill()
        running.wait(60)
    words = ("analyze", "--timeout", "1", "type=crash", "slow")
    again = site_b.cas(*words)
    assert again.returncode == 1
    assert again.stdout.split() == crashes
    assert "going on with a run that was stopped, which has done 2 of 3" in again.stderr
    assert [len(changes(site_b, each)) for each in crashes] == [1, 1, 1]
    assert "going on" not in site_b.cas(*words).stderr
    assert [len(changes(site_b, each)) for each in crashes] == [2, 2, 2]


def test_what_is_needed_runs_first_on_the_same_crash(site_b: Site, crashes: list[str]) -> None:
    add(site_b, "one", "echo left out; cas_set one.word first")
    add(site_b, "two", "# needs: one\ncas_info properties.one.word")
    done = site_b.cas("analyze", crashes[0], "two")
    assert (done.returncode, done.stdout) == (0, "first\n")
    assert site_b.cas("analyze", crashes[0], "tow").returncode == 2
    add(site_b, "one", "echo why; exit 4")
    done = site_b.cas("analyze", crashes[0], "two")
    assert (done.returncode, done.stdout) == (1, "why\n")


def test_without_a_kernel_shell_runs_and_python_says_so(
    site: Site, vmcore_b: Path, tmp_path: Path
) -> None:
    site.settings["debugs"] = str(tmp_path / "debugs")
    crash_id = archived(site, vmcore_b)
    site.admin("index")
    add(site, "shell", 'echo "<$CAS_VMLINUX>"')
    add(site, "python", "print(prog)")
    assert site.cas("analyze", crash_id, "shell").stdout == "<>\n"
    done = site.cas("analyze", crash_id, "python")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no debuginfo for 6.1.192-1.cas1.x86_64" in done.stderr


def test_a_crash_without_a_dump_is_passed_over(site_b: Site, crashes: list[str]) -> None:
    add(site_b, "name", ECHO)
    (path,) = (archive_of(site_b, crashes[0]) / "files").iterdir()
    path.unlink()
    (path,) = (archive_of(site_b, crashes[1]) / "files").iterdir()
    path.chmod(0o600)
    os.truncate(path, path.stat().st_size - 1)  # what there is of it is looked at
    done = site_b.cas("analyze", "type=crash", "name")
    assert (done.returncode, done.stdout.split()) == (0, crashes[1:])
    assert "1 crash has no dump on this machine: passed over" in done.stderr
    assert site_b.cas("analyze", crashes[0], "name").returncode == 2
    assert site_b.cas("analyze", "node=nobody", "name").returncode == 2


def test_crash_and_drgn_are_programs_there(site_b: Site, crashes: list[str]) -> None:
    needs("crash")
    text = """
        crash --osrelease "$CAS_DUMP"
        drgn -q -c "$CAS_DUMP" -s "$CAS_VMLINUX" -e 'print(prog["jiffies"] > 0)' 2>/dev/null
    """
    add(site_b, "both", text)
    done = site_b.cas("analyze", crashes[0], "both")
    assert done.stdout.split() == ["6.1.192-1.cas1.x86_64", "True"]


def test_two_at_once_lose_nothing(site_b: Site, crashes: list[str]) -> None:
    for name in ("one", "two"):
        add(site_b, name, f"cas_set {name}.x 1; cas_ticket {name}")
    with (
        site_b.start("cas", "analyze", "type=crash", "one") as one,
        site_b.start("cas", "analyze", "type=crash", "two") as two,
    ):
        assert (one.wait(120), two.wait(120)) == (0, 0)
    for crash_id in crashes:
        found = info(site_b, crash_id)
        assert found["properties"] == {"one": {"x": 1}, "two": {"x": 1}}
        assert {"one", "two"} < set(found["tickets"])


HOSTILE = {
    "endless": ("yes", "it wrote more than 64.0 KiB"),
    "silent": ("sleep 1000", "hung: no output and no use of the processor for 1 s"),
    "forks": ("for i in $(seq 400); do sleep 9 & done; wait", "processes|exit status|hung"),
    "garbage": ('head -c 100000 /dev/urandom > "$CAS_PIPE"', "in its pipe are no message"),
    "floods": ('cat /dev/zero > "$CAS_PIPE"', "too much into its pipe"),
    "closes": ("exec >&- 2>&-; sleep 1000", "hung: no output and no use"),
    "spins": ("while :; do :; done", "killed by SIGXCPU"),
    "dies": ("kill -SEGV $$", "killed by SIGSEGV"),
}


@pytest.mark.parametrize("name", few_of(HOSTILE, {"endless", "silent", "forks", "floods"}))
def test_a_hostile_analyzer_is_ended_and_said(site_b: Site, crashes: list[str], name: str) -> None:
    working_sandbox()
    text, why = HOSTILE[name]
    site_b.environment["CAS_WATCHDOG"] = "1"
    site_b.settings |= {"sectionLimit": "64K", "cpuLimit": "1"}
    add(site_b, "hostile", text)
    begun = time.monotonic()
    patience = "60" if name == "spins" else "3"  # a busy machine gives it its second late
    done = site_b.cas("analyze", "--timeout", patience, crashes[0], "hostile", timeout=100)
    assert done.returncode == 1, (done.stdout[:200], done.stderr)
    assert re.search(why, done.stderr)
    assert len(done.stdout) <= 64 << 10
    assert time.monotonic() - begun < 60
    assert info(site_b, crashes[0])["properties"] == {}


def test_an_analyzer_reaches_nothing_of_the_site(
    site_b: Site, crashes: list[str], tmp_path: Path
) -> None:
    working_sandbox()
    text = f"""
        for each in {site_b.settings["database"]} {site_b.jobs} {tmp_path}/cas.conf {os.devnull}; do
            [ ! -s "$each" ] || echo "sees $each"
        done
        ls /files
        echo x >> "$CAS_DUMP" && echo "writes the dump"
        (exec 3<>/dev/tcp/127.0.0.1/1) 2>&1 | grep -o 'refused\\|unreachable'
        ls /sys/class/net 2>/dev/null
        cat /proc/net/dev | tail -n +3 | cut -d: -f1
    """
    add(site_b, "curious", text)
    done = site_b.cas("analyze", crashes[0], "curious")
    *seen, interface = done.stdout.split("\n")[:-1]
    assert not any(line.startswith(("sees", "writes")) for line in seen)
    assert {"vmcore", "vmlinux"} < set(seen)
    assert interface.strip() == "lo"


def test_a_command_of_the_debugger_does_in_the_place_of_an_analyzer(
    site_b: Site, crashes: list[str]
) -> None:
    site_b.settings["engine"] = "drgn"
    done = site_b.cas("analyze", "type=crash", "sys -t")
    assert done.returncode == 0, done.stderr
    heads, answers = done.stdout.splitlines()[::2], done.stdout.splitlines()[1::2]
    assert [head.split()[:2] for head in heads] == [["==", each[:16]] for each in crashes]
    assert answers == ["TAINTED_MASK: 1080  GDO"] * 3
    site_b.settings["debugs"] = str(site_b.directory / "debugs")
    done = site_b.cas("analyze", crashes[0], "bt")
    assert "(inline)           cas_balance [cas_oops]" in done.stdout  # by its debug file
    done = site_b.cas("analyze", crashes[0], "dis nosuch")
    assert (done.returncode, done.stdout) == (1, "dis: symbol not found: nosuch\n")
    assert changes(site_b, crashes[0]) == []


@pytest.mark.long
def test_a_command_runs_in_crash_where_there_is_one(site_b: Site, crashes: list[str]) -> None:
    needs("crash")
    site_b.settings["engine"] = "auto"
    done = site_b.cas("analyze", crashes[0], "sys -t")
    assert (done.returncode, done.stdout) == (0, "TAINTED_MASK: 1080  DO\n"), done.stderr
    add(site_b, "opens", 'echo sys | crash -s "$CAS_VMLINUX" "$CAS_DUMP" | grep RELEASE')
    done = site_b.cas("analyze", crashes[0], "opens")
    assert done.stdout.split() == ["RELEASE:", "6.1.192-1.cas1.x86_64"]


def test_what_is_auto_runs_on_each_new_dump_and_fails_nothing(site_b: Site, vmcore_b: Path) -> None:
    site_b.settings["engine"] = "drgn"
    add(site_b, "first", "cas_set first yes")
    add(
        site_b,
        "auto",
        "# auto: yes\n# needs: first\necho $(cas_info properties.first); cas_set auto 1",
    )
    add(site_b, "bad", "# auto: yes\nexit 3")
    done = site_b.cas("-i", "T-1", "-f", vmcore_b)
    assert done.returncode == 0, done.stderr
    assert "* auto: yes\n" in done.stderr
    assert "! the analyzer bad, which runs by itself: exit status 3\n" in done.stderr
    assert done.stdout == f"{site_b.job('T-1')}\n"
    assert info(site_b, "T-1")["properties"] == {"first": "yes", "auto": 1}
    again = site_b.cas("upload", vmcore_b)  # nothing new
    assert "auto" not in again.stderr


@pytest.mark.long
def test_an_analyzer_is_worked_on_in_a_shell_and_stored_if_that_ends_well(
    site_b: Site, crashes: list[str]
) -> None:
    working_sandbox()
    needs("bash")
    add(site_b, "draft", "echo before $CAS_ARCH\n")
    with person(site_b, "debug", crashes[0][:8], "draft") as user:
        user.wait_for(b'the analyzer "draft" is in $CAS_ANALYZER; cas_analyze runs it')
        user.wait_for(b"draft 79091db8> ")
        user.press(b"cas_analyze\r")
        user.wait_for(b"before x86_64")
        user.wait_for(b"draft 79091db8> ")
        user.press(b"echo 'cas_set tried \"$CAS_TYPE\"; echo after' > $CAS_ANALYZER; cas_analyze\r")
        user.wait_for(b"after\r\n")  # unlike what was typed
        user.wait_for(b"draft 79091db8> ")
        user.press(b"exit 3\r")
        user.wait_for(b"the shell ended with exit status 3: draft stays as it was")
        assert user.process.wait(60) == 3
        assert user.is_terminal_as_before
    assert info(site_b, crashes[0])["properties"] == {"tried": "crash"}
    assert site_b.cas("analyze", crashes[0], "draft").stdout == "before x86_64\n"
    with person(site_b, "debug", crashes[0][:8], "draft") as user:
        user.wait_for(b"draft 79091db8> ")
        user.press(b"echo 'echo $((6 * 7))' > $CAS_ANALYZER; exit 0\r")
        user.wait_for(b"stored what was changed of draft (shell)")
        assert user.process.wait(60) == 0
    assert site_b.cas("analyze", crashes[0], "draft").stdout == "42\n"


@pytest.mark.long
def test_a_python_analyzer_is_worked_on_with_the_dump_open(
    site_b: Site, crashes: list[str]
) -> None:
    working_sandbox()
    needs("bash")
    add(site_b, "draft", "print('jiffies', prog['jiffies'].value_())\n")
    with person(site_b, "debug", crashes[1], "draft") as user:
        user.wait_for(b"> ")
        user.press(b"cas_analyze\r")
        user.wait_for(b"jiffies 4")
        user.press(b"exit\r")
        user.wait_for(b"draft was not changed")
        assert user.process.wait(60) == 0


def test_without_a_terminal_an_analyzer_is_run_and_not_debugged(
    site_b: Site, crashes: list[str]
) -> None:
    done = site_b.cas("debug", crashes[0], "signature")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"to run it: cas analyze {crashes[0]} signature" in done.stderr


def test_the_example_of_the_guide_works(site_b: Site, crashes: list[str]) -> None:
    guide = (FIXTURES.parents[2] / "docs" / "analyzers.md").read_text()
    texts = [part.partition("\n\n")[2] for part in guide.split("Write `")[1:]]
    for name, text in zip(("uptime", "threads"), texts, strict=True):
        lines = itertools.takewhile(lambda line: line.startswith("       "), text.split("\n"))
        add(site_b, name, "\n".join(line[7:] for line in lines) + "\n")
    done = site_b.cas("analyze", crashes[0], "threads")
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert re.fullmatch(rf"{crashes[0]} \d+ 1\n", done.stdout)
    assert site_b.cas("report", "tasks.stuck").stdout == '{\n  "1": 1\n}\n'

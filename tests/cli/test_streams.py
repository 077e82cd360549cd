"""Standard streams that are broken, full or closed, and signals at the worst time."""

from __future__ import annotations

import fcntl
import os
import pty
import subprocess
import time
from pathlib import Path

import pytest

from cas.database.store import Store
from cas.model.host import Host

from installed import COMMANDS, FIXTURES, Site, few_of

WAITING = 6
STREAMS = ("2>&1 | true", "2>/dev/full >/dev/full", "<&- >&- 2>&-")


@pytest.fixture
def bare(site: Site) -> Site:
    """A site that knows no kernel."""
    site.settings["debugs"] = str(site.directory / "debugs")
    return site


def in_a_shell(
    site: Site, redirected: str, *words: str | Path
) -> subprocess.CompletedProcess[bytes]:
    """Run a command with its streams as a shell makes them; its own status."""
    return subprocess.run(
        ["bash", "-c", f'"$0" "$@" {redirected}; exit ${{PIPESTATUS[0]}}', COMMANDS / words[0]]
        + [str(word) for word in words[1:]],
        env=site.prepared(),
        capture_output=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("redirected", few_of(STREAMS, {"<&- >&- 2>&-"}))
def test_a_job_goes_on_without_anybody_to_tell(bare: Site, vmcore_b: Path, redirected: str) -> None:
    done = in_a_shell(bare, redirected, "cas", "-i", "T-1", "-f", vmcore_b)
    assert (done.returncode, done.stderr) == (WAITING, b"")
    assert bare.result("T-1")["reason"].startswith("no debuginfo for 6.1.192")
    log = (bare.job("T-1") / "T-1.log").read_text()
    assert "Reading the dump" in log


def test_a_terminal_that_goes_takes_no_job_with_it(bare: Site, vmcore_b: Path) -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [COMMANDS / "cas", "-i", "T-1", "-f", vmcore_b],
        env={**bare.prepared(), "TERM": "xterm"},
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    )
    os.close(follower)
    assert os.read(leader, 4096)  # it has begun to draw
    os.close(leader)
    assert process.wait(60) == WAITING
    assert bare.result("T-1")["verdict"] == "waiting"


def test_a_result_that_cannot_be_printed_is_said_and_the_status_is_the_jobs(
    waiting: Site,
) -> None:
    done = in_a_shell(waiting, ">/dev/full", "cas", "-i", "T-1")
    assert done.returncode == WAITING
    *_, problem, where = done.stderr.decode().splitlines()
    assert problem == "! standard output cannot be written: No space left on device"
    assert where == f"* {waiting.job('T-1')}"
    assert in_a_shell(waiting, "| true", "cas-admin", "build").returncode == 0


@pytest.mark.parametrize(
    "words",
    few_of(("cas-admin kernels", "cas --help", "cas debug T-1 -c sys"), {"cas-admin kernels"}),
)
def test_results_for_which_there_is_no_room_are_no_success(finished: Site, words: str) -> None:
    done = in_a_shell(finished, ">/dev/full", *words.split())
    assert done.returncode == 75
    assert b"! standard output cannot be written: No space left on device" in done.stderr
    assert b"Exception" not in done.stderr


@pytest.mark.parametrize(
    "words",
    few_of(
        ("cas --version", "cas identify vmcore", "cas debug T-1 -c sys", "cas-admin status"),
        {"cas identify vmcore", "cas-admin status"},
    ),
)
def test_results_that_nobody_can_get_are_no_success(finished: Site, words: str) -> None:
    program, *rest = words.replace("vmcore", str(FIXTURES / "b" / "vmcore.kdump")).split()
    done = in_a_shell(finished, ">&-", program, *rest)
    assert done.returncode == 75
    assert b"! standard output is closed\n" in done.stderr


def test_what_was_done_is_told_where_stdout_is_full_and_all_of_it_is_done(site: Site) -> None:
    store = Store(site.settings["database"])
    for name in ("one", "two"):
        store.hosts.put_host(Host(name))
    done = in_a_shell(site, ">/dev/full", "cas-admin", "host", "disable", "one", "two")
    assert done.returncode == 0
    assert done.stderr.decode().splitlines() == [
        "! standard output cannot be written: No space left on device",
        "* disabled one",
        "* disabled two",
    ]
    assert not any(host.is_enabled for host in store.registered_hosts())
    assert in_a_shell(site, "| true", "cas-admin", "host", "enable", "one", "two").returncode == 0
    assert all(host.is_enabled for host in store.registered_hosts())


def test_a_slow_reader_of_a_non_blocking_pipe_gets_everything(site: Site, vmcore_b: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    process = subprocess.Popen(
        [COMMANDS / "cas", "identify", "--json", vmcore_b],
        env=site.prepared(),
        stdout=writing,
        stderr=subprocess.PIPE,
    )
    os.close(writing)
    assert process.stderr is not None
    time.sleep(1)
    with os.fdopen(reading, "rb") as file:
        said = file.read()
    assert (process.wait(60), process.stderr.read()) == (0, b"")
    assert said.endswith(b"}\n")
    assert len(said) > 1 << 14


@pytest.mark.parametrize(
    "where", ["cas.settings.config", "cas.commands.submit", "cas.triage.pipeline"]
)
@pytest.mark.parametrize("how", few_of(("raised", "swallowed"), {"swallowed"}))
def test_a_signal_while_something_is_imported_is_an_interruption(
    bare: Site, vmcore_b: Path, how: str, where: str
) -> None:
    """Python drops what is raised in a callback of a weak reference: importlib has such ones."""
    (bare.directory / "sitecustomize.py").write_text(
        f"""
import os, signal, sys, weakref

class Thing:
    pass

class Finder:
    def find_spec(name, path=None, target=None):
        if name == {where!r} and sys.meta_path.remove(Finder) is None:
            thing = Thing()
            kill = lambda _=None: os.kill(os.getpid(), signal.SIGINT)
            if {how!r} == "raised":
                kill()
            watch = weakref.ref(thing, kill)

sys.meta_path.insert(0, Finder)
"""
    )
    bare.environment["PYTHONPATH"] = str(bare.directory)
    done = bare.cas("-i", "T-1", "-f", vmcore_b)
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    assert "KeyboardInterrupt" not in done.stderr
    if where != "cas.settings.config":
        assert done.stderr.splitlines()[-2].startswith("! interrupted")


def test_a_time_zone_that_is_none_is_said(bare: Site, vmcore_b: Path) -> None:
    bare.environment["TZ"] = "XYZ99999"
    done = bare.cas("identify", vmcore_b)
    assert done.returncode == 0
    assert done.stderr.startswith("! TZ=XYZ99999 is no time zone: times are in UTC\n")

"""Whole jobs whose crash runs on analysis hosts: real sshd, real crash, and hosts that fail."""

from __future__ import annotations

import contextlib
import hashlib
import lzma
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_crash import loop
from ssh_servers import Sshd, sshd
from three_hosts import three_hosts

from installed import FIXTURES, Site, answer

VERSION = '[ "$1" != --version ] || { echo "crash 8.0.9"; exit 0; }\n'
DIGESTS = """for word; do vmlinux=$vmcore vmcore=$word; done
digests=$(sha256sum "$vmlinux" "$vmcore" | cut -d ' ' -f 1)
"""
SNIPPETS = ("traceback", "sys", "modules", "prelude")
HANGS_IN_SYS = loop('[ "$w" = sys ] && sleep 60 || echo "$w"')


@pytest.fixture
def hosts(site_b: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Sshd]]:
    """Start and register a host; where a script is given, it is the crash there."""
    site_b.settings |= {"hosts": "first", "hostKeepalive": "4", "respawnInterval": "0.1"}
    site_b.keep_snippets(*SNIPPETS)
    monkeypatch.setenv("HOME", str(site_b.directory))
    with contextlib.ExitStack() as stack:

        def start(name: str, crash: str = "", machine: str = "") -> Sshd:
            directory = site_b.directory / name
            path = fake_programs(directory, crash, machine)
            settings = {"SetEnv": f"PATH={path}:/usr/bin:/bin HOME={directory}"}
            server = stack.enter_context(sshd(directory, site_b.directory, settings))
            server.know()
            added = ("host", "add", f"127.0.0.1:{server.port}")
            assert answer(site_b.world(), "cas-admin", *added).status == 0
            return server

        yield start


def fake_programs(directory: Path, crash: str, machine: str) -> Path:
    """A directory of programs that go before the real ones."""
    programs = directory / "bin"
    programs.mkdir(parents=True)
    scripts = {"crash": crash and VERSION + crash, "uname": machine and f"echo {machine}\n"}
    for name, script in scripts.items():
        if script:
            write_program(programs / name, script)
    return programs


def write_program(path: Path, script: str) -> None:
    path.unlink(missing_ok=True)
    path.write_text(f"#!/bin/sh\n{script}")
    path.chmod(0o755)


def copies(server: Sshd) -> list[Path]:
    return sorted((server.directory / ".cache/cas/objects").rglob("*/" + "?" * 64))


def test_shared_storage_is_used_in_place(
    site_b: Site, hosts: Callable[..., Sshd], vmcore: Path, indexed: Path, tmp_path: Path
) -> None:
    """There is no crash on this machine.

    The kernel has an index, which spares the start of crash two thirds of its time.
    """
    (tmp_path / "kernels/vmlinux").symlink_to(indexed)
    site_b.settings |= {"kernels": str(tmp_path / "kernels")}
    assert site_b.admin("-b").returncode == 0
    server = hosts("one")
    site_b.settings |= {"hosts": "auto", "crash": "/nowhere/crash"}
    done = site_b.cas("-i", "T-1", "-f", vmcore)
    assert done.returncode == 0, done.stderr
    result = site_b.result("T-1")
    assert result["host"] == f"127.0.0.1:{server.port}"
    assert result["ladder"] == [f"crash on 127.0.0.1:{server.port}"]
    assert {section["engine"] for section in result["sections"]} == {"crash"}
    assert "cas_oops" in (site_b.job("T-1") / "traceback").read_text()
    assert f"crash ran on the analysis host 127.0.0.1:{server.port}" in (
        (site_b.job("T-1") / "report.txt").read_text()
    )
    assert copies(server) == []
    # the host removes it behind the job's end
    wait_for(lambda: not any(sessions(server).iterdir()))


@pytest.mark.long
def test_this_machines_crash_comes_first_unless_the_site_says_otherwise(
    site_b: Site, hosts: Callable[..., Sshd], vmcore_b: Path
) -> None:
    hosts("one", loop("exit 1"))
    own = site_b.directory / "crash"
    write_program(own, VERSION + loop('echo "here $w"'))
    site_b.settings |= {"hosts": "auto", "crash": str(own)}
    assert site_b.cas("-i", "T-1", "-f", vmcore_b).returncode == 0
    assert site_b.result("T-1")["ladder"] == ["crash"]
    assert (site_b.job("T-1") / "sys").read_text() == "here sys\nhere sys\n"


@pytest.mark.long
def test_a_dump_of_another_architecture_goes_to_a_host_of_that_architecture(
    site_b: Site,
    hosts: Callable[..., Sshd],
    tmp_path: Path,
    catalogued: Callable[[Site, str], Site],
) -> None:
    catalogued(site_b, "arm64").settings["hosts"] = "auto"
    assert site_b.admin("-b").returncode == 0
    hosts("x86", loop("echo wrong"))
    arm = hosts("arm", loop('echo "$w on arm"', "6.1.192-1.cas1.aarch64"), machine="aarch64")
    dump = tmp_path / "vmcore"
    (packed,) = (FIXTURES / "arm64").glob("vmcore*.xz")
    dump.write_bytes(lzma.decompress(packed.read_bytes()))
    done = site_b.cas("-i", "T-1", "-f", dump)
    assert done.returncode == 0, done.stderr
    assert site_b.result("T-1")["host"] == f"127.0.0.1:{arm.port}"
    assert (site_b.job("T-1") / "sys").read_text() == "sys on arm\nsys on arm\n"


def test_another_host_goes_on_where_one_is_lost(
    site_b: Site, hosts: Callable[..., Sshd], vmcore_b: Path
) -> None:
    servers = [hosts("one", HANGS_IN_SYS), hosts("two", HANGS_IN_SYS)]
    with site_b.start("cas", "-i", "T-1", "-f", vmcore_b) as process:
        lost, other = in_use_at(servers, site_b, "sys")
        write_program(other.directory / "bin/crash", VERSION + loop('echo "other $w"'))
        lost.kill()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    result = site_b.result("T-1")
    assert result["ladder"] == [f"crash on 127.0.0.1:{server.port}" for server in (lost, other)]
    texts = [(site_b.job("T-1") / name).read_text() for name in ("modules", "sys")]
    assert texts == ["mod\nmod\n", "other sys\nother sys\n"]
    assert [section["name"] for section in result["sections"]] == ["modules", "sys", "traceback"]
    moved = f"crash had to move on: 127.0.0.1:{lost.port}: "
    assert any(remark.startswith(moved) for remark in result["remarks"])


@pytest.mark.long
def test_with_no_host_left_drgn_does_the_rest_and_the_report_says_so(
    site_b: Site, hosts: Callable[..., Sshd], vmcore_b: Path
) -> None:
    server = hosts("one", HANGS_IN_SYS)
    site_b.settings["crash"] = "/nowhere/crash"
    with site_b.start("cas", "-i", "T-1", "-f", vmcore_b) as process:
        in_use_at([server], site_b, "sys")
        server.stop()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    result = site_b.result("T-1")
    engines = {section["name"]: section["engine"] for section in result["sections"]}
    assert engines == {"modules": "crash", "sys": "drgn", "traceback": "drgn"}
    lost = f"127.0.0.1:{server.port}: no sign of life for 4 s"
    assert any(lost in text and text.endswith(": drgn did it") for text in result["remarks"])
    assert "TAINTED_MASK" in (site_b.job("T-1") / "sys").read_text()


@pytest.mark.long
def test_a_host_whose_crash_only_repeats_what_it_is_told_is_not_believed(
    site_b: Site, hosts: Callable[..., Sshd], vmcore_b: Path
) -> None:
    server = hosts("one", "exec cat\n")
    site_b.settings |= {"crash": "/nowhere/crash", "watchdog": "2", "stopInterval": "1"}
    done = site_b.cas("-i", "T-1", "-f", vmcore_b)
    assert done.returncode == 0, done.stderr
    assert f"crash 8.0.9 on 127.0.0.1:{server.port} does not open the dump: " in done.stderr
    assert ", and repeats what it is told" in done.stderr
    assert site_b.result("T-1")["engine"] == "drgn"
    assert "NODENAME" in (site_b.job("T-1") / "sys").read_text()


@pytest.mark.long
def test_a_host_without_room_is_waited_for_and_then_done_without(
    site_b: Site, hosts: Callable[..., Sshd], vmcore_b: Path
) -> None:
    hosts("one", HANGS_IN_SYS)
    site_b.settings |= {"hostJobs": "1", "hostWait": "1", "crash": "/nowhere/crash"}
    with site_b.start("cas", "-i", "T-1", "-f", vmcore_b) as process:
        wait_for(lambda: list(site_b.jobs.glob("T-1/*/sys")))
        done = site_b.cas("-i", "T-2", "-f", vmcore_b)
        process.terminate()
    assert done.returncode == 0, done.stderr
    assert "all analysis hosts are busy" in done.stderr
    assert any("no room for too long" in text for text in site_b.result("T-2")["remarks"])


@pytest.mark.long
def test_a_host_that_answers_without_end_costs_one_section(
    site_b: Site, hosts: Callable[..., Sshd], vmcore_b: Path
) -> None:
    hosts("one", loop('[ "$w" != sys ] && echo fine || yes "\033]0;title\007 lies"'))
    site_b.settings |= {"sectionLimit": "1M", "attempts": "2", "stopInterval": "1"}
    done = site_b.cas("-i", "T-1", "-f", vmcore_b)
    assert done.returncode == 3, done.stderr
    statuses = {each["name"]: each["status"] for each in site_b.result("T-1")["sections"]}
    assert statuses == {"modules": "ok", "sys": "cut", "traceback": "ok"}
    assert (site_b.job("T-1") / "sys").stat().st_size <= 2 << 20
    assert "\033" not in (site_b.job("T-1") / "report.txt").read_text() + done.stderr


def test_storage_that_is_not_shared_is_copied_once(
    site_b: Site, tmp_path: Path, vmlinux_b: Path, vmcore_b: Path
) -> None:
    site_b.keep_snippets(*SNIPPETS)
    site_b.settings["hosts"] = "first"
    hidden = (site_b.jobs, Path(site_b.settings["debugs"]))
    for directory in hidden:
        directory.mkdir(exist_ok=True)
    with three_hosts(tmp_path / "hosts", tmp_path, count=1, hides=hidden) as (host,):
        host.fake("crash", VERSION + DIGESTS + loop('echo "$digests"'))
        assert site_b.admin("host", "add", host.name).returncode in (0, 3)  # its disk is small
        done = [site_b.cas("-i", "T-1", "-f", vmcore_b)]
        site_b.settings["storage"] = "reference"  # the copy there is known by its content
        done.append(site_b.cas("-i", "T-2", "-f", vmcore_b))
        assert [each.returncode for each in done] == [0, 0], done[0].stderr
        assert ["Copying" in each.stderr for each in done] == [True, False]
    expected = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (vmlinux_b, vmcore_b)]
    for ticket in ("T-1", "T-2"):
        assert site_b.result(ticket)["host"] == host.name
        assert (site_b.job(ticket) / "traceback").read_text().split()[:2] == expected
        transcript = (site_b.job(ticket) / "crash.out").read_text()
        assert re.search(r'mod -s cas_oops "\S+/objects/', transcript)


def in_use_at(servers: list[Sshd], site: Site, section: str) -> list[Sshd]:
    """The host whose crash works on a section, then the others."""
    wait_for(lambda: list(site.jobs.glob(f"T-1/*/{section}")))
    return sorted(servers, key=lambda server: not any(sessions(server).glob("*")))


def sessions(server: Sshd) -> Path:
    return server.directory / ".cache/cas/sessions"


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)

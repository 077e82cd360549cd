"""``cas debug`` with crash on an analysis host: real sshd, and a script that is crash there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_crash import opened
from person import person
from ssh_servers import Sshd, sshd

from installed import Site

Serve = Callable[..., Sshd]
OPENED = (
    '#!/bin/sh\n[ "$1" != --version ] || { echo "crash 8.0.9"; exit 0; }\n'
    + opened()
    + 'opened "$@"\n'
)


@pytest.fixture
def job(finished: Site, tmp_path: Path) -> Site:
    """A site with the job T-1 and room for hosts."""
    (tmp_path / "cores").symlink_to(finished.jobs)
    return Site(
        tmp_path,
        {
            **finished.settings,
            "workDirectory": str(tmp_path / "cores"),
            "database": str(tmp_path / "cas.db"),
            "engine": "auto",
            "hostKeepalive": "4",
        },
    )


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """``serve(site, script, machine)`` starts and registers a host."""
    with contextlib.ExitStack() as stack:

        def start(site: Site, script: str, machine: str = "") -> Sshd:
            home = tmp_path / "host"
            programs = home / "bin"
            programs.mkdir(parents=True)
            scripts = {"crash": OPENED + script}
            if machine:
                scripts["uname"] = f"#!/bin/sh\necho {machine}\n"
            for name, text in scripts.items():
                (programs / name).write_text(text)
                (programs / name).chmod(0o755)
            settings = {"SetEnv": f"PATH={programs}:/usr/bin:/bin HOME={home}"}
            server = stack.enter_context(sshd(home, site.directory, settings))
            server.know()
            done = site.admin("host", "add", f"127.0.0.1:{server.port}")
            assert done.returncode == 0, done.stderr
            return server

        yield start


def test_a_command_runs_there_and_its_status_comes_back(job: Site, serve: Serve) -> None:
    lacks = 'nosuch*) echo "crash: command not found: nosuch"; exit 0;;'
    server = serve(job, f'read -r line; case $line in {lacks} esac; echo "told: $line"; exit 7\n')
    words = ("debug", "T-1", "--host", f"127.0.0.1:{server.port}", "-c")
    done = job.cas(*words, "bt -a")
    assert (done.returncode, done.stdout) == (7, "told: bt -a\n"), done.stderr
    unknown = job.cas(*words, "nosuch 1")
    assert unknown.returncode == 1
    assert "crash has no command nosuch" in unknown.stderr


def test_a_host_that_is_not_registered_is_a_wrong_command_line(job: Site) -> None:
    done = job.cas("debug", "T-1", "--host", "arm-03", "-c", "bt")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no analysis host 'arm-03' is registered" in done.stderr


def test_a_dump_of_another_architecture_goes_to_its_host(
    tmp_path: Path, finished_of: Callable[[str], Site], serve: Serve
) -> None:
    site = finished_of("arm64")
    site.settings |= {"database": str(tmp_path / "cas.db"), "engine": "auto"}
    serve(site, 'read -r line; echo "$line there"\n', "aarch64")
    done = site.cas("debug", "T-1", input="bt\n")
    assert (done.returncode, done.stdout) == (0, "bt there\n"), done.stderr


def test_a_person_works_there(job: Site, serve: Serve) -> None:
    script = (
        "trap 'echo caught' INT; trap 'stty size' WINCH; stty size\n"
        "until read -r key; do :; done; exit 5\n"
    )
    server = serve(job, script)
    words = ("debug", "T-1", "--host", f"127.0.0.1:{server.port}")
    with person(job, *words, columns=101, rows=33) as user:
        user.wait_for(b"33 101")
        user.wait_until_raw()
        user.press(b"\x03")
        user.wait_for(b"caught")
        user.resize(120, 40)
        user.wait_for(b"40 120")
        user.press(b"go\r")
        assert user.status() == 5
        assert user.is_terminal_as_before


@pytest.mark.parametrize(
    "lose",
    [pytest.param(Sshd.stop, marks=pytest.mark.long), Sshd.kill],
    ids=["stopped", "killed"],
)
def test_a_lost_host_is_an_error_and_the_terminal_is_as_before(
    job: Site, serve: Serve, lose: Callable[[Sshd], None]
) -> None:
    server = serve(job, "echo ready; sleep 1000\n")
    with person(job, "debug", "T-1", "--host", f"127.0.0.1:{server.port}") as user:
        user.wait_for(b"ready")
        user.wait_until_raw()
        lose(server)
        assert user.status() == 4
        assert f"127.0.0.1:{server.port}: ".encode() in user.seen
        assert user.is_terminal_as_before

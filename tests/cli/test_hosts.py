"""Analysis hosts through the installed ``cas-admin``."""

from __future__ import annotations

import argparse
import json
import platform
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ssh_servers import Sshd, make_key, sshd

import cas_admin.command_line
from cas.commands import World
from cas.commands.program import defaults
from cas.database.store import Store
from cas.errors import UsageError
from cas.model.host import Host
from cas.progress import Silent
from cas.settings.config import read_config
from cas_admin.hosts import Address, HostNotRegistered, host_address

from installed import Site, answer, closed_port, needs

Serve = Callable[..., Sshd]
ARCH = platform.machine()
MAN = Path(__file__).parents[2] / "man" / "cas-admin.8"


@pytest.fixture
def site(site: Site) -> Site:
    site.settings["hostDirectory"] = str(site.directory / "there")
    site.jobs.mkdir()
    (site.directory / ".ssh").mkdir()
    return site


@pytest.fixture
def serve(site: Site) -> Iterator[Serve]:
    """``serve(settings)``: a host that nobody knows yet."""
    with ExitStack() as stack:

        def start(settings: Mapping[str, object] | None = None) -> Sshd:
            directory = site.directory / f"sshd-{closed_port()}"
            return stack.enter_context(sshd(directory, site.directory, settings))

        yield start


def know(site: Site, name: str, key: Path) -> None:
    kind, data = key.read_text().split()[:2]
    with (site.directory / ".ssh/known_hosts").open("a") as known:
        known.write(f"{name} {kind} {data}\n")


def registered(site: Site) -> tuple[Host, ...]:
    return Store(site.directory / "cas.db").registered_hosts()


def as_json(text: str) -> list[Any]:
    found = json.loads(text)
    assert found["version"] == 1
    hosts: list[Any] = found["hosts"]
    return hosts


def test_the_live_host_is_stored_and_the_others_are_listed_with_their_reasons(
    site: Site, serve: Serve
) -> None:
    live, unknown = serve(), serve()
    live.know()
    unknown.know(make_key(site.directory / "another").with_suffix(".pub"))
    dead = closed_port()
    know(site, f"[127.0.0.1]:{dead}", live.directory / "host.pub")
    done = site.admin("-s")
    assert done.returncode == 3
    (host,) = registered(site)
    assert (host.name, host.port, host.arch) == ("127.0.0.1", live.port, ARCH)
    assert needs("crash") in [crash.path for crash in host.crashes]
    reasons = [line for line in done.stderr.splitlines() if line.startswith("!")]
    assert [port for port in (dead, unknown.port) if any(str(port) in r for r in reasons)] == [
        dead,
        unknown.port,
    ]
    assert len(reasons) == 2
    assert "refused" in done.stderr
    assert "instead of ssh-ed25519 SHA256:" in done.stderr
    assert re.search(rf"^127\.0\.0\.1 +{live.port} +{ARCH} +\S.* +yes +ok$", done.stdout, re.M)


def test_an_unknown_key_is_refused_with_its_fingerprint_and_nothing_is_stored(
    site: Site, serve: Serve
) -> None:
    server = serve()
    done = site.admin("host", "add", f"127.0.0.1:{server.port}")
    said = subprocess.run(
        [needs("ssh-keygen"), "-lf", server.directory / "host.pub"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.returncode, done.stdout) == (5, "")
    assert f"is not known: ssh-ed25519 {said.stdout.split()[1]}" in done.stderr
    assert "compare the fingerprint" in done.stderr
    assert registered(site) == ()


def test_a_host_that_accepts_no_key_is_not_registered(site: Site, serve: Serve) -> None:
    server = serve()
    server.know()
    (server.directory / "authorized").write_text("")
    done = site.admin("host", "add", f"127.0.0.1:{server.port}")
    assert (done.returncode, done.stdout) == (4, "")
    assert "authorized_keys" in done.stderr
    assert registered(site) == ()


def test_a_host_that_does_not_answer_is_not_registered(site: Site) -> None:
    done = site.admin("host", "add", f"127.0.0.1:{closed_port()}")
    assert (done.returncode, done.stdout) == (75, "")
    assert registered(site) == ()


def test_a_host_is_added_listed_disabled_enabled_and_removed(site: Site, serve: Serve) -> None:
    server = serve()
    server.know()
    name = f"127.0.0.1:{server.port}"
    added = site.admin("host", "add", name)
    assert (added.returncode, added.stderr) == (0, f"* Asking {name}\n")
    listed = site.admin("host", "list")
    assert listed.stdout == added.stdout
    assert site.admin("host", "disable", "127.0.0.1").stdout == f"disabled {name}\n"
    (host,) = as_json(site.admin("host", "list", "--json").stdout)
    assert (host["name"], host["port"], host["is_enabled"]) == ("127.0.0.1", server.port, False)
    assert host["crashes"][0].keys() == {"path", "version", "arch"}
    assert site.admin("host", "list").stdout.splitlines()[1].endswith("disabled")
    assert site.admin("host", "enable", name).stdout == f"enabled {name}\n"
    assert registered(site)[0].is_enabled
    assert site.admin("host", "remove", name).stdout == f"removed {name}\n"
    assert registered(site) == ()


def test_a_disabled_host_stays_so_whatever_is_found_out_about_it(site: Site, serve: Serve) -> None:
    server = serve()
    server.know()
    host = Host("127.0.0.1", server.port, is_enabled=False)
    Store(site.directory / "cas.db").hosts.put_host(host)
    for words in (("host", "add", str(host)), ("host", "check"), ("-s",)):
        assert site.admin(*words).returncode == 0
    (found,) = registered(site)
    assert found.arch == ARCH
    assert not found.is_enabled


def test_check_says_per_host_what_is_wrong_and_how_to_mend_it(site: Site, serve: Serve) -> None:
    fakes = site.directory / "bin"
    fakes.mkdir()
    for tool in ("sh", "uname", "head", "nproc", "grep", "df", "tail", "stat", "mkdir", "rm"):
        (fakes / tool).symlink_to(needs(tool))
    poor = serve({"SetEnv": f"PATH={fakes}"})
    live, changed, denying = serve(), serve(), serve()
    store = Store(site.directory / "cas.db")
    for server in (poor, live, denying):
        server.know()
    changed.know(make_key(site.directory / "another").with_suffix(".pub"))
    (denying.directory / "authorized").write_text("")
    dead = closed_port()
    ports = [dead, *(server.port for server in (poor, live, changed, denying))]
    for port in ports:
        store.hosts.put_host(Host("127.0.0.1", port, arch="s390x"))
    done = site.admin("host", "check", "--json")
    assert done.returncode == 3
    found = {host["port"]: host for host in as_json(done.stdout)}
    assert found.keys() == set(ports)
    assert found[live.port]["problem"] is None
    assert found[live.port]["arch"] == found[poor.port]["arch"] == ARCH
    assert found[dead]["arch"] == "s390x"
    assert {host.port: host.problem for host in store.registered_hosts()} == {
        port: host["problem"] for port, host in found.items()
    }
    assert "refused" in found[dead]["problem"]
    assert "install coreutils" in found[poor.port]["problem"]
    assert "ssh-keygen -R" in found[changed.port]["problem"]
    assert "authorized_keys" in found[denying.port]["problem"]
    warned = [line for line in done.stderr.splitlines() if line.startswith("! ")]
    assert len(warned) == 4
    for port in set(ports) - {live.port}:
        assert sum(str(port) in line for line in warned) == 1


def test_check_ends_with_4_when_no_host_is_of_use(site: Site, serve: Serve) -> None:
    server = serve()
    server.know()
    store = Store(site.directory / "cas.db")
    dead = Host("127.0.0.1", closed_port())
    store.hosts.put_host(dead)
    store.hosts.put_host(Host("127.0.0.1", server.port))
    assert site.admin("host", "check", str(dead)).returncode == 4
    assert site.admin("host", "check").returncode == 3
    assert site.admin("host", "disable", str(dead)).returncode == 0
    assert site.admin("host", "check").returncode == 0


def test_an_interruption_waits_for_no_host(site: Site, serve: Serve) -> None:
    site.settings["hostKeepalive"] = "3600"
    server = serve()
    server.know()
    Store(site.directory / "cas.db").hosts.put_host(Host("127.0.0.1", server.port))
    server.process.send_signal(signal.SIGSTOP)
    try:
        with site.start("cas-admin", "host", "check") as running:
            assert running.stderr
            assert running.stderr.readline() == "* Asking 1 host\n"
            running.send_signal(signal.SIGINT)
            running.communicate(timeout=60)
    finally:
        server.process.send_signal(signal.SIGCONT)
    assert running.returncode == 130


def test_a_name_that_is_not_registered_is_an_error(site: Site) -> None:
    names = ("arm-03", "arm-04")
    Store(site.directory / "cas.db").hosts.put_host(Host(names[0]))
    done = site.admin("host", "remove", *names)
    assert (done.returncode, done.stdout) == (2, "")
    assert "arm-04 is no registered host" in done.stderr
    assert "cas-admin host list" in done.stderr
    config = read_config(site.directory / "cas.conf", defaults({"HOME": str(site.directory)}))
    world = World(config, Silent(), datetime.now(UTC), False, lambda _: "")
    for action in ("enable", "disable", "check"):
        with pytest.raises(HostNotRegistered, match="arm-04 is no registered host"):
            answer(world, "cas-admin", "host", action, *names)
    assert registered(site) == (Host(names[0]),)


def test_a_name_with_several_ports_needs_its_port(site: Site) -> None:
    store = Store(site.directory / "cas.db")
    for port in (22, 2222):
        store.hosts.put_host(Host("arm-03", port))
    done = site.admin("host", "remove", "arm-03")
    assert done.returncode == 2
    assert "arm-03 may be any of arm-03:22, arm-03:2222" in done.stderr
    assert site.admin("host", "remove", "arm-03:22").returncode == 0
    assert registered(site) == (Host("arm-03", 2222),)


def test_hashed_hosts_are_counted_and_can_be_named(site: Site, serve: Serve) -> None:
    server = serve()
    server.know()
    known = site.directory / ".ssh/known_hosts"
    subprocess.run([needs("ssh-keygen"), "-q", "-H", "-f", known], check=True, capture_output=True)
    done = site.admin("-s")
    assert (done.returncode, done.stdout) == (4, "")
    assert "1 entry is hashed in known_hosts" in done.stderr
    assert "cas-admin host add NAME[:PORT]" in done.stderr
    assert site.admin("host", "add", f"127.0.0.1:{server.port}").returncode == 0


def test_without_known_hosts_nobody_is_asked(site: Site) -> None:
    done = site.admin("-s")
    assert (done.returncode, done.stdout) == (4, "")
    assert "names no host" in done.stderr


def test_registered_hosts_that_are_not_in_known_hosts_stay(site: Site, serve: Serve) -> None:
    Store(site.directory / "cas.db").hosts.put_host(Host("arm-03"))
    serve().know()
    done = site.admin("-s")
    assert done.returncode == 0
    assert "arm-03 is not named in known_hosts and stays registered" in done.stderr
    assert [host.name for host in registered(site)] == ["127.0.0.1", "arm-03"]


def test_one_machine_under_two_names_is_registered_once(site: Site, serve: Serve) -> None:
    server = serve()
    server.know()
    know(site, f"[localhost]:{server.port}", server.directory / "host.pub")
    done = site.admin("-s")
    ((name, port),) = [(host.name, host.port) for host in registered(site)]
    assert (name, port) in {("127.0.0.1", server.port), ("localhost", server.port)}
    assert f"is the same machine as {name}:{port}" in done.stderr
    assert site.admin("host", "add", f"localhost:{server.port}").returncode == 0
    assert site.admin("host", "add", f"127.0.0.1:{server.port}").returncode == 0
    assert len(registered(site)) == 2


def test_machines_that_share_a_host_key_are_all_registered(site: Site, serve: Serve) -> None:
    server = serve()
    server.know()
    other = serve({"HostKey": server.directory / "host"})
    know(site, f"[127.0.0.1]:{other.port}", server.directory / "host.pub")
    assert site.admin("-s").returncode == 0
    assert {host.port for host in registered(site)} == {server.port, other.port}


def test_a_host_is_reached_by_its_ipv6_address(site: Site, serve: Serve) -> None:
    port = closed_port()
    server = serve({"GatewayPorts": f"no\nListenAddress [::1]:{port}"})
    if "Bind to port" in (server.directory / "sshd.log").read_text():
        pytest.skip("this machine has no IPv6")
    know(site, f"[::1]:{port}", server.directory / "host.pub")
    assert site.admin("host", "add", f"[::1]:{port}").returncode == 0
    assert [(host.name, host.port) for host in registered(site)] == [("::1", port)]
    assert site.admin("host", "remove", f"[::1]:{port}").stdout == f"removed [::1]:{port}\n"


def test_a_host_without_crash_is_registered_with_what_is_missing(site: Site, serve: Serve) -> None:
    if needs("crash") != "/usr/bin/crash":
        pytest.skip("crash is where every host is searched for it only on this machine")
    hidden = site.directory / "hidden"
    hidden.mkdir()
    if subprocess.run(
        [needs("unshare"), "-m", "true"], capture_output=True, check=False
    ).returncode:
        pytest.skip("this user may not have a mount namespace")
    program = needs("sshd")
    (hidden / "none").touch()
    wrapped = hidden / "sshd"
    mount = f"mount --bind {hidden}/none /usr/bin/crash && exec {program}"
    wrapped.write_text(f'#!/bin/sh\nexec unshare -m sh -c \'{mount} "$@"\' sshd "$@"\n')
    wrapped.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(hidden), prepend=":")
        server = serve()
    server.know()
    done = site.admin("host", "add", f"127.0.0.1:{server.port}")
    assert done.returncode == 3
    assert "no crash that works is installed there: install the package crash" in done.stderr
    assert registered(site)[0].arch == ARCH


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("arm-03", Address("arm-03")),
        ("arm-03.example.com:2222", Address("arm-03.example.com", 2222)),
        ("192.0.2.7:22", Address("192.0.2.7", 22)),
        ("::1", Address("::1")),
        ("fe80::1%eth0", Address("fe80::1%eth0")),
        ("[::1]", Address("::1")),
        ("[::1]:22", Address("::1", 22)),
        ("[127.0.0.1]:2222", Address("127.0.0.1", 2222)),
    ],
)
def test_what_the_name_of_a_host_means(text: str, expected: Address) -> None:
    assert host_address(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-v",
        "--",
        "a b",
        "a;b",
        "me@a",
        "a:",
        "a:0",
        "a:65536",
        "a:x",
        "[]:22",
        ":22",
        "a\n",
        "é",
    ],
)
def test_what_names_no_host_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="names no host"):
        host_address(text)


def test_the_actions_and_their_options_are_documented() -> None:
    host = verbs(cas_admin.command_line.admin_parser())["host"]
    text = MAN.read_text().partition("\n.Sh HOSTS\n")[2].partition("\n.Sh ")[0]
    heads = re.findall(r"^\.It Cm (.*)$", text, re.M)
    documented = {one.split()[0]: set(re.findall(r"Fl -(\w+)", one)) for one in heads}
    of_every_verb = {"config", "debug", "help"}
    assert documented == {
        name: {word[2:] for word in options(parser) if word.startswith("--")} - of_every_verb
        for name, parser in verbs(host).items()
    }


def verbs(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    (action,) = (one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    return dict(action.choices)


def options(parser: argparse.ArgumentParser) -> set[str]:
    return {word for action in parser._actions for word in action.option_strings}

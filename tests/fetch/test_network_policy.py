"""One policy of what may be connected to, for uploads and for debuginfod servers alike.

Both are asked for each address of the tables, in a network namespace in which each would answer.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from cas.fetch.network import is_private

from installed import needs

PRIVATE = {
    "0.0.0.0": "this host",  # noqa: S104
    "10.0.0.1": "RFC 1918",
    "100.64.0.1": "between a provider and its customers, RFC 6598",
    "127.0.0.1": "loopback",
    "169.254.169.254": "link-local, where clouds tell secrets",
    "172.16.0.1": "RFC 1918",
    "192.168.1.1": "RFC 1918",
    "192.0.2.1": "documentation",
    "198.18.0.1": "benchmarks, RFC 2544",
    "224.0.0.1": "multicast",
    "239.1.2.3": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "broadcast",
    "::": "this host",
    "::1": "loopback",
    "::127.0.0.1": "IPv4-compatible, RFC 4291",
    "::ffff:10.0.0.1": "IPv4-mapped, RFC 4291",
    "::ffff:127.0.0.1": "IPv4-mapped, RFC 4291",
    "64:ff9b::10.0.0.1": "NAT64, RFC 6052",
    "64:ff9b::7f00:1": "NAT64, RFC 6052",
    "64:ff9b:1::1": "NAT64 of a site's own, RFC 8215",
    "2001::1": "Teredo, RFC 4380",
    "2001:db8::1": "documentation",
    "2002:0a00:0001::1": "6to4 of 10.0.0.1, RFC 3056",
    "2002:7f00:1::": "6to4 of 127.0.0.1, RFC 3056",
    "fc00::1": "unique local, RFC 4193",
    "fd12::1": "unique local, RFC 4193",
    "fe80::1%lo": "link-local",
    "fec0::1": "site-local, RFC 3879",
    "ff02::1": "multicast of a link",
    "ff0e::1": "multicast everywhere",
}
PUBLIC = ("9.9.9.9", "::ffff:9.9.9.9", "64:ff9b::909:909", "2620:fe::fe", "172.32.0.1")
SPELLINGS = ("localhost", "2130706433", "0x7f.1", "127.1", "0", "0177.0.0.1")
"""Of loopback's addresses."""
USERS = ("upload", "debuginfod")
REFUSED = "is in a private network, which is not allowed"


@dataclass(frozen=True)
class Outcome:
    """What came of the requests of one user."""

    results: list[str]
    """The address that gave the file, or the error."""
    reached: list[list[str]]
    """Which addresses were connected to, for each request."""
    questions: int
    """How often the name server was asked."""


Ask = Callable[..., Outcome]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """``ask(user, url, …)``: ask for URLs, see network_namespace.py."""
    needs("ip")
    resolver = tmp_path / "resolv.conf"
    resolver.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    bwrap = [needs("bwrap"), "--unshare-user", "--unshare-net", "--uid", "0", "--gid", "0"]
    bwrap += ["--cap-add", "ALL", "--dev-bind", "/", "/"]
    bwrap += ["--ro-bind", resolver, str(Path("/etc/resolv.conf").resolve())]
    if subprocess.run([*bwrap, "true"], check=False, capture_output=True).returncode:
        pytest.skip("bubblewrap cannot make a network namespace here")
    script = Path(__file__).with_name("network_namespace.py")

    def asked(user: str, *urls: str, answers: str = "127.0.0.1") -> Outcome:
        argv = [*bwrap, sys.executable, script, tmp_path, user, answers, *urls]
        done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        results = [one["result"] for one in told["found"]]
        return Outcome(results, [one["reached"] for one in told["found"]], told["questions"])

    return asked


def at(address: str, path: str = "/vmcore") -> str:
    return f"http://[{address}]{path}" if ":" in address else f"http://{address}{path}"


def through(host: str, url: str) -> str:
    """A URL of a host that redirects to another one."""
    return at(host, f"/to/{quote(url, safe='')}")


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses(address: str) -> None:
    assert is_private(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert not is_private(address)


@pytest.mark.parametrize("user", USERS)
def test_no_redirect_of_a_public_host_leads_inside(user: str, ask: Ask) -> None:
    hosts = (*PRIVATE, *SPELLINGS)
    outcome = ask(user, *(through("9.9.9.9", at(host)) for host in hosts))
    for host, result, reached in zip(hosts, outcome.results, outcome.reached, strict=True):
        assert REFUSED in result, host
        assert reached == ["9.9.9.9"], host


def test_no_url_of_an_upload_leads_inside(ask: Ask) -> None:
    hosts = (*PRIVATE, *SPELLINGS)
    outcome = ask("upload", *map(at, hosts))
    for host, result, reached in zip(hosts, outcome.results, outcome.reached, strict=True):
        assert REFUSED in result, host
        assert reached == [], host


@pytest.mark.parametrize("user", USERS)
def test_public_hosts_are_reached(user: str, ask: Ask) -> None:
    direct = ask(user, *map(at, PUBLIC))
    behind = ask(user, *(through("9.9.9.9", at(address)) for address in PUBLIC))
    assert direct.results == behind.results == [one.removeprefix("::ffff:") for one in PUBLIC]


def test_a_private_server_of_the_configuration_is_reached_until_a_public_one_redirects(
    ask: Ask,
) -> None:
    inside, outside = at("10.0.0.1"), at("9.9.9.9")
    outcome = ask(
        "debuginfod",
        inside,
        through("192.168.1.1", inside),
        through("192.168.1.1", outside),
        through("192.168.1.1", through("9.9.9.9", inside)),
        through("9.9.9.9", through("9.9.9.9", inside)),
    )
    assert outcome.results[:3] == ["10.0.0.1", "10.0.0.1", "9.9.9.9"]
    assert all(REFUSED in result for result in outcome.results[3:])
    assert outcome.reached[3:] == [["192.168.1.1", "9.9.9.9"], ["9.9.9.9", "9.9.9.9"]]


def test_an_upload_leads_inside_where_that_is_allowed(ask: Ask) -> None:
    outcome = ask("allowed upload", at("10.0.0.1"), through("9.9.9.9", at("fec0::1")))
    assert outcome.results == ["10.0.0.1", "fec0::1"]


def test_the_checked_address_is_the_one_that_is_reached(ask: Ask) -> None:
    """A name that leads inside when it is asked for again: it is not."""
    url = "http://rebind.test/vmcore"
    upload = ask("upload", url, answers="9.9.9.9;9.9.9.9;127.0.0.1")
    assert upload.results == ["9.9.9.9"]
    assert upload.questions == 2  # for the file and for its checksum
    served = ask("debuginfod", through("9.9.9.9", url), answers="9.9.9.9;127.0.0.1")
    assert served.results == ["9.9.9.9"]
    assert served.questions == 1


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("answers", ["127.0.0.1", "9.9.9.9,127.0.0.1", "169.254.169.254"])
def test_a_name_that_leads_inside_is_refused(user: str, answers: str, ask: Ask) -> None:
    url = through("9.9.9.9", "http://rebind.test/vmcore")
    outcome = ask(user, url, answers=answers)
    assert REFUSED in outcome.results[0]
    assert "rebind.test" in outcome.results[0]
    assert outcome.reached == [["9.9.9.9"]]


def test_a_name_that_leads_inside_for_the_checksum_alone_is_refused(ask: Ask) -> None:
    outcome = ask("upload", "http://rebind.test/vmcore", answers="9.9.9.9;169.254.169.254")
    assert outcome.results[0].startswith("PrivateAddress: rebind.test (169.254.169.254) ")
    assert outcome.reached == [["9.9.9.9"]]

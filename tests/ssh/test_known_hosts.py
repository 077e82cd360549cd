"""What known_hosts says of whom, and which servers it names."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ssh_servers import make_key

from cas.ssh import Destination, SshError, servers_in_known_hosts
from cas.ssh.known_hosts import KnownKey

from installed import needs

KEY = "ssh-ed25519 AAAA"


def found(home: Path, *lines: str) -> list[str]:
    (home / ".ssh").mkdir(exist_ok=True)
    (home / ".ssh/known_hosts").write_text("\n".join(lines))
    return [str(each) for each in servers_in_known_hosts(home).destinations]


def test_each_server_is_named_once(tmp_path: Path) -> None:
    lines = (f"arm-1,10.0.0.1 {KEY}", f"arm-1 {KEY}", f"10.0.0.1 {KEY}", f"ARM-1 {KEY}")
    assert found(tmp_path, *lines, f"arm-2 {KEY}") == ["arm-1", "arm-2"]


def test_ports_and_addresses_are_kept(tmp_path: Path) -> None:
    lines = (f"[arm-1]:2222,[::1]:2222 {KEY}", f"arm-1 {KEY}", f"fe80::1%eth0 {KEY}")
    assert found(tmp_path, *lines) == ["arm-1:2222", "arm-1", "fe80::1%eth0"]
    assert servers_in_known_hosts(tmp_path).destinations[0] == Destination("arm-1", 2222)


@pytest.mark.parametrize(
    "line",
    [
        f"*.example.org,!b.example.org {KEY}",
        f"a? {KEY}",
        f"@revoked arm-1 {KEY}",
        f"@cert-authority *.example.org {KEY}",
        f"# arm-1 {KEY}",
        "arm-1 ssh-ed25519",
        f"[arm-1]:99999 {KEY}",
        f"arm-1;reboot {KEY}",
        f"\x1b[2Jarm {KEY}",
        "",
    ],
)
def test_what_names_no_server_is_left_out(tmp_path: Path, line: str) -> None:
    assert found(tmp_path, line, f"arm-2 {KEY}") == ["arm-2"]


def test_hashed_servers_are_counted(tmp_path: Path) -> None:
    assert found(tmp_path, f"|1|c2FsdA==|aGFzaA== {KEY}", f"|1|YQ==|Yg== {KEY}") == []
    assert servers_in_known_hosts(tmp_path).hashed == 2


def test_without_a_file_there_are_none(tmp_path: Path) -> None:
    assert servers_in_known_hosts(tmp_path).destinations == ()


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    found(tmp_path)
    known = tmp_path / ".ssh/known_hosts"
    known.unlink()
    known.symlink_to("/proc/self/mem")
    with pytest.raises(SshError, match=r"cannot read .*known_hosts"):
        servers_in_known_hosts(tmp_path)


@pytest.mark.parametrize(
    ("patterns", "name", "is_meant"),
    [
        (("a.b",), "a.b", True),
        (("a.b",), "axb", False),
        (("A.b",), "a.b", True),
        (("*.b", "!x.b"), "y.b", True),
        (("*.b", "!x.b"), "x.b", False),
        (("!x.b",), "y.b", False),
        (("a?",), "ab", True),
        (("a?",), "a", False),
        (("[a]:22*",), "[a]:2222", True),
        (("[a-z]",), "b", False),
        (("|1|c2FsdA==|aGFzaA==",), "a", False),
        (("|1|###|",), "a", False),
    ],
)
def test_patterns_mean_what_they_mean_to_ssh(
    patterns: tuple[str, ...], name: str, is_meant: bool, tmp_path: Path
) -> None:
    """ssh-keygen is asked, too."""
    public = make_key(tmp_path / "key").with_suffix(".pub").read_text()
    (tmp_path / "known").write_text(f"{','.join(patterns)} {public}")
    argv = [needs("ssh-keygen"), "-F", name, "-f", tmp_path / "known"]
    assert (subprocess.run(argv, capture_output=True, check=False).returncode == 0) is is_meant
    assert KnownKey("", patterns, "ssh-ed25519", b"").is_for(name) is is_meant

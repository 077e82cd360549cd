"""What ~/.ssh/config says, as far as it is followed, and that the rest is refused."""

from __future__ import annotations

import getpass
import subprocess
from pathlib import Path

import pytest

from cas.ssh import Account, Destination, LoginOptions, SshError, account_of
from cas.ssh.account import route_to

from installed import needs


def account(home: Path, config: str, name: str = "arm-1", **destination: object) -> Account:
    (home / ".ssh").mkdir(exist_ok=True)
    (home / ".ssh/config").write_text(config)
    return account_of(Destination(name, **destination), LoginOptions(home))  # type: ignore[arg-type]


def address(account: Account) -> str:
    return f"{account.user}@{account.host}:{account.port}"


def refusal(home: Path, config: str, name: str = "arm-1") -> str:
    with pytest.raises(SshError) as caught:
        account(home, config, name)
    assert caught.value.hint
    return str(caught.value)


def test_without_a_file_all_is_as_usual(tmp_path: Path) -> None:
    said = account_of(Destination("Arm-1"), LoginOptions(tmp_path))
    assert address(said) == f"{getpass.getuser()}@arm-1:22"
    assert [path.name for path in said.usual_keys] == ["id_ed25519", "id_ecdsa", "id_rsa"]


def test_host_port_and_user_are_followed(tmp_path: Path) -> None:
    config = "Host arm-*\n HostName %h.Example.org\n Port 2222\n User crash\nHost *\n User x\n"
    assert address(account(tmp_path, config)) == "crash@arm-1.example.org:2222"
    assert address(account(tmp_path, config, port=22, user="me")) == "me@arm-1.example.org:22"
    assert address(account(tmp_path, config, "other")) == "x@other:22"


@pytest.mark.parametrize("name", ["a" * 300, "arm\x1b[2J", "arm\u202e"])
def test_a_name_that_no_host_can_have_is_refused(tmp_path: Path, name: str) -> None:
    assert refusal(tmp_path, "", name).isprintable()


def test_files_are_below_the_home_that_is_meant(tmp_path: Path) -> None:
    config = 'IdentityFile ~/.ssh/a b\nIdentityFile "%d/c"\nCertificateFile ~/d\nIdentityAgent ~/e'
    said = account(tmp_path, config)
    assert said.keys == (tmp_path / ".ssh/a b", tmp_path / "c")
    assert (said.certificate, said.agent) == (tmp_path / "d", tmp_path / "e")
    assert said.usual_keys == ()


def test_known_hosts_files_may_be_others_and_still_revoke(tmp_path: Path) -> None:
    pins = account(tmp_path, 'UserKnownHostsFile ~/k "~/l m"\nGlobalKnownHostsFile none').pins
    assert pins.files == (tmp_path / "k", tmp_path / "l m")
    assert tmp_path / ".ssh/known_hosts" in pins.revoking


def test_includes_are_followed(tmp_path: Path) -> None:
    (tmp_path / ".ssh/conf.d").mkdir(parents=True)
    (tmp_path / ".ssh/conf.d/1").write_text("Host arm-1\n Port 2222\n Include more\n")
    (tmp_path / ".ssh/more").write_text("User crash\n")
    said = account(tmp_path, f"Include conf.d/* {tmp_path}/none\nHostName first\nPort 1\n")
    assert address(said) == "crash@first:2222"


def test_an_include_of_blocks_within_a_block_is_refused_there(tmp_path: Path) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/more").write_text("Host *\n Port 2222\n")
    config = "Host arm-2\n Include more\nHost *\n Port 1\n"
    assert address(account(tmp_path, config)).endswith(":1")
    assert "`Include of other blocks` for arm-2" in refusal(tmp_path, config, "arm-2")


def test_an_include_of_itself_ends(tmp_path: Path) -> None:
    assert "cannot be read as ssh_config(5)" in refusal(tmp_path, "Include config")


def test_match_is_followed(tmp_path: Path) -> None:
    config = 'Match originalhost "arm-*,!arm-2" user crash\n Port 2222\nMatch all\n Port 1\n'
    assert account(tmp_path, f"User crash\n{config}").port == 2222
    assert account(tmp_path, f"User crash\n{config}", "arm-2").port == 1
    assert account(tmp_path, config).port == 1


@pytest.mark.parametrize(
    "match", ['exec "touch {}/ran"', 'host arm-1 exec "touch {}/ran"', '!exec "touch {}/ran"']
)
def test_a_program_is_not_run_to_match(tmp_path: Path, match: str) -> None:
    config = f"Match {match.format(tmp_path)}\n Port 2222\n"
    assert "`Match exec` for arm-1" in refusal(tmp_path, config)
    assert not (tmp_path / "ran").exists()


def test_a_program_to_match_other_hosts_is_none_of_ours(tmp_path: Path) -> None:
    config = f'Match host other exec "touch {tmp_path}/ran"\n Port 2222\n'
    assert account(tmp_path, config).port == 22
    assert not (tmp_path / "ran").exists()


def test_a_condition_that_is_not_known_is_refused(tmp_path: Path) -> None:
    assert "`Match tagged` for" in refusal(tmp_path, "Match tagged x\n Port 2222\n")


def test_a_proxy_command_is_refused(tmp_path: Path) -> None:
    config = "Host arm-1\n ProxyCommand nc %h %p\nHost arm-2\n ProxyCommand none\n"
    assert "`ProxyCommand` for arm-1" in refusal(tmp_path, config)
    assert account(tmp_path, config, "arm-2").jumps == ()


@pytest.mark.parametrize(
    "config",
    ["Port many", "Port 0", "Port 70000", "Host 'a\n", "nonsense", "Match host\n", "Include 'a\n"],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, config: str) -> None:
    assert str(tmp_path / ".ssh/config") in refusal(tmp_path, config)


def route(home: Path, config: str) -> list[str]:
    (home / ".ssh").mkdir(exist_ok=True)
    (home / ".ssh/config").write_text(config)
    return [address(each) for each in route_to(Destination("arm-1"), LoginOptions(home, "me"))]


def test_jumps_are_logged_in_on_as_they_are_written(tmp_path: Path) -> None:
    config = "Host arm-1\n ProxyJump a, you@B:2222,[::1]:23,ssh://c:24\nHost a\n User x\n"
    assert route(tmp_path, config) == [
        "x@a:22",
        "you@b:2222",
        "me@::1:23",
        "me@c:24",
        "me@arm-1:22",
    ]


def test_the_first_jump_may_have_jumps_and_the_others_not(tmp_path: Path) -> None:
    config = (
        "Host arm-1\n ProxyJump a,b\nHost a\n ProxyJump c\nHost b\n ProxyJump d\nHost *\n User u\n"
    )
    assert route(tmp_path, config) == ["u@c:22", "u@a:22", "u@b:22", "u@arm-1:22"]


def test_no_jump_where_none_is_said(tmp_path: Path) -> None:
    assert route(tmp_path, "Host arm-1\n ProxyJump none\nHost *\n ProxyJump a") == ["me@arm-1:22"]


@pytest.mark.parametrize(
    "config",
    [
        "Host *\n ProxyJump a\n",
        "Host arm-1\n ProxyJump arm-1\n",
        "Host arm-1\n ProxyJump a\nHost a\n ProxyJump arm-1\n",
        "Host arm-1\n ProxyJump 1,2,3,4,5,6,7,8,9\n",
    ],
)
def test_a_circle_of_jumps_is_refused(tmp_path: Path, config: str) -> None:
    with pytest.raises(SshError, match="circle"):
        route(tmp_path, config)


@pytest.mark.parametrize("jump", ["a:0", "a:99999", "[a", "a:b", "u@"])
def test_a_jump_that_is_none_is_refused(tmp_path: Path, jump: str) -> None:
    with pytest.raises(SshError, match="ProxyJump that cannot be read"):
        route(tmp_path, f"ProxyJump {jump}")


SAID = """
Host arm-? !arm-3
 HostName %h.example.org
 Port=2222
Match originalhost arm-3,arm-4 user crash
 Port 23
Include more none-such
Host arm-4
 User crash
 ProxyJump none
 IdentityFile ~/.ssh/four
Match user crash host ARM-4
 Port 24
Host *
 User "all"
 ProxyJump a,b@c:25
 UserKnownHostsFile ~/k1 ~/k2
 IdentityFile ~/.ssh/usual
 IdentitiesOnly yes
"""


@pytest.mark.parametrize("name", ["arm-1", "arm-3", "arm-4", "arm-10", "ARM-1", "::1", "10.0.0.1"])
def test_ssh_itself_reads_the_same(tmp_path: Path, name: str) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/more").write_text("ServerAliveInterval 5\nHostKeyAlias same\n")
    text = SAID.replace("~", str(tmp_path)).replace(" more", f" {tmp_path}/.ssh/more")
    mine = account(tmp_path, text, name)
    said: dict[str, list[str]] = {}
    argv = [needs("ssh"), "-G", "-F", tmp_path / ".ssh/config", name]
    for line in subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split("\n"):
        key, _, value = line.partition(" ")
        said.setdefault(key, []).append(value)
    assert [mine.host, str(mine.port), mine.user] == [
        said[key][0] for key in ("hostname", "port", "user")
    ]
    assert [str(key) for key in mine.keys] == said["identityfile"]
    known = said["userknownhostsfile"][0].split()
    assert [str(path) for path in mine.pins.files[: len(known)]] == known
    jumps = [f"{jump.user or ''}@{jump.name}:{jump.port or ''}" for jump in mine.jumps]
    assert jumps == ([] if "proxyjump" not in said else ["@a:", "b@c:25"])
    assert mine.pins.name == said.get("hostkeyalias", [mine.pins.name])[0]

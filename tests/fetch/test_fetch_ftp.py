"""Fetching by ftp from servers on loopback: whole, broken, lying and hostile ones."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fetch_servers import FtpSite, ftp, patient_policy

from cas.errors import CasError, FetchError, LimitExceeded, Refused, TryAgain
from cas.fetch.fetch import fetch
from cas.fetch.source import PrivateNetworks
from cas.fetch.url import parse_url
from cas.progress import Silent
from cas.settings.rules import IntakeLimits

from installed import closed_port

BODY = os.urandom(3_000_000)
SECRET = "s3cret"  # noqa: S105


@contextmanager
def serving(**site: object) -> Iterator[FtpSite]:
    with ftp(FtpSite(files={"dumps/vmcore": BODY}, **site)) as running:  # type: ignore[arg-type]
        yield running


def get(site: FtpSite, directory: Path, login: str = "", **policy: object) -> bytes:
    url = parse_url(f"ftp://{login}127.0.0.1:{site.port}/dumps/vmcore")
    policy = {"limits": IntakeLimits(reserve_bytes=1), **policy}
    path = fetch(url, directory / "job", patient_policy(directory, **policy), Silent())
    assert left(directory) == ["vmcore"]
    return path.read_bytes()


def left(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "job").iterdir())


def test_a_file_arrives_whole(tmp_path: Path) -> None:
    with serving() as site:
        assert get(site, tmp_path) == BODY
        assert "USER anonymous" in site.commands


def test_a_broken_connection_is_gone_on_with(tmp_path: Path) -> None:
    with serving(breaks=[1_000_000, 500_000]) as site:
        assert get(site, tmp_path) == BODY
        rests = [line for line in site.commands if line.startswith("REST")]
        assert rests == ["REST 1000000", "REST 1500000"]


def test_what_came_is_kept_for_the_next_run(tmp_path: Path) -> None:
    with serving(breaks=[1_000_000]) as site:
        with pytest.raises(TryAgain):
            get(site, tmp_path, attempts=1)
        assert left(tmp_path) == [".vmcore.part", ".vmcore.part.json"]
        assert get(site, tmp_path) == BODY
        assert "REST 1000000" in site.commands


@pytest.mark.parametrize("refused", ["REST", "MDTM", "SIZE"])
def test_a_server_that_knows_little_gives_all_of_it_again(refused: str, tmp_path: Path) -> None:
    with serving(breaks=[1_000_000], refused=(refused,)) as site:
        assert get(site, tmp_path) == BODY


def test_a_missing_file_is_final(tmp_path: Path) -> None:
    with ftp(FtpSite()) as site, pytest.raises(FetchError, match="no such file"):
        get(site, tmp_path)
    assert left(tmp_path) == []


def test_netrc_gives_the_login(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password s3cret\n")
    (tmp_path / ".netrc").chmod(0o600)
    with serving(password=SECRET) as site:
        assert get(site, tmp_path) == BODY
        assert "USER me" in site.commands


def test_a_wrong_password_is_final_and_never_shown(tmp_path: Path) -> None:
    """This server repeats the password in its answer."""
    with serving(password=SECRET[1:]) as site, pytest.raises(FetchError, match="denies") as caught:
        get(site, tmp_path, f"me:{SECRET}@")
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_data_come_from_the_server_itself(tmp_path: Path) -> None:
    """An answer to PASV that names another host is not followed there."""
    with serving(pasv_host="192,0,2,1") as site:
        assert get(site, tmp_path) == BODY


def test_more_bytes_than_declared_are_an_error(tmp_path: Path) -> None:
    with serving(declared=1_000_000) as site, pytest.raises(FetchError, match="sends more"):
        get(site, tmp_path)
    assert left(tmp_path) == []


def test_fewer_bytes_than_declared_never_give_a_file(tmp_path: Path) -> None:
    with serving(declared=5_000_000) as site, pytest.raises(TryAgain):
        get(site, tmp_path)
    assert not (tmp_path / "job/vmcore").exists()


def test_a_file_without_size_ends_at_the_limit(tmp_path: Path) -> None:
    limits = IntakeLimits(unpack_bytes=1_000_000, reserve_bytes=1)
    with serving(refused=("SIZE",)) as site, pytest.raises(LimitExceeded):
        get(site, tmp_path, limits=limits)
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    "greeting",
    [
        b"220-hello\r\n" * 5000,
        b"x" * 100_000 + b"\r\n",
        b"SSH-2.0-x\r\n",
        b"\xff\xfe\r\n",
        b"421 busy\r\n",
        b"",
    ],
    ids=["endless", "long line", "other protocol", "no text", "busy", "silent"],
)
def test_a_strange_greeting_is_an_error(greeting: bytes, tmp_path: Path) -> None:
    with serving(greeting=greeting) as site, pytest.raises(CasError) as caught:
        get(site, tmp_path, timeout_s=0.3, attempts=1)
    assert caught.value.exit_code in (4, 75)
    assert left(tmp_path) == []


def test_a_closed_port_is_worth_another_run(tmp_path: Path) -> None:
    with pytest.raises(TryAgain, match="Connection refused"):
        get(FtpSite(closed_port()), tmp_path)


def test_private_networks_are_refused_unless_allowed(tmp_path: Path) -> None:
    with serving() as site:
        with pytest.raises(Refused, match="private network"):
            get(site, tmp_path, private_networks=PrivateNetworks.REFUSED)
        assert site.commands == []

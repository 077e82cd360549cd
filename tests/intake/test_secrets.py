"""Secrets of the command line and of cas.conf are in nothing that a job or a command leaves."""

from __future__ import annotations

import subprocess

import pytest
from fetch.fetch_servers import Request, web

from installed import Site

SECRETS = ("s3cret", "tok3n")


def said(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout + done.stderr


def kept(site: Site) -> str:
    """The text of every file of the site but its configuration."""
    paths = [path for path in site.directory.rglob("*") if path.name != "cas.conf"]
    return "\n".join(path.read_text(errors="replace") for path in paths if path.is_file())


def repeating(request: Request) -> None:
    words = request.headers["Authorization"] + request.path
    request.wfile.write(f"HTTP/1.1 403 s3cret {words}\r\nContent-Length: 0\r\n\r\n".encode())


def redirecting(request: Request) -> None:
    location = "http://tok3n.example.invalid/s3cret"
    request.send(302, {"Location": location, "Content-Length": "0"})


@pytest.mark.parametrize("answer", [repeating, redirecting])
def test_a_job_keeps_nothing_of_what_a_server_gives_back(site: Site, answer: object) -> None:
    site.settings |= {"privateAddresses": "Yes", "debugLevel": "DEBUG"}
    with web() as server:
        server.files["/vmcore"] = answer  # type: ignore[assignment]
        url = server.url("/vmcore?sig=tok3n").replace("//", "//user:s3cret@")
        done = site.cas("-i", "T-1", "-f", url, "--debug")
    assert done.returncode == 4
    reason = site.result("T-1")["reason"]
    known = "…@127.0.0.1", "403 Forbidden"
    for words in known if answer is repeating else ("the host of a redirect has no address",):
        assert words in reason
    for secret in SECRETS:
        assert secret not in said(done) + kept(site)


@pytest.mark.parametrize(
    "words",
    [
        ("-i", "T-1", "-f", "vmcore.1", "-f", "https://user:s3cret@example.com/vmcore.2?tok3n"),
        ("identify", "https://user:s3cret@example.com/vmcore?tok3n"),
    ],
)
def test_a_url_where_none_belongs_is_not_repeated(site: Site, words: tuple[str, ...]) -> None:
    done = site.cas(*words)
    assert done.returncode == 2
    for secret in SECRETS:
        assert secret not in said(done)


@pytest.mark.parametrize(
    "database",
    [
        "postgresql://cas:s3cret@127.0.0.1:1/cas?password=tok3n",
        "postgresql://cas:s3/cret@s3cret:tok3n/cas",
        "mysql://cas:s3cret@127.0.0.1/cas?password=tok3n",
    ],
)
def test_the_url_of_a_database_is_told_without_its_secrets(site: Site, database: str) -> None:
    site.settings["database"] = database
    done = site.admin("check", "--debug")
    assert done.returncode != 0
    for secret in SECRETS:
        assert secret not in said(done)

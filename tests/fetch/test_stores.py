"""Dumps in an object store: moto's S3, and servers that only say they are one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fetch_servers import redirect, web
from store_servers import KEY_ID, SECRET, know_store, store_with

from cas.fetch.source import FetchPolicy, PrivateNetworks
from cas.fetch.stores import by_http
from cas.fetch.url import parse_url
from cas.settings.rules import StoreRules

from installed import Site

CRASH = "in cas_balance [cas_oops] at drivers/cas/cas_oops.c:63"


@pytest.fixture
def store(vmcore: Path, site_a: Site) -> Iterator[Site]:
    """A site that knows the store, in which the dump is an object."""
    with store_with(vmcore, "of today/vmcore") as endpoint:
        know_store(site_a, endpoint)
        site_a.settings["engine"] = "drgn"
        site_a.keep_snippets("sys")
        yield site_a


def secrets_in(directory: Path) -> list[Path]:
    files = (path for path in directory.rglob("*") if path.is_file() and path.name != "key")
    words = (SECRET.encode(), b"X-Amz-Signature", KEY_ID.encode())
    return [path for path in files if any(word in path.read_bytes() for word in words)]


@pytest.mark.long
def test_a_dump_in_a_store_is_answered_by_ranges_and_then_fetched(store: Site) -> None:
    # what the environment says of stores is not heard
    store.environment |= {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_SESSION_TOKEN": "x"}
    url = "s3://dumps/of%20today/vmcore"
    done = store.cas("-i", "T-1", "-f", url)
    assert done.returncode == 0, done.stderr
    assert 0 < done.stderr.index(CRASH) < done.stderr.index("Fetching s3")
    told = store.result("T-1")
    assert told["upload"] == url
    assert 0 < told["by_ranges"]["requests"] < 120
    assert (told["verdict"], told["dump"]["checked"]) == ("complete", "length")
    assert secrets_in(store.jobs) == []


def test_what_is_not_in_a_store_is_told_by_its_name_alone(store: Site) -> None:
    done = store.cas("-i", "T-1", "-f", "s3://dumps/vmcore")
    assert done.returncode == 4
    assert "s3://dumps/vmcore: there is no such file" in done.stderr
    assert "X-Amz" not in done.stderr
    assert secrets_in(store.jobs) == []


@pytest.mark.parametrize(
    "url", ["s3://key:secret@dumps/vmcore", "s3://dumps:9000/vmcore", "s3://dumps/"]
)
def test_a_url_says_nothing_but_bucket_and_key(site: Site, url: str) -> None:
    done = site.cas("-i", "T-1", "-f", url)
    assert done.returncode == 2
    assert "[stores] of cas.conf" in done.stderr
    assert "secret" not in done.stderr


def test_a_bucket_that_is_not_configured_is_refused_before_a_job_is_made(site: Site) -> None:
    site.sections = "[stores others]\nregion = eu-central-1\n"
    done = site.cas("-i", "T-1", "-f", "s3://dumps/vmcore")
    assert done.returncode == 2
    assert "cas.conf does not say where the bucket dumps is" in done.stderr
    assert not site.jobs.exists()


@pytest.mark.parametrize(
    ("rules", "begins"),
    [
        (StoreRules(region="eu-central-1"), "https://s3.eu-central-1.amazonaws.com"),
        (StoreRules("http://10.0.0.1:9000/"), "http://10.0.0.1:9000"),
    ],
)
def test_without_credentials_an_object_is_asked_for_unsigned_at_its_store(
    rules: StoreRules, begins: str
) -> None:
    policy = FetchPolicy(PrivateNetworks.REFUSED, 1.0, stores={"": rules})
    url, network = by_http(parse_url("s3://dumps/of today/vmcore"), policy)
    request = f"{begins}/dumps/of%20today/vmcore"
    assert replace(url, told_as="") == replace(parse_url(request), told_as="")
    assert network.private_networks is PrivateNetworks.REFUSED_BEHIND_PUBLIC


def test_a_key_that_others_may_read_is_not_used(site_a: Site) -> None:
    know_store(site_a, "http://127.0.0.1:9")
    (site_a.directory / "key").chmod(0o644)
    done = site_a.cas("-i", "T-1", "-f", "s3://dumps/vmcore")
    assert done.returncode == 2
    assert "run: chmod 600" in done.stderr


def test_a_store_that_redirects_is_followed_by_our_policy(site_a: Site) -> None:
    with web() as server:
        server.files["/dumps/vmcore"] = redirect("ftp://127.0.0.1/etc/passwd")
        know_store(site_a, server.address)
        done = site_a.cas("-i", "T-1", "-f", "s3://dumps/vmcore")
    assert done.returncode == 5
    assert "s3://dumps/vmcore redirects to ftp:" in done.stderr

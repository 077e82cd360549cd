"""Dumps in stores of Google's and Azure's protocols."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from fetch_servers import Parts, patient_policy, web
from other_stores import (
    ACCOUNT,
    azure_key,
    azure_store_with,
    google_key,
    google_store_with,
    require_signed_for_azure,
    require_signed_for_google,
)

from cas.errors import ConfigError
from cas.fetch.fetch import fetch
from cas.fetch.ranged_file import opened_ranged
from cas.fetch.stores import by_http
from cas.fetch.url import Url, parse_url
from cas.progress import Silent
from cas.settings.rules import IntakeLimits, StoreRules

from installed import Site

NAME = "of today/vmcore+1 é"
QUOTED = "of%20today/vmcore%2B1%20%C3%A9"
CONTENT = os.urandom(1 << 20)


def requested(url: str, rules: StoreRules, home: Path) -> Url:
    """What is asked for by http."""
    scheme = url.partition("://")[0]
    policy = patient_policy(home, stores={f"{scheme}://": rules})
    return replace(by_http(parse_url(url), policy)[0], told_as=None)


def got(url: str, rules: StoreRules, home: Path) -> bytes:
    """The object as it is fetched; its parts, where the store tells versions apart, agree."""
    scheme, limits = url.partition("://")[0], IntakeLimits(reserve_bytes=1)
    policy = patient_policy(home, stores={f"{scheme}://": rules}, limits=limits)
    return fetch(parse_url(url), home / "job", policy, Silent()).read_bytes()


def test_a_dump_in_googles_store_is_answered_by_ranges_with_signed_requests(
    site_a: Site, vmcore: Path
) -> None:
    key = google_key(site_a.directory / "key")
    # what the environment says of stores is not heard
    site_a.environment |= {"GOOGLE_SERVICE_ACCOUNT": "/nowhere", "GOOGLE_BASE_URL": "http://x"}
    site_a.settings |= {"engine": "drgn"}
    url = "gs://dumps/of%20today/vmcore"
    with web() as server:
        server.files["/dumps/of%20today/vmcore"] = Parts(vmcore)
        credentials = f"credentials = {site_a.directory}/key\n"
        site_a.sections = f"[stores gs://dumps]\nendpoint = {server.address}\n{credentials}"
        done = site_a.cas("-i", "T-1", "-f", url, "--fetch", "answer")
        assert done.returncode == 3, done.stderr
        assert "in cas_balance [cas_oops] at drivers/cas/cas_oops.c:63" in done.stderr
        for target, _ in server.requests:
            require_signed_for_google(target, key)
    told = site_a.result("T-1")
    assert (told["upload"], told["dump"]["checked"]) == (url, "ranges")
    said = done.stderr + (site_a.job("T-1") / "T-1.log").read_text()
    assert "X-Goog" not in said
    assert "127.0.0.1" not in said


def test_an_object_of_googles_emulator_is_fetched(tmp_path: Path) -> None:
    google_key(tmp_path / "key")
    with google_store_with(CONTENT, NAME) as endpoint:
        for credentials in (tmp_path / "key", None):
            rules = StoreRules(endpoint, credentials=credentials)
            home = tmp_path / str(credentials is None)
            home.mkdir()
            assert got(f"gs://dumps/{QUOTED}", rules, home) == CONTENT


@pytest.mark.long
def test_an_object_of_azurite_is_fetched_whole_and_by_ranges(tmp_path: Path) -> None:
    azure_key(tmp_path / "key")
    with azure_store_with(CONTENT, NAME) as endpoint:
        rules = StoreRules(endpoint, credentials=tmp_path / "key")
        url = f"az://dumps/{QUOTED}"
        assert got(url, rules, tmp_path) == CONTENT
        policy = patient_policy(tmp_path, stores={"az://": rules})
        with opened_ranged(parse_url(url), policy, tmp_path, Silent()) as file:
            assert file.read(600_000, 1000) == CONTENT[600_000:601_000]
            file.require_same()


def test_a_request_to_azure_is_signed_for_the_object_by_its_decoded_name(tmp_path: Path) -> None:
    azure_key(tmp_path / "key")
    found = requested(f"az://dumps/{QUOTED}", StoreRules(credentials=tmp_path / "key"), tmp_path)
    assert str(found).startswith(f"https://{ACCOUNT}.blob.core.windows.net/dumps/{QUOTED}?")
    require_signed_for_azure(found.target)


def test_a_request_to_google_is_signed_by_the_key_alone(tmp_path: Path) -> None:
    key = google_key(tmp_path / "key")
    found = requested(f"gs://dumps/{QUOTED}", StoreRules(credentials=tmp_path / "key"), tmp_path)
    assert found.host == "storage.googleapis.com"
    require_signed_for_google(found.target, key)


@pytest.mark.parametrize(
    ("said", "begins"),
    [
        ({"EndpointSuffix": "blob.example"}, f"https://{ACCOUNT}.blob.blob.example/"),
        ({"BlobEndpoint": "http://127.0.0.1:1/store/"}, "http://127.0.0.1:1/store/"),
    ],
)
def test_a_connection_string_says_where_the_account_is(
    said: dict[str, str], begins: str, tmp_path: Path
) -> None:
    azure_key(tmp_path / "key", **said)
    found = requested("az://dumps/vmcore", StoreRules(credentials=tmp_path / "key"), tmp_path)
    assert str(found).startswith(f"{begins}dumps/vmcore")


def test_a_shared_access_signature_goes_with_each_request_and_is_not_told(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(
        "BlobEndpoint=https://a.example;SharedAccessSignature=?sv=1&sig=x"
    )
    (tmp_path / "key").chmod(0o600)
    rules = StoreRules(credentials=tmp_path / "key")
    assert requested("az://dumps/vmcore", rules, tmp_path).target == "/dumps/vmcore?sv=1&sig=x"
    policy = patient_policy(tmp_path, stores={"az://": rules})
    assert str(by_http(parse_url("az://dumps/vmcore"), policy)[0]) == "az://dumps/vmcore"


@pytest.mark.parametrize(
    ("url", "text", "told"),
    [
        ("gs://dumps/vmcore", "{", "is no JSON"),
        ("gs://dumps/vmcore", "[]", "it has no client_email and private_key"),
        ("gs://dumps/vmcore", '{"client_email": "a", "private_key": 5}', "is no key of a service"),
        ("az://dumps/vmcore", "AccountName=a", "is no connection string"),
        ("az://dumps/vmcore", "AccountName=a;AccountKey=s3cret!", "AccountKey is no base64"),
    ],
)
def test_what_is_no_key_is_told_without_its_text(
    url: str, text: str, told: str, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(text)
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(ConfigError, match=told) as error:
        requested(url, StoreRules(credentials=tmp_path / "key"), tmp_path)
    assert "s3cret" not in str(error.value)


def test_a_key_that_obstore_cannot_use_is_told_and_not_shown(site: Site) -> None:
    key = site.directory / "key"
    key.write_text('{"client_email": "a", "private_key": "s3cret"}')
    key.chmod(0o600)
    site.sections = f"[stores gs://]\ncredentials = {key}\n"
    done = site.cas("-i", "T-1", "-f", "gs://dumps/vmcore")
    assert done.returncode == 4
    assert "gs://dumps/vmcore: no request to the store can be signed" in done.stderr
    assert "s3cret" not in done.stderr


def test_what_cas_conf_does_not_say_of_a_store_is_told(site: Site) -> None:
    site.sections = "[stores]\nregion = eu-central-1\n[stores az://]\nendpoint =\n"
    done = site.cas("-i", "T-1", "-f", "gs://dumps/vmcore")
    assert done.returncode == 2
    assert "add a section [stores gs://] to cas.conf" in done.stderr
    done = site.cas("-i", "T-1", "-f", "az://dumps/vmcore")
    assert done.returncode == 2
    assert "endpoint = https://ACCOUNT.blob.core.windows.net" in done.stderr

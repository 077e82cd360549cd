"""URLs as values: what counts as one, what is refused, and what is never shown."""

from __future__ import annotations

import pickle

import pytest

from cas.errors import UsageError
from cas.fetch.url import is_url, parse_url


@pytest.mark.parametrize(
    "text", ["http://h/f", "HTTPS://h/f", "ftp://h", "sftp://h/f", "file:///etc", "x+y.z-1://"]
)
def test_a_scheme_and_two_slashes_make_a_url(text: str) -> None:
    assert is_url(text)


@pytest.mark.parametrize(
    "text",
    ["httpd.core", "http:", "http:/x", "data:,x", "./http://h", "/http://h", "1a://h", "", "://h"],
)
def test_a_file_name_is_no_url(text: str) -> None:
    assert not is_url(text)


@pytest.mark.parametrize("scheme", ["file", "data", "gopher", "ftps", "jar", "abfs"])
def test_other_schemes_are_refused_with_the_ones_that_work(scheme: str) -> None:
    with pytest.raises(UsageError, match=f"{scheme}: URLs are not .* http, https, ftp, sftp"):
        parse_url(f"{scheme}://host/file")


@pytest.mark.parametrize(
    "text",
    [
        "http://",
        "http:///f",
        "http://h:0/f",
        "http://h:65536/f",
        "http://h:s3cret/f",
        "http://u:s3cret@h:x/f",
        "http://[::1/f",
        "http://u:s3cret@[::1/f",
        "http://a b/f",
        "http://h\\@evil/f",
        "http://h/a\nb",
        "http://h/a%0d%0aDELE x",
        "ftp://h/a%00b",
        "ftp://u%0aPASS:s3cret@h/f",
        "http://h/\udc80",
        "http://u:s3cret\x00@h/",
        "http://" + "h" * 300 + "/f",
        "http://\u2100.example/f",
    ],
)
def test_what_cannot_be_used_is_refused_without_its_secret(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_url(text)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("HTTP://Host:80/a?b=c#d", "http://host/a?…"),
        ("https://token@host/a", "https://…@host/a"),
        ("https://user:s3cret@host:8443", "https://…@host:8443/"),
        ("ftp://user:s3cret@host/a", "ftp://user:…@host/a"),
        ("sftp://user@host:22/a", "sftp://user@host/a"),
        ("http://[2001:DB8::1]:8080/a", "http://[2001:db8::1]:8080/a"),
        ("http://bücher.example/ä b", "http://xn--bcher-kva.example/%C3%A4%20b"),
    ],
)
def test_its_text_has_no_secret(text: str, shown: str) -> None:
    url = parse_url(text)
    assert (str(url), repr(url), f"{url}") == (shown, f"<Url {shown}>", shown)


def test_a_text_that_was_shortened_cannot_be_fetched() -> None:
    assert parse_url(str(parse_url("sftp://user@host/a"))) == parse_url("sftp://user@host/a")
    with pytest.raises(UsageError, match="was shortened"):
        parse_url(str(parse_url("https://host/a?b")))


def test_it_is_a_value() -> None:
    url = parse_url("https://user:s3cret@host/a?b")
    assert pickle.loads(pickle.dumps(url)) == url  # noqa: S301
    assert url.fingerprint != parse_url("https://host/a?c").fingerprint
    assert url.fingerprint == parse_url("https://other@host/a?b").fingerprint


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("ftp://h/a/b%20c", "a/b c"),
        ("ftp://h/%2Fa", "/a"),
        ("ftp://h/a;type=i", "a"),
        ("sftp://h/a", "/a"),
        ("sftp://h/~/a", "a"),
    ],
)
def test_paths_on_ftp_and_sftp_servers(text: str, path: str) -> None:
    assert parse_url(text).file_path == path


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("http://h/a/vmcore-1.2_3.gz", "vmcore-1.2_3.gz"),
        ("http://h/", "download"),
        ("http://h/a/..", "download"),
        ("http://h/.bashrc", "bashrc"),
        ("http://h/-rf", "rf"),
        ("http://h/a%2F..%2Fb%20c", "a_.._b_c"),
        ("http://h/" + "x" * 300 + ".gz", "x" * 97 + ".gz"),
    ],
)
def test_the_file_name_is_of_our_own_making(text: str, name: str) -> None:
    assert parse_url(text).name == name

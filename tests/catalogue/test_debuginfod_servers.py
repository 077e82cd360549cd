"""debuginfod servers that lie, break off, or send elsewhere."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import kernel_packages as kp
import pytest
from debuginfod_sites import BODY, PATH, WORD, Watched, left_over, rules
from fetch.fetch_servers import Request, Served, Web, certificate, dripping, redirect, web

from cas.catalogue.cache import useless
from cas.catalogue.extraction.debuginfod import Debuginfod
from cas.model.kernel import KernelIdentity

MakeDump = Callable[..., KernelIdentity]


@pytest.fixture
def server() -> Iterator[Web]:
    with web() as running:
        yield running


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "debugs"


@pytest.fixture
def served(dump: MakeDump) -> KernelIdentity:
    """The dump of the kernel that the servers have."""
    return dump(build_id=kp.build_id(WORD))


def page(request: Request) -> None:
    request.send(200, {"Content-Type": "text/html; charset=utf-8"})
    request.wfile.write(b"<html>log in first</html>")


def endless(request: Request) -> None:
    request.send(200, {})
    request.wfile.write(BODY)
    while True:
        request.wfile.write(bytes(1 << 16))


def silent(request: Request) -> None:
    request.server.web.files["/done"].wait(20)  # type: ignore[union-attr]


def told(headers: dict[str, str], body: bytes = BODY) -> Callable[[Request], None]:
    def give(request: Request) -> None:
        request.send(200, headers)
        request.wfile.write(body)

    return give


HOSTILE = {
    "another kernel": (Served(kp.vmlinux("other")), f"has build-id {kp.build_id('other')}"),
    "another release": (
        Served(kp.vmlinux(WORD, release="9.9.9")),
        "says that it is of another release",
    ),
    "no ELF": (Served(b"PK\3\4" + bytes(100_000)), "is no ELF file"),
    "nothing": (Served(b""), "is no ELF file"),
    "ELF's first bytes alone": (Served(b"\x7fELF\x02"), "is no ELF file"),
    "a page": (page, "answers with a page (text/html)"),
    "no end": (endless, "larger than `debuginfodLimit` (1.0 MiB)"),
    "too long": (Served(BODY, declared=10**12), "larger than `debuginfodLimit`"),
    "length of a joke": (told({"Content-Length": "many"}), "declares no usable length"),
    "two lengths": (
        told({"Content-Length": str(len(BODY)), "X-DEBUGINFOD-SIZE": "7"}),
        "declares no usable length",
    ),
    "cut, and no length": (Served(BODY[:-100], has_length=False, etag=None), "is cut short"),
    "cut, always": (Served(BODY, breaks=[9000, 10, 10], etag=None), "the connection ended after"),
    "silence": (silent, "the server did not answer in time"),
    "500": (lambda request: request.send(500, {}), "the server says 500"),
    "a terminal's commands": (
        lambda request: request.wfile.write(b"HTTP/1.1 503 \x1b[2Jsecret\r\n\r\n"),
        "the server says 503 Service Unavailable",
    ),
    "no http": (lambda request: request.wfile.write(b"220 ftp\r\n"), "does not speak http"),
    "gzip": (told({"Content-Encoding": "gzip"}), "encodes the file, unasked"),
    "a circle": (redirect(PATH), "is redirected more than 5 times"),
    "to a file": (redirect("file:///etc/passwd"), "only http and https are followed"),
    "to nowhere": (lambda request: request.send(302, {}), "redirects to nowhere"),
    "to a login": (redirect("http://user:secret@127.0.0.1:1/"), "cannot be reached"),
    "an unasked part": (
        lambda request: request.send(206, {"Content-Range": "bytes 5-9/10"}),
        "a part of the file that nobody asked for",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_server_that_lies_is_passed_over_with_its_reason(
    case: str, server: Web, served: KernelIdentity, cache: Path
) -> None:
    server.files[PATH], reason = HOSTILE[case]  # type: ignore[assignment]
    server.files["/done"] = threading.Event()  # type: ignore[assignment]
    watched = Watched()
    with web() as honest:
        honest.files[PATH] = Served(BODY)
        hurried = 0.3 if case == "silence" else 5.0
        chosen = rules(server, honest, file_bytes=1 << 20, timeout_s=hurried)
        match = Debuginfod(chosen).kernel(served, cache, watched)
    server.files["/done"].set()  # type: ignore[union-attr]
    (warning,) = [text for text in watched.warned if "once more" not in text]
    assert reason in warning
    assert "secret" not in warning
    assert match is not None
    assert match.kernel.source.read_bytes() == BODY


def test_a_file_that_drips_is_given_up(server: Web, served: KernelIdentity, cache: Path) -> None:
    server.files[PATH] = dripping(BODY, 0.01)
    watched = Watched()
    assert Debuginfod(rules(server, timeout_s=0.05)).kernel(served, cache, watched) is None
    assert "did not answer in time" in watched.warned[-1]
    assert left_over(cache) == []


def test_a_broken_transfer_goes_on_where_it_ended(
    server: Web, served: KernelIdentity, cache: Path
) -> None:
    server.files[PATH] = Served(BODY, breaks=[100_000, 100_000])
    watched = Watched()
    match = Debuginfod(rules(server)).kernel(served, cache, watched)
    assert match is not None
    assert match.kernel.source.read_bytes() == BODY
    assert server.asked(PATH, "Range") == [None, "bytes=34464-", "bytes=68928-"]


def test_what_goes_on_with_other_bytes_is_useless_for_a_day(
    server: Web, served: KernelIdentity, cache: Path
) -> None:
    given = Served(BODY, breaks=[100_000])

    def other(request: Request) -> None:
        if request.headers.get("Range"):
            given.body = b"x" * len(BODY)
        given.give(request)

    server.files[PATH] = other
    watched = Watched()
    assert Debuginfod(rules(server)).kernel(served, cache, watched) is None
    assert "after a break it went on with another file" in watched.warned[-1]
    assert left_over(cache) == []
    server.files[PATH] = Served(BODY)
    asked = len(server.requests)
    assert Debuginfod(rules(server)).kernel(served, cache, Watched()) is None
    assert len(server.requests) == asked
    (note,) = (cache / useless.DIRECTORY).iterdir()
    yesterday = time.time() - useless.KEPT_S - 1
    os.utime(note, (yesterday, yesterday))
    assert Debuginfod(rules(server)).kernel(served, cache, Watched())


def test_a_server_without_ranges_sends_a_broken_file_once_more(
    server: Web, served: KernelIdentity, cache: Path
) -> None:
    server.files[PATH] = Served(BODY, breaks=[100_000], has_ranges=False)
    watched = Watched()
    match = Debuginfod(rules(server)).kernel(served, cache, watched)
    assert match is not None
    assert match.kernel.source.read_bytes() == BODY
    assert "once more from the start" in watched.warned[0]
    assert len(server.requests) == 2


def test_parts_of_two_files_are_never_joined(
    server: Web, served: KernelIdentity, cache: Path
) -> None:
    given = Served(BODY, breaks=[100_000])
    server.files[PATH] = given

    def changed(request: Request) -> None:
        if request.headers.get("Range"):
            given.headers["Content-Range"] = f"bytes 34464-{len(BODY)}/{len(BODY) + 1}"
            request.send(206, {"ETag": '"v1"', "Content-Range": given.headers["Content-Range"]})
        else:
            given.give(request)

    server.files[PATH] = changed
    watched = Watched()
    assert Debuginfod(rules(server)).kernel(served, cache, watched) is None
    assert "then it had another file of that name" in watched.warned[-1]
    assert left_over(cache) == []


def test_redirects_are_followed(server: Web, served: KernelIdentity, cache: Path) -> None:
    with web() as store:
        server.files[PATH] = redirect(store.url("/bucket/x?token=s%20ecret"))
        store.files["/bucket/x"] = Served(BODY)
        watched = Watched()
        assert Debuginfod(rules(server)).kernel(served, cache, watched)
        assert store.requests[0][0] == "/bucket/x?token=s%20ecret"
        assert "token" not in "".join((*watched.said, *watched.warned))


def test_https_needs_a_trusted_certificate_and_never_leads_to_http(
    served: KernelIdentity, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = certificate(tmp_path)
    with web() as plain, web(made) as closed:
        plain.files[PATH] = Served(BODY)
        closed.files[PATH] = redirect(plain.url(PATH))
        watched = Watched()
        assert Debuginfod(rules(closed)).kernel(served, cache, watched) is None
        assert "the certificate of localhost:" in watched.warned[-1]
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "made.pem"))
        assert Debuginfod(rules(closed)).kernel(served, cache, watched) is None
        assert "which is not encrypted" in watched.warned[-1]
        closed.files[PATH] = Served(BODY)
        assert Debuginfod(rules(closed)).kernel(served, cache, watched)
        assert plain.requests == []

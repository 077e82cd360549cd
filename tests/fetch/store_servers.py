"""moto's S3 on loopback, and the key of its user."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from installed import Site

KEY_ID, SECRET = "AKIAEXAMPLE", "s3cret-of-the-store"
BUCKET = "dumps"


@contextmanager
def served_store() -> Iterator[str]:
    """The endpoint of a store with an empty bucket."""
    if not os.environ.get("CI"):
        pytest.importorskip("moto")
        pytest.importorskip("obstore")
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it writes a line for each request
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        connection = HTTPConnection(host, port)
        connection.request(
            "PUT", f"/{BUCKET}", headers={"Content-Type": "application/octet-stream"}
        )
        assert connection.getresponse().status == 200
        connection.close()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def opened_bucket(endpoint: str) -> Any:
    """The bucket, for obstore."""
    from obstore.store import S3Store

    config = {"endpoint": endpoint, "region": "us-east-1"}
    config |= {"access_key_id": KEY_ID, "secret_access_key": SECRET}
    return S3Store(BUCKET, config=config, client_options={"allow_http": True})


@contextmanager
def store_with(dump: Path, key: str) -> Iterator[str]:
    """The endpoint of a store in whose bucket the dump is an object."""
    with served_store() as endpoint:
        import obstore

        obstore.put(opened_bucket(endpoint), key, dump)
        yield endpoint


class Spoiler(BaseHTTPRequestHandler):
    """Stands before a store, and spoils some of what is asked."""

    protocol_version = "HTTP/1.1"
    store: ClassVar[tuple[str, int]]
    spoilt: ClassVar[dict[str, list[str]]]
    """By method what is done to the next requests; the last one is done to all that follow:
    ``fine``, ``dies``, ``lies`` or a status."""

    def answer(self) -> None:
        """Pass it on, or spoil it."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        acts = self.spoilt.get(self.command, ["fine"])
        act = acts.pop(0) if len(acts) > 1 else acts[0]
        if act == "dies":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        if act.isdecimal():
            self.send_response(int(act))
            self.send_header("Retry-After", "1")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        connection = HTTPConnection(*self.store)
        connection.request(self.command, self.path, body, dict(self.headers))
        response = connection.getresponse()
        content = response.read()
        if act == "lies":
            content = bytes(byte ^ 1 for byte in content)
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in ("connection", "date", "server", "transfer-encoding"):
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        connection.close()

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer

    def log_message(self, format: str, *words: Any) -> None:
        """Write nothing."""


@contextmanager
def spoiling(endpoint: str, **spoilt: list[str]) -> Iterator[str]:
    """The endpoint of a store that does to requests what is said, by method."""
    host, _, port = endpoint.removeprefix("http://").partition(":")
    facts = {"store": (host, int(port)), "spoilt": spoilt}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Spoiling", (Spoiler,), facts))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def know_store(site: Site, endpoint: str) -> None:
    """Let a site's configuration say where buckets are, and with which key."""
    key = site.directory / "key"
    key.write_text(f"[default]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\n")
    key.chmod(0o600)
    site.sections = f"[stores]\nendpoint = {endpoint}\ncredentials = {key}\n"

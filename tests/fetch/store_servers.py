"""moto's S3 on loopback, and the key of its user."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

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


def know_store(site: Site, endpoint: str) -> None:
    """Let a site's configuration say where buckets are, and with which key."""
    key = site.directory / "key"
    key.write_text(f"[default]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\n")
    key.chmod(0o600)
    site.sections = f"[stores]\nendpoint = {endpoint}\ncredentials = {key}\n"

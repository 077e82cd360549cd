"""Stores of Google's and Azure's protocols on loopback, and keys to sign requests to them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from email.utils import formatdate
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from installed import closed_port, needs

SERVICE = "cas@example.iam.gserviceaccount.com"
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = base64.b64encode(b"of no account anywhere" * 2).decode()
BUCKET = "dumps"


def google_key(path: Path) -> rsa.RSAPrivateKey:
    """The key of a service account, in a file as Google gives it."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    text = key.private_bytes(*form, serialization.NoEncryption()).decode()
    # the last two would lead obstore elsewhere, and let it ask without a signature
    facts = {"type": "service_account", "client_email": SERVICE, "private_key": text}
    facts |= {"gcs_base_url": "http://127.0.0.1:9", "disable_oauth": True}
    path.write_text(json.dumps(facts))
    path.chmod(0o600)
    return key


def azure_key(path: Path, **more: str) -> None:
    """A connection string."""
    said = {"AccountName": ACCOUNT, "AccountKey": ACCOUNT_KEY, **more}
    path.write_text(";".join(f"{name}={value}" for name, value in said.items()) + "\n")
    path.chmod(0o600)


def require_signed_for_google(target: str, key: rsa.RSAPrivateKey) -> None:
    """Make sure that a request carries a signature (V4) of its path by this account.

    Source: Google, "V4 signing process".
    """
    parts = urlsplit(target)
    query = dict(parse_qsl(parts.query, strict_parsing=True))
    signature = bytes.fromhex(query.pop("X-Goog-Signature"))
    account, scope = query["X-Goog-Credential"].split("/", 1)
    assert (account, query["X-Goog-Algorithm"]) == (SERVICE, "GOOG4-RSA-SHA256")
    words = (f"{quote(name, safe='')}={quote(query[name], safe='')}" for name in sorted(query))
    host = "host:storage.googleapis.com\n"
    request = "\n".join(("GET", parts.path, "&".join(words), host, "host", "UNSIGNED-PAYLOAD"))
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = "\n".join(("GOOG4-RSA-SHA256", query["X-Goog-Date"], scope, digest))
    key.public_key().verify(signature, text.encode(), padding.PKCS1v15(), hashes.SHA256())


def require_signed_for_azure(target: str) -> None:
    """Make sure that a request carries a shared access signature of its path for reading.

    Source: Microsoft, "Create a service SAS", version 2020-12-06 and later.
    """
    parts = urlsplit(target)
    query = dict(parse_qsl(parts.query, strict_parsing=True))
    path = unquote(parts.path)
    if not path.startswith(f"/{ACCOUNT}/"):
        path = f"/{ACCOUNT}{path}"
    assert (query["sp"], query["sr"]) == ("r", "b")
    fields = ("sp", "st", "se", f"/blob{path}", "", "", "", "sv", "sr", *[""] * 7)
    text = "\n".join(query.get(field, field if field.startswith("/") else "") for field in fields)
    made = hmac.new(base64.b64decode(ACCOUNT_KEY), text.encode(), hashlib.sha256).digest()
    assert base64.b64decode(query["sig"]) == made


@contextmanager
def google_store_with(content: bytes, key: str) -> Iterator[str]:
    """The endpoint of an emulator of Google's store, in whose bucket an object is."""
    if not os.environ.get("CI"):
        pytest.importorskip("gcp_storage_emulator")
    from gcp_storage_emulator.server import create_server

    logging.getLogger("gcp_storage_emulator").setLevel(logging.CRITICAL)
    port = closed_port()
    with create_server("127.0.0.1", port, in_memory=True, default_bucket=BUCKET):
        target = f"/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={quote(key)}"
        assert _asked(port, "POST", target, {}, content) == 200
        yield f"http://127.0.0.1:{port}"


@contextmanager
def azure_store_with(content: bytes, key: str) -> Iterator[str]:
    """The endpoint of Azurite, in whose container an object is."""
    program = needs("azurite-blob")
    port = closed_port()
    argv = [program, "--inMemoryPersistence", "--blobPort", str(port), "--silent"]
    environment = {**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{ACCOUNT_KEY}"}
    running = subprocess.Popen(
        [*argv, "--disableTelemetry"], env=environment, stdout=subprocess.DEVNULL
    )
    try:
        while not _listens(port):
            assert running.poll() is None
            time.sleep(0.05)
        container = f"/{ACCOUNT}/{BUCKET}"
        assert _put(port, container, "restype:container") == 201
        assert _put(port, f"{container}/{quote(key)}", "", content) == 201
        yield f"http://127.0.0.1:{port}/{ACCOUNT}"
    finally:
        running.terminate()
        running.wait()


def _put(port: int, path: str, parameter: str, content: bytes = b"") -> int:
    """Make a container or an object; what it answers.

    Source: Microsoft, "Authorize with Shared Key".
    """
    said = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    if content:
        said["x-ms-blob-type"] = "BlockBlob"
    headers = "".join(f"{name}:{said[name]}\n" for name in sorted(said))
    resource = f"/{ACCOUNT}{path}" + (f"\n{parameter}" if parameter else "")
    size = str(len(content) or "")
    text = f"PUT\n\n\n{size}\n\n\n\n\n\n\n\n\n{headers}{resource}"
    made = hmac.new(base64.b64decode(ACCOUNT_KEY), text.encode(), hashlib.sha256).digest()
    said["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(made).decode()}"
    query = f"?{parameter.replace(':', '=')}" if parameter else ""
    return _asked(port, "PUT", path + query, said, content)


def _asked(port: int, method: str, target: str, headers: dict[str, str], content: bytes) -> int:
    with closing(HTTPConnection("127.0.0.1", port)) as connection:
        connection.request(method, target, content, headers)
        return connection.getresponse().status


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0

"""Objects of a store, ``s3://BUCKET/KEY``: where it is and who we are there only cas.conf says.

obstore signs the URL under which the store gives an object by http, and our own client asks for it:
what holds for any URL holds for this one too.
"""

from __future__ import annotations

import configparser
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cas.errors import ConfigError, FetchError, UsageError
from cas.fetch.source import FetchPolicy, NetworkPolicy, PrivateNetworks
from cas.fetch.url import Url, parse_url
from cas.settings.rules import StoreRules

HOLDS_FOR = timedelta(days=1)
"""A signature; a connection that was made before its end goes on."""
_KEYS = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
}
"""Of a file of credentials, and what obstore calls them."""


def by_http(url: Url, policy: FetchPolicy) -> tuple[Url, NetworkPolicy]:
    """The URL of an object by http or https, and what it may lead to.

    It is told as it was given. The endpoint is the administrator's choice and may be private, but
    no public one may redirect into a private network.

    :raises ConfigError: cas.conf has no such store, or what it says of it is of no use
    """
    rules = store_of(url, policy.stores)
    endpoint = (rules.endpoint or f"https://s3.{rules.region}.amazonaws.com").rstrip("/")
    text = f"{endpoint}/{url.host}/{quote(url.file_path)}"
    if rules.credentials or rules.has_instance_metadata:
        text = _signed(url, endpoint, rules)
    try:
        found = replace(parse_url(text), told_as=str(url))
    except UsageError as error:
        raise ConfigError(f"{url}: `endpoint` in [stores] cannot be used: {error}") from error
    private = policy.private_networks
    if private is PrivateNetworks.REFUSED:
        private = PrivateNetworks.REFUSED_BEHIND_PUBLIC
    return found, NetworkPolicy(private, policy.timeout_s)


def store_of(url: Url, stores: Mapping[str, StoreRules]) -> StoreRules:
    """Where a URL's bucket is.

    :raises ConfigError: cas.conf does not say it
    """
    rules = stores.get(url.host) or stores.get("")
    if rules is None:
        raise ConfigError(
            f"{url}: cas.conf does not say where the bucket {url.host} is",
            hint="add a section [stores] to cas.conf; see cas.conf(5)",
        )
    return rules


def _signed(url: Url, endpoint: str, rules: StoreRules) -> str:
    try:
        import obstore
        from obstore.store import S3Store
    except ImportError:
        raise ConfigError(
            f"{url}: the Python package obstore is not installed, which signs requests to stores",
            hint=f"{shlex.quote(sys.executable)} -m pip install obstore",
        ) from None
    config: Any = {"endpoint": endpoint, "region": rules.region}
    if rules.credentials:
        config |= _credentials(rules.credentials)
    try:
        with _environment_unheard():
            store = S3Store(url.host, config=config, client_options={"allow_http": True})
            return str(obstore.sign(store, "GET", url.file_path, HOLDS_FOR))
    except Exception:  # obstore's errors have no common class
        # no `from`: the library's message may quote a key
        raise FetchError(
            f"{url}: no request to the store can be signed",
            hint="look at [stores] in cas.conf, and at what its `credentials` name",
        ) from None


def _credentials(path: Path) -> dict[str, str]:
    """The key of a file such as ``~/.aws/credentials``, from its first section.

    :raises ConfigError: there is none, or others may read it
    """
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
        found = dict(parser.items(parser.sections()[0]))
        is_open = bool(path.stat().st_mode & 0o077)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (configparser.Error, UnicodeDecodeError, IndexError):
        # no `from`: the library's message may quote a key
        raise ConfigError(f"{path} is not in the format of ~/.aws/credentials") from None
    if is_open:
        raise ConfigError(
            f"{path} holds a key and other users may read it", hint=f"run: chmod 600 {path}"
        )
    keys = {ours: found[name] for name, ours in _KEYS.items() if name in found}
    if not {"access_key_id", "secret_access_key"} <= keys.keys():
        raise ConfigError(f"{path} has no aws_access_key_id and aws_secret_access_key")
    return keys


@contextmanager
def _environment_unheard() -> Iterator[None]:
    """Without the variables from which obstore takes keys, endpoints and proxies unasked."""
    kept = {name: os.environ.pop(name) for name in list(os.environ) if _is_heard(name.lower())}
    try:
        yield
    finally:
        os.environ.update(kept)


def _is_heard(name: str) -> bool:
    return name.startswith("aws_") or name.endswith("_proxy")

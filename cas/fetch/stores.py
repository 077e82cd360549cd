"""Objects of a store, ``s3://BUCKET/KEY``: where it is and who we are there only cas.conf says.

The URL under which the store gives an object by http is signed, by obstore where that can, and our
own client asks for it: what holds for any URL holds for this one too. Only obstore writes to one.
"""

from __future__ import annotations

import base64
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from cas.errors import ConfigError, FetchError, UsageError
from cas.fetch import store_keys
from cas.fetch.azure_signature import signed_query
from cas.fetch.source import FetchPolicy, NetworkPolicy, PrivateNetworks
from cas.fetch.url import Url, parse_url
from cas.settings.rules import StoreRules

HOLDS_FOR = timedelta(days=1)
"""A signature; a connection that was made before its end goes on."""
_LOOK = "look at [stores] in cas.conf, and at what its `credentials` name"
_GOOGLE = "https://storage.googleapis.com"


def by_http(url: Url, policy: FetchPolicy) -> tuple[Url, NetworkPolicy]:
    """The URL of an object by http or https, and what it may lead to.

    It is told as it was given. The endpoint is the administrator's choice and may be private, but
    no public one may redirect into a private network.

    :raises ConfigError: cas.conf has no such store, or what it says of it is of no use
    """
    text = _BY_SCHEME[url.scheme](url, store_of(url, policy.stores))
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

    :param stores: see `cas.settings.config.STORES`
    :raises ConfigError: cas.conf does not say it
    """
    of_all = "" if url.scheme == "s3" else f"{url.scheme}://"
    rules = stores.get(of_all + url.host) or stores.get(of_all)
    if rules is None:
        section = f"stores {of_all}" if of_all else "stores"
        raise ConfigError(
            f"{url}: cas.conf does not say where the bucket {url.host} is",
            hint=f"add a section [{section}] to cas.conf; see cas.conf(5)",
        )
    return rules


def opened_store(
    url: Url, stores: Mapping[str, StoreRules], client: Mapping[str, Any], retry: Mapping[str, Any]
) -> Any:
    """obstore's own access to the bucket of a URL, for writing.

    :param client: what obstore's client is told besides, as ``client_options``
    :param retry: how often it asks again, as ``retry_config``
    :raises ConfigError: cas.conf has no such store or no credentials, or obstore is not installed
    """
    rules = store_of(url, stores)
    if not rules.credentials and not (url.scheme == "s3" and rules.has_instance_metadata):
        raise ConfigError(
            f"{url}: cas.conf names no credentials with which anything can be written there",
            hint="set `credentials` in [stores], see cas.conf(5)",
        )
    kind, config = _ACCESS[url.scheme](url, rules)
    options = {"allow_http": True, **client}
    store = _of_obstore(url, kind)
    try:
        return store(url.host, config=config, client_options=options, retry_config=retry)
    except Exception:  # obstore's errors have no common class
        # no `from`: the library's message may quote a key
        raise FetchError(f"{url}: the store cannot be opened", hint=_LOOK) from None


def _amazons_access(_url: Url, rules: StoreRules) -> tuple[str, dict[str, Any]]:
    config = {"endpoint": _amazons_endpoint(rules), "region": rules.region}
    return "S3Store", config | (
        store_keys.of_amazon(rules.credentials) if rules.credentials else {}
    )


def _googles_access(_url: Url, rules: StoreRules) -> tuple[str, dict[str, Any]]:
    assert rules.credentials  # noqa: S101  who has none asks unsigned
    account = store_keys.of_google(rules.credentials, _googles_endpoint(rules))
    return "GCSStore", {"service_account_key": account}


def _azures_access(url: Url, rules: StoreRules) -> tuple[str, dict[str, Any]]:
    assert rules.credentials  # noqa: S101  see `opened_store`
    account = store_keys.of_azure(rules.credentials)
    config: dict[str, Any] = {
        "account_name": account.name,
        "endpoint": _azures_endpoint(url, rules),
    }
    if account.signature:
        return "AzureStore", config | {"sas_key": account.signature}
    return "AzureStore", config | {"account_key": base64.b64encode(account.key).decode()}


_ACCESS = {"s3": _amazons_access, "gs": _googles_access, "az": _azures_access}
"""obstore's class for a store of that kind, and how it is told where that is and who we are."""


def _by_amazon(url: Url, rules: StoreRules) -> str:
    if not rules.credentials and not rules.has_instance_metadata:
        return _unsigned(url, _amazons_endpoint(rules))
    return _signed_by_obstore(url, *_amazons_access(url, rules))


def _by_google(url: Url, rules: StoreRules) -> str:
    if not rules.credentials:
        return _unsigned(url, _googles_endpoint(rules))
    return _signed_by_obstore(url, *_googles_access(url, rules))


def _by_azure(url: Url, rules: StoreRules) -> str:
    endpoint = _azures_endpoint(url, rules)
    if not rules.credentials:
        return _unsigned(url, endpoint)
    account = store_keys.of_azure(rules.credentials)
    path, until = f"{url.host}/{url.file_path}", datetime.now(UTC) + HOLDS_FOR
    query = account.signature or signed_query(account.name, account.key, path, until)
    return f"{_unsigned(url, endpoint)}?{query}"


_BY_SCHEME = {"s3": _by_amazon, "gs": _by_google, "az": _by_azure}


def _amazons_endpoint(rules: StoreRules) -> str:
    return (rules.endpoint or f"https://s3.{rules.region}.amazonaws.com").rstrip("/")


def _googles_endpoint(rules: StoreRules) -> str:
    return (rules.endpoint or _GOOGLE).rstrip("/")


def _azures_endpoint(url: Url, rules: StoreRules) -> str:
    """The account's server.

    :raises ConfigError: cas.conf does not say which account that is
    """
    account = store_keys.of_azure(rules.credentials) if rules.credentials else None
    endpoint = rules.endpoint or (account and account.endpoint)
    if endpoint is None:
        raise ConfigError(
            f"{url}: cas.conf does not say which account has the container {url.host}",
            hint="set `endpoint = https://ACCOUNT.blob.core.windows.net` in [stores az://]",
        )
    return endpoint.rstrip("/")


def _unsigned(url: Url, endpoint: str) -> str:
    return f"{endpoint}/{url.host}/{quote(url.file_path)}"


def _of_obstore(url: Url, store: str) -> Any:
    """A class of obstore's.

    :raises ConfigError: obstore is not installed
    """
    try:
        import obstore.store
    except ImportError:
        raise ConfigError(
            f"{url}: the Python package obstore is not installed, which signs requests to stores",
            hint=f"{shlex.quote(sys.executable)} -m pip install obstore",
        ) from None
    return getattr(obstore.store, store)


def _signed_by_obstore(url: Url, store: str, config: Mapping[str, Any]) -> str:
    """The URL of an object, which says who asks for it.

    :param store: obstore's class for stores of that kind
    :raises ConfigError: obstore is not installed
    :raises FetchError: it cannot sign
    """
    kind = _of_obstore(url, store)
    import obstore

    try:
        with environment_unheard():
            opened = kind(url.host, config=config, client_options={"allow_http": True})
            return str(obstore.sign(opened, "GET", url.file_path, HOLDS_FOR))
    except Exception:  # obstore's errors have no common class
        # no `from`: the library's message may quote a key
        raise FetchError(
            f"{url}: no request to the store can be signed",
            hint=_LOOK,
        ) from None


@contextmanager
def environment_unheard() -> Iterator[None]:
    """Without the variables from which obstore takes keys, endpoints and proxies unasked."""
    kept = {name: os.environ.pop(name) for name in list(os.environ) if _is_heard(name.lower())}
    try:
        yield
    finally:
        os.environ.update(kept)


def _is_heard(name: str) -> bool:
    others = ("aws_", "azure_", "google_", "gcs_", "msi_", "identity_")
    return name.startswith(others) or name.endswith("_proxy")

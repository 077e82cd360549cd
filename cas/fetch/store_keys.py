"""The keys of stores, from files as their providers give them."""

from __future__ import annotations

import base64
import configparser
import json
from pathlib import Path
from typing import Any, NamedTuple

from cas.errors import ConfigError

_AMAZONS = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
}
"""Of a file of credentials, and what obstore calls them."""
_GOOGLES = ("client_email", "private_key")


class AzureAccount(NamedTuple):
    """What a connection string says."""

    name: str
    key: bytes
    signature: str | None
    """A shared access signature, the query that goes with each URL, in place of name and key."""
    endpoint: str | None
    """The account's server for objects."""


def of_amazon(path: Path) -> dict[str, str]:
    """The key of a file such as ``~/.aws/credentials``, from its first section.

    :raises ConfigError: there is none, or others may read it
    """
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(_secret_text(path))
        found = dict(parser.items(parser.sections()[0]))
    except (configparser.Error, IndexError):
        # no `from`: the library's message may quote a key
        raise ConfigError(f"{path} is not in the format of ~/.aws/credentials") from None
    keys = {ours: found[name] for name, ours in _AMAZONS.items() if name in found}
    if not {"access_key_id", "secret_access_key"} <= keys.keys():
        raise ConfigError(f"{path} has no aws_access_key_id and aws_secret_access_key")
    return keys


def of_google(path: Path, endpoint: str) -> str:
    """The key file of a service account, as JSON, with nothing in it that obstore obeys besides.

    :param endpoint: where its requests go
    :raises ConfigError: there is none, or others may read it
    """
    try:
        found: Any = json.loads(_secret_text(path))
    except (ValueError, RecursionError):
        raise ConfigError(f"{path} is no JSON, as the key of a service account is") from None
    if not isinstance(found, dict) or not all(isinstance(found.get(key), str) for key in _GOOGLES):
        raise ConfigError(
            f"{path} is no key of a service account: it has no {' and '.join(_GOOGLES)}"
        )
    kept = {key: found[key] for key in (*_GOOGLES, "private_key_id") if key in found}
    return json.dumps({"private_key_id": "", **kept, "gcs_base_url": endpoint})


def of_azure(path: Path) -> AzureAccount:
    """What a file with a connection string says.

    Source: Microsoft, "Configure Azure Storage connection strings".

    :raises ConfigError: there is none, or others may read it
    """
    items = (item.partition("=") for item in _secret_text(path).strip().split(";") if item)
    found = {name.strip().lower(): value.strip() for name, _, value in items}
    name, key = found.get("accountname", ""), found.get("accountkey", "")
    signature = found.get("sharedaccesssignature")
    if not signature and not (name and key):
        raise ConfigError(
            f"{path} is no connection string of Azure: it has no AccountName and AccountKey, and no"
            " SharedAccessSignature"
        )
    endpoint = found.get("blobendpoint")
    if endpoint is None and name:
        protocol = found.get("defaultendpointsprotocol", "https")
        suffix = found.get("endpointsuffix", "core.windows.net")
        endpoint = f"{protocol}://{name}.blob.{suffix}"
    try:
        decoded = base64.b64decode(key, validate=True)
    except ValueError:
        raise ConfigError(f"{path}: its AccountKey is no base64") from None
    return AzureAccount(name, decoded, signature and signature.removeprefix("?"), endpoint)


def _secret_text(path: Path) -> str:
    """A file's text, which nobody else may read.

    :raises ConfigError: it cannot be read, or others may
    """
    try:
        text = path.read_text(encoding="utf-8")
        is_open = bool(path.stat().st_mode & 0o077)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is no text, as the file of a key is") from None
    if is_open:
        raise ConfigError(
            f"{path} holds a key and other users may read it", hint=f"run: chmod 600 {path}"
        )
    return text

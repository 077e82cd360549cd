"""A shared access signature for one object at Azure.

obstore 0.12 signs the name as it stands in a URL, which Azure takes for another object's where that
is encoded.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import datetime
from urllib.parse import urlencode

_VERSION = "2021-08-06"
_UNUSED = 7
"""Fields behind the kind of object: snapshot, encryption scope, five headers of the answer."""


def signed_query(account: str, key: bytes, path: str, until: datetime) -> str:
    """The query with which an object may be read.

    Source: Microsoft, "Create a service SAS", version 2020-12-06 and later.

    :param path: ``CONTAINER/NAME``, decoded
    :param until: UTC, when the signature ends
    """
    end = f"{until:%Y-%m-%dT%H:%M:%SZ}"
    fields = ("r", "", end, f"/blob/{account}/{path}", "", "", "", _VERSION, "b", *[""] * _UNUSED)
    signature = hmac.new(key, "\n".join(fields).encode(), hashlib.sha256).digest()
    told = {"sv": _VERSION, "sr": "b", "sp": "r", "se": end}
    return urlencode({**told, "sig": base64.b64encode(signature).decode()})

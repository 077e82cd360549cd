"""Files to objects of a store, and what is there read back.

obstore writes, in parts of which it holds few at a time; our own client reads, as any URL.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

from cas.errors import CasError, FetchError
from cas.fetch.attempts import LONGEST_PAUSE_S, Attempts
from cas.fetch.http import LATER, opened_by_http
from cas.fetch.patience import status_text
from cas.fetch.source import Broken, Changed, Denied, FetchPolicy, Had, NotThere
from cas.fetch.stores import by_http, environment_unheard, opened_store
from cas.fetch.url import Url
from cas.progress import Progress, Silent

PART_BYTES = 8 << 20
"""Of one part of an object; of a large one more, for it has no more than `MOST_PARTS`."""
MOST_PARTS = 9_000
"""Amazon's stores take 10,000."""
HELD_BYTES = 32 << 20
"""Of the parts that are on their way at a time, unless one alone has more."""
_SLOWEST = 64 << 10
"""Bytes in a second: a part that comes on its way more slowly counts as stuck."""
_FULL = frozenset({507})
_CREDENTIALS = "look at `credentials` in [stores] of cas.conf, and at what they may do there"
_WORDS = (
    *("AccessDenied", "EntityTooLarge", "InvalidAccessKeyId", "NoSuchBucket", "QuotaExceeded"),
    *("RequestTimeTooSkewed", "SignatureDoesNotMatch", "SlowDown", "ServiceUnavailable"),
    "XMinioStorageFull",
)
"""Codes of errors that are shown; other words of a server's are not."""


def object_size(url: Url, policy: FetchPolicy) -> int | None:
    """How many bytes an object has; ``None``: there is none of this name.

    :raises Denied: the store does not tell us
    :raises FetchError: it cannot tell
    :raises Broken: it cannot be asked now
    """
    attempts = Attempts(policy, Silent())
    while True:
        try:
            with opened_by_http(*by_http(url, policy)) as body:
                if body.version.size_bytes is None:
                    raise FetchError(f"{url}: the store does not say how long it is")
                return body.version.size_bytes
        except NotThere:
            return None
        except Broken as error:
            attempts.failed(error, 0)


def object_pieces(url: Url, policy: FetchPolicy, progress: Progress) -> Iterator[tuple[int, bytes]]:
    """All of an object, over as many connections as it takes: offsets and bytes.

    They begin at 0 once more where the object has changed meanwhile.

    :raises NotThere: there is none
    :raises Denied: the store does not give it to us
    :raises Broken: the store fails again and again
    """
    attempts, had = Attempts(policy, progress), Had()
    while True:
        try:
            with opened_by_http(*by_http(url, policy), had) as source:
                had = Had(source.offset, source.version)
                for data in iter(source.read, b""):
                    yield had.offset, data
                    had = Had(had.offset + len(data), had.version)
            if had.offset == had.version.size_bytes:
                return
            raise Broken(f"{url}: the connection ended too soon")
        except Changed as error:
            had = Had()
            attempts.failed(error, 0)
        except Broken as error:
            attempts.failed(error, had.offset)


def put_object(url: Url, pieces: Iterable[bytes], size_bytes: int, policy: FetchPolicy) -> None:
    """Write an object, of which nothing is to be seen until it is whole.

    :param pieces: its bytes; an exception of theirs ends the writing
    :raises ConfigError: cas.conf does not say where that is, or with what credentials
    :raises Denied: the store does not let us write there
    :raises NotThere: there is no such bucket
    :raises FetchError: the store does not take it
    :raises Broken: it cannot be reached, or has no room or no time now
    """
    part_bytes = max(PART_BYTES, -(-size_bytes // MOST_PARTS))
    slowest_s = policy.timeout_s + part_bytes / _SLOWEST
    client = {"timeout": timedelta(seconds=slowest_s)}
    client["connect_timeout"] = timedelta(seconds=policy.connect_s or policy.timeout_s)
    retry = {
        "max_retries": policy.attempts - 1,
        "backoff": {
            "init_backoff": timedelta(seconds=policy.pause_s),
            "max_backoff": timedelta(seconds=LONGEST_PAUSE_S),
            "base": 2,
        },
        "retry_timeout": timedelta(seconds=policy.attempts * (LONGEST_PAUSE_S + slowest_s)),
    }
    with environment_unheard():
        store = opened_store(url, policy.stores, client, retry)
        import obstore
        from obstore.exceptions import AlreadyExistsError, BaseError

        how: dict[str, Any] = {"use_multipart": True, "chunk_size": part_bytes}
        how["max_concurrency"] = max(1, HELD_BYTES // part_bytes)
        content: Iterable[bytes] | bytes = pieces
        if size_bytes <= part_bytes:
            content, how = b"".join(pieces), {"mode": "create"}
        try:
            obstore.put(store, url.file_path, content, **how)
        except AlreadyExistsError:  # somebody else was quicker: what is there is read back anyway
            return
        except (BaseError, FileNotFoundError) as error:
            # no `from`: the library's message quotes what the store sent
            raise _told_of_store(url, str(error)) from None


def _told_of_store(url: Url, said: str) -> CasError:
    """The error for what obstore says of a request that came to nothing."""
    found = re.search(r"status code: (\d{3})", said)
    if found is None:
        return Broken(f"{url}: the store cannot be reached, or breaks off")
    status = int(found[1])
    word = next((each for each in _WORDS if f"<Code>{each}</Code>" in said), "")
    told = f"{url}: the store says {status_text(status)}" + f" ({word})" * bool(word)
    if status in (401, 403):
        return Denied(told, hint=_CREDENTIALS)
    if status == 404:
        return NotThere(told, hint="make the bucket, or name another one")
    if status in LATER or status >= 500:
        hint = "make room there; then run the same command again" if status in _FULL else None
        return Broken(told, hint=hint)
    return FetchError(told, hint="look at the store, and at [stores] in cas.conf")

"""The login for a host: from the URL, else from ``~/.netrc``."""

from __future__ import annotations

import netrc
from pathlib import Path

from cas.errors import FetchError
from cas.fetch.url import Url

Login = tuple[str, str]
"""User and password."""


def login_for(url: Url, home: Path) -> Login | None:
    """User and password for a URL's host; ``None`` where nobody gave any.

    :raises FetchError: ``.netrc`` has the password and is broken, or open to other users
    """
    if url.password is not None:
        return url.user or "", url.password
    path = home / ".netrc"
    found = None
    try:
        found = netrc.netrc(str(path)).authenticators(url.host)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise FetchError(f"cannot read {path}: {error.strerror}") from error
    except (netrc.NetrcParseError, UnicodeDecodeError):
        # no `from`: the library's message may quote a password
        raise FetchError(f"{path} is not in the format of netrc") from None
    if not found or (url.user is not None and url.user != found[0]):
        return None if url.user is None else (url.user, "")
    if path.stat().st_mode & 0o077:
        raise FetchError(
            f"{path} holds a password and other users may read it", hint=f"run: chmod 600 {path}"
        )
    return found[0], found[2] or ""

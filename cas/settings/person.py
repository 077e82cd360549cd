"""Who does what is recorded."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping

from cas.settings.config import Config


def person(environment: Mapping[str, str], config: Config) -> str:
    """The name of whoever gave the command; of who called sudo(8), where that made us ``casuser``.

    sudo sets SUDO_UID itself, whatever its caller has there; of any other user it says nothing,
    since he may set it as he likes.
    """
    uid, number = environment.get("SUDO_UID", ""), os.getuid()
    if uid.isascii() and uid.isdigit() and _is_casuser(number, config.casuser):
        number = int(uid)
    try:
        return pwd.getpwuid(number).pw_name
    except (KeyError, OverflowError):  # without an entry in the password database
        return f"user {number}"


def _is_casuser(uid: int, casuser: str | None) -> bool:
    try:
        return casuser in (str(uid), pwd.getpwuid(uid).pw_name)
    except KeyError:
        return False

"""Who does what is recorded."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping


def person(environment: Mapping[str, str]) -> str:
    """The name of whoever gave the command; behind ``sudo -u casuser`` of who called that.

    sudo(8) sets SUDO_UID and SUDO_USER itself, whatever its caller has there.
    """
    uid = environment.get("SUDO_UID", "")
    number = int(uid) if uid.isascii() and uid.isdigit() else os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # without an entry in the password database
        return f"user {number}"

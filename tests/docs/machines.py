"""Machines that crashed: dumps as kdump left them there, made of the shipped one."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path

from archived_crashes import another_crash

_NODE = b"cas-guest".ljust(65, b"\0")
"""``nodename`` of ``struct new_utsname``: 65 bytes."""
_WHEN = 1763714489
"""Seconds since 1970 in the kernel's timekeeper."""


def crashed(vmcore: Path, there: Path, node: str, when: str, number: int) -> Path:
    """The dump of a machine that crashed then, in a directory of its own.

    :param there: what that machine has as ``/var/crash``
    :param when: with a time zone, of ISO 8601
    :param number: of the crash
    """
    time = datetime.fromisoformat(when)
    place = there / f"127.0.0.1-{time:%Y-%m-%d-%H:%M:%S}"
    place.mkdir(parents=True)
    path = another_crash(vmcore, number, place / "vmcore")
    data = path.read_bytes()
    for old, new in (
        (_NODE, node.encode().ljust(len(_NODE), b"\0")),
        (_WHEN.to_bytes(8, "little"), int(time.timestamp()).to_bytes(8, "little")),
    ):
        assert old in data
        data = data.replace(old, new)
    path.write_bytes(data)
    return path


def age(archive: Path, days: int) -> None:
    """Let all that is there have come, and have been changed, so many days earlier."""
    for path in archive.glob("objects/*/*/info.json"):
        mode = path.stat().st_mode
        path.chmod(0o600)
        path.write_text(json.dumps(_earlier(json.loads(path.read_text()), days * 24 * 60 * 60)))
        path.chmod(mode)
    for path in archive.rglob("*"):
        then = path.stat().st_mtime - days * 24 * 60 * 60
        os.utime(path, (then, then))


def _earlier(value: object, seconds: int) -> object:
    """A record whose times, but for the crash's own, are so much earlier."""
    if isinstance(value, list):
        return [_earlier(each, seconds) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: each - seconds
        if key.endswith("_s") and key != "time_s" and isinstance(each, int)
        else _earlier(each, seconds)
        for key, each in value.items()
    }

"""Whether a debugger's kernel log is one: compared with the log that we read ourselves."""

from __future__ import annotations

import re
from collections.abc import Iterator

SAMPLES = 20
"""Lines of the log's end that are looked for; one of them suffices."""
SHORTEST = 8
"""Characters; a shorter line may stand anywhere."""
_COMMAND = re.compile(r"(?:log|dmesg)(?:\s+-[tTdm]+)*\s*")
"""``log``, with options that change how lines begin but not which there are."""
_STAMP = re.compile(r"\[[^]]*\]\s*")
_PLAIN = re.compile(r"[ -~]+")


def lacks_log(command: str, said: bytes, log: str) -> str | None:
    """What is wrong with a debugger's answer to ``log``; ``None`` where it has the log's end.

    :param log: as we read it from the dump, or drgn did
    """
    if not _COMMAND.fullmatch(command):
        return None
    lines = list(_samples(log))
    if not lines or any(line in said for line in lines):
        return None
    first = next((line for line in said.decode("utf-8", "replace").splitlines() if line), None)
    return f"it shows nothing of the kernel log: {first[:200]}" if first else "it shows nothing"


def _samples(log: str) -> Iterator[bytes]:
    """Lines that every debugger shows alike, without their times, from the end on."""
    left = SAMPLES
    for line in reversed(log.splitlines()):
        text = _STAMP.sub("", line, count=1).strip()
        if len(text) >= SHORTEST and _PLAIN.fullmatch(text):
            yield text.encode()
            left -= 1
        if not left:
            return

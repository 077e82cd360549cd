"""Whether a debugger's kernel log is one: compared with the log that we read ourselves."""

from __future__ import annotations

import re

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
    # every debugger shows them alike, but for their times
    lines: list[bytes] = []
    for line in reversed(log.splitlines()):
        text = _STAMP.sub("", line, count=1).strip()
        if len(text) >= SHORTEST and _PLAIN.fullmatch(text):
            lines.append(text.encode())
        if len(lines) == SAMPLES:
            break
    if not lines or any(sample in said for sample in lines):
        return None
    first = next((line for line in said.decode("utf-8", "replace").splitlines() if line), None)
    return f"it shows nothing of the kernel log: {first[:200]}" if first else "it shows nothing"
